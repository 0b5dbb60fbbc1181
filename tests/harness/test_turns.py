"""Trials that one process trains in turn: one that goes wrong costs no other."""

from __future__ import annotations

import collections
import itertools
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.errors import StorageError
from echobench.harness import launch, process
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.observing import observed
from echobench.harness.plan import Selection, plan
from echobench.harness.sharing import Dealing, Share, by_process
from echobench.plugin.interfaces import Observer
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.referee import why_impossible
from echobench.trial.job import Job, JobOptions, Progress
from echobench.trial.record import Process, Record
from echobench.trial.trial import Trial
from tests.soak.harness import PLUGIN

FAULTY = '''

class _Faulty(_Trainer):
    """Goes wrong as it is to train seed 1."""

    def __init__(self, program):
        from echobench.core.sequences import stream

        super().__init__(program)
        self._first = program.initial_weights(stream(1, "weights"))

    def reset(self, weights):
        super().reset(weights)
        if all(map(np.array_equal, weights, self._first)):
            {fault}


class Faulty(Knowing):
    name = "faulty"

    def trainer(self, program, chunk):
        return _Faulty(program)


@hookimpl
def echobench_backends():
    return [Faulty()]
'''


def matrix_of(
    folder: Path, fault: str = "pass", *, seeds: int = 4, timeout_s: float = 60.0, retries: int = 0
) -> tuple[Matrix, list[Trial]]:
    """Return a matrix that trains all seeds in one process, and the trials."""
    text, _, _ = PLUGIN.read_text().rpartition("\n\n@hookimpl")
    (folder / "faulty.py").write_text(text + FAULTY.format(fault=fault))
    plugins = Plugins([folder / "faulty.py"])
    selection = Selection(
        tasks=["tiny"], backends=["faulty"], seeds=seeds, threads=1, timeout_s=timeout_s
    )
    options = JobOptions(retries=retries)
    matrix = Matrix(plugins, Store(folder / "results"), options, gate=False)
    matrix.dealing = Dealing(0, seeds, 1)
    return matrix, plan(selection, plugins)


def place_of(record: Record) -> Process:
    assert record.provenance.process is not None
    return record.provenance.process


def status_and_place(records: list[Record]) -> list[tuple[int, str, int]]:
    return [(record.seed, record.status, place_of(record).place) for record in records]


def test_a_process_trains_its_trials_in_turn_and_each_has_its_own_times(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, seeds=3)
    records = [*matrix.run(trials, Watcher())]
    assert status_and_place(records) == [(n, "reached", n) for n in range(3)]
    assert len({place_of(record).id for record in records}) == 1
    once = ["import_s", "build_s", "compile_s", "wall_to_target_s"]
    for record in records:
        first = place_of(record).place == 0
        assert [getattr(record, name) is not None for name in once] == [first] * 4
        assert record.train_s is not None
        assert record.peak_memory_bytes is not None
        assert why_impossible(record) is None
    for one, following in itertools.pairwise(records):
        end = datetime.fromisoformat(one.started_at) + timedelta(seconds=one.wall_s or 0.0)
        assert end <= datetime.fromisoformat(following.started_at)


def test_a_crash_ends_one_trial_and_the_rest_go_on_in_a_new_process(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, "os._exit(7)")
    records = [*matrix.run(trials, Watcher())]
    assert status_and_place(records) == [
        (0, "reached", 0), (1, "failed", 1), (2, "reached", 0), (3, "reached", 1)
    ]  # fmt: skip # one line reads better
    assert records[1].reason == "the worker ended with exit code 7 and no result"
    ids = [place_of(record).id for record in records]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert [record.key for record in Store(tmp_path / "results").load()] == [t.key for t in trials]


def test_to_leave_without_a_word_is_a_failure_and_no_second_draw(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, "os._exit(0)", seeds=3)
    records = [*matrix.run(trials, Watcher())]
    assert [record.status for record in records] == ["reached", "failed", "reached"]
    assert records[1].reason == "the worker ended with exit code 0 and no result"


def test_a_trial_out_of_time_ends_alone_and_time_is_counted_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    matrix, trials = matrix_of(tmp_path, "time.sleep(60)", seeds=3, timeout_s=15)
    records = [*matrix.run(trials, Watcher())]
    assert [record.status for record in records] == ["reached", "timeout", "reached"]
    assert records[1].reason == "killed: still running 0.2 s past its limit of 15 s"


def test_only_the_trial_that_failed_is_run_again(tmp_path: Path) -> None:
    marker = tmp_path / "been here"
    fault = (
        f"(p := __import__('pathlib').Path({str(marker)!r})).exists() or [p.touch(), os._exit(7)]"
    )
    matrix, trials = matrix_of(tmp_path, fault, retries=2)
    seen: list[str] = []

    class Watching(Observer):
        def trial_started(self, trial: Trial, results: Path) -> None:
            seen.extend(["started"] * (trial.seed == 1))

        def trial_finished(self, trial: Trial, record: Record) -> None:
            seen.extend(["finished"] * (trial.seed == 1))

    with observed(Watcher(), [Watching()], tmp_path) as watcher:
        records = [*matrix.run(trials, watcher)]
    assert seen == ["started", "started", "finished"]
    assert [record.status for record in records] == ["reached"] * 4
    assert [record.seed for record in records] == [0, 1, 2, 3]
    attempts = [record.provenance.attempts for record in records]
    assert [told and len(told) for told in attempts] == [None, 2, None, None]


def test_no_trial_begins_after_the_budget_and_what_was_trained_is_kept(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path)
    backend = matrix.plugins.backends["faulty"].value
    job = Job(trials=trials, budget_s=1e-9)
    (record,) = launch.run_job(job, backend, tmp_path / "log")
    assert (record.seed, record.status) == (0, "reached")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("__import__('atexit').register(__import__('os')._exit, 3)", "ended with exit code 3"),
        (
            "__import__('atexit').register(__import__('time').sleep, 60)",
            "still running 1 s after it",
        ),
    ],
)
def test_a_worker_that_leaves_and_ends_badly_fails_none_of_the_trials_that_it_left(
    fault: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 1.0)
    matrix, trials = matrix_of(tmp_path, fault)
    backend = matrix.plugins.backends["faulty"].value
    job = Job(trials=trials[1:], budget_s=1e-9)
    (record,) = launch.run_job(job, backend, tmp_path / "log")
    assert (record.seed, record.status) == (1, "reached")
    assert said in (record.provenance.after_result or "")


def test_an_interrupt_of_a_retry_loses_no_trial_that_finished_before_it(tmp_path: Path) -> None:
    marker = tmp_path / "been here"
    fault = (
        f"(p := __import__('pathlib').Path({str(marker)!r})).exists() or [p.touch(), os._exit(7)]"
    )
    matrix, trials = matrix_of(tmp_path, fault, seeds=3, retries=1)
    phases: list[str] = []

    def progressed(trial: Trial, progress: Progress) -> None:
        if "attempt 2" in phases:  # its worker is at work now
            raise KeyboardInterrupt
        phases.append(progress.phase)

    with pytest.raises(KeyboardInterrupt):
        list(matrix.run(trials, Watcher(progressed=progressed)))
    records = Store(tmp_path / "results").load()
    assert [(record.seed, record.status) for record in records] == [(0, "reached"), (1, "failed")]


def test_a_log_that_cannot_be_opened_for_a_retry_costs_no_finished_trial(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, "os._exit(7)", seeds=3, retries=1)
    logs = tmp_path / "results" / "logs"
    (logs / f"{trials[1].key}-attempt2.log").mkdir(parents=True)
    (logs / f"{trials[0].key}-attempt2.log").mkdir()
    with pytest.raises(StorageError, match=r"^stopped at "):
        list(matrix.run(trials, Watcher()))
    records = Store(tmp_path / "results").load()
    assert [(record.seed, record.status) for record in records] == [(0, "reached"), (1, "failed")]


def test_a_trial_that_failed_is_not_run_again_after_the_budget(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, "os._exit(7)", retries=3)

    def progressed(trial: Trial, progress: Progress) -> None:
        matrix.deadline = 0.0  # the only job has started

    (record,) = matrix.run(trials[1:2], Watcher(progressed=progressed))
    assert record.status == "failed"
    assert record.provenance.attempts is None


def test_a_trial_whose_retry_the_budget_keeps_from_beginning_is_recorded_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, trials = matrix_of(tmp_path, "os._exit(7)", seeds=2, retries=3)
    release = Share.release

    def released(share: Share, *trials: list[Trial]) -> None:
        release(share, *trials)
        share.deadline = 0.0  # after the job of both, before that of the one that failed

    monkeypatch.setattr(Share, "release", released)
    records = [*matrix.run(trials, Watcher())]
    assert [(record.seed, record.status) for record in records] == [(0, "reached"), (1, "failed")]
    assert records[1].provenance.attempts is None
    stored = Store(tmp_path / "results").load()
    assert [record.key for record in stored] == [record.key for record in records]


def test_an_observer_sees_each_trial_begin_progress_and_finish_in_turn(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, "os._exit(7)")
    seen: list[tuple[str, int]] = []

    class Watching(Observer):
        def trial_started(self, trial: Trial, results: Path) -> None:
            seen.append(("started", trial.seed))

        def trial_progressed(self, trial: Trial, progress: Progress) -> None:
            if progress.phase == "train" and ("trained", trial.seed) not in seen:
                seen.append(("trained", trial.seed))

        def trial_finished(self, trial: Trial, record: Record) -> None:
            seen.append(("finished", trial.seed))

    with observed(Watcher(), [Watching()], tmp_path) as watcher:
        assert len([*matrix.run(trials, watcher)]) == 4
    of_seed = {seed: [what for what, whose in seen if whose == seed] for seed in range(4)}
    whole = ["started", "trained", "finished"]
    assert of_seed == {0: whole, 1: ["started", "finished"], 2: whole, 3: whole}
    assert seen.index(("trained", 0)) < seen.index(("started", 2))


@given(first=st.integers(0, 10**6), seeds=st.integers(1, 200), processes=st.integers(1, 200))
def test_seeds_are_dealt_in_blocks_of_about_the_same_size(
    first: int, seeds: int, processes: int, plugins: Plugins
) -> None:
    dealing = Dealing.of(first, seeds, processes)
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"]), plugins)
    dealt = [
        dealing.process_of(trial.model_copy(update={"seed": seed}))
        for seed in range(first, first + seeds)
    ]
    assert dealt == sorted(dealt)
    sizes = collections.Counter(dealt)
    assert [*sizes] == [*range(min(seeds, processes))]
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_processes_of_all_cells_are_interleaved(plugins: Plugins) -> None:
    selection = Selection(tasks=["whole", "partial"], backends=["jax", "tensorflow"], seeds=6)
    trials = plan(selection, plugins)
    groups = [[*group.values()] for group in by_process(trials, Dealing(0, 6, 3))]
    assert [trial.key for trial in trials] != [t.key for group in groups for t in group]
    assert sorted(t.key for group in groups for t in group) == sorted(t.key for t in trials)
    assert {len(group) for group in groups} == {2}
    rounds = [groups[at : at + 4] for at in range(0, 12, 4)]
    for number, groups in enumerate(rounds):
        cells = [(group[0].task, group[0].backend) for group in groups]
        assert len({*cells}) == 4
        assert {t.seed for group in groups for t in group} == {2 * number, 2 * number + 1}


def test_replicates_keep_to_their_own_processes(plugins: Plugins) -> None:
    selection = Selection(tasks=["whole"], backends=["jax"], seeds=4, replicates=2)
    groups = by_process(plan(selection, plugins), Dealing(0, 4, 1))
    assert [len(group) for group in groups] == [2, 2]
