"""The judge: certified networks are run again in plain Keras, by a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from echobench import interrupts
from echobench.core.sequences import stream
from echobench.harness import judging, launch
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.harness.references import References
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.progress_log import ProgressLog
from echobench.trial.job import Job, JobOptions, Progress
from echobench.trial.record import Judgement, Record
from echobench.trial.trial import Trial
from tests import reference
from tests.records import record
from tests.soak.harness import PLUGIN, Harness


@pytest.fixture(scope="module")
def job(plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("judged")
    selection = Selection(tasks=["whole"], backends=["jax"], divisions=["open"], threads=1)
    (trial,) = plan(selection, plugins)
    judge = References(plugins, Store(folder)).of(trial)
    return Job(trials=[trial], judge=judge, networks=folder)


@pytest.fixture(scope="module")
def trained(job: Job, plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Record:
    log = tmp_path_factory.mktemp("logs") / "log"
    (record,) = launch.run_job(job, plugins.backends["jax"].value, log)
    assert record.status == "reached"
    return record


@pytest.fixture(scope="module")
def weights(job: Job, plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the certified weights of the same trial, as its worker leaves them for the judge."""
    log = tmp_path_factory.mktemp("logs") / "log"
    assert job.networks is not None
    launch.run_once(job, plugins.backends["jax"].value, log)
    with np.load(job.networks / "0.npz") as arrays:
        return [arrays[name] for name in arrays]


def judged(
    job: Job, record: Record, networks: list[list[Any]], folder: Path
) -> list[Judgement | None]:
    """Return the judgements of other networks in the place of the one that was certified."""
    records = [msgspec.structs.replace(record, judge=None) for _ in networks]
    for number, network in enumerate(networks):
        np.savez(folder / f"{number}.npz", *network)
    several = job.model_copy(update={"trials": job.trials * len(networks)})
    judging.judge(several, records, folder, folder / "log", launch.work, launch.say_waiting)
    return [one.judge for one in records]


def wrong_by_numpy(weights: list[Any], rows: Any, trial: Any, task: Any) -> int:
    """Return how many sequences a NumPy network in float64 answers wrong."""
    batch = trial.recipe.batch
    wrong = 0
    for row in rows:
        x = np.eye(100)[row[task.framing.inputs]]
        answers = reference.whole([w.astype(float) for w in weights], x, batch).argmax(-1)
        wrong += bool((answers != row[task.framing.targets]).any())
    return wrong


def test_a_certificate_comes_again_and_unseen_sequences_give_its_error_rate(
    job: Job, trained: Record, weights: list[Any], plugins: Plugins
) -> None:
    found = trained.judge
    assert found is not None
    assert found.by == "plain Keras on jax"
    assert (found.certificate_wrong, found.certificate_rounding) == (0, 0)
    assert (found.refuted, found.failure, found.sequences) == (None, None, 10_000)
    assert trained.contradiction is None
    assert found.weights_sha256 is not None
    task = plugins.tasks["whole"].value()
    rows = task.sample(stream(int(found.weights_sha256, 16), "judge"), 10_000)
    expected = wrong_by_numpy(weights, rows, job.trial, task)
    assert found.wrong == pytest.approx(expected, abs=2)  # float32 may round one the other way
    assert found.interval is not None
    assert found.interval[0] <= (found.wrong or 0) / 10_000 <= found.interval[1]


def test_other_networks_than_the_certified_one_are_refuted(
    job: Job, trained: Record, weights: list[Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    noisy = [w + rng.normal(0, 0.3, w.shape).astype(np.float32) for w in weights]
    nudged = [w * np.float32(1 + 1e-7) for w in weights]
    nan = [np.full_like(w, np.nan) for w in weights]
    found = judged(job, trained, [noisy, weights[:-1], nudged, nan], tmp_path)
    assert all(one is not None for one in found)
    refuted = [one.refuted if one else None for one in found]
    assert "sequences of the certificate come out wrong" in (refuted[0] or "")
    assert "the weights are not those of the network" in (refuted[1] or "")
    assert refuted[2] is None
    assert "1,230 sequences of the certificate come out wrong" in (refuted[3] or "")


def test_a_network_that_was_not_reported_is_refuted(
    job: Job, trained: Record, tmp_path: Path
) -> None:
    (found,) = judged(job, trained, [[np.zeros(1)]], tmp_path)
    (tmp_path / "0.npz").unlink()
    record = msgspec.structs.replace(trained, judge=None)
    judging.judge(job, [record], tmp_path, tmp_path / "log", launch.work, launch.say_waiting)
    assert found is not None
    assert record.judge is not None
    assert record.judge.refuted == "its weights were not reported"
    assert record.failed
    assert not record.counts


@pytest.mark.parametrize(
    "answer",
    [{"status": "timeout", "reason": "killed"}, {"judgements": [{"wrong": "many"}]}],
)
def test_a_judge_that_cannot_answer_is_no_judgement(
    answer: dict[str, Any], job: Job, trained: Record, tmp_path: Path
) -> None:
    np.savez(tmp_path / "0.npz", np.zeros(1))
    record = msgspec.structs.replace(trained, judge=None)
    judging.judge(
        job, [record], tmp_path, tmp_path / "log", lambda *_: [answer], launch.say_waiting
    )
    assert record.judge is not None
    assert record.judge.failure is not None
    assert record.judge.refuted is None


def test_a_finished_trial_is_recorded_where_its_judge_is_interrupted(tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=2)
    matrix = Matrix(Plugins([PLUGIN]), Store(harness.results), JobOptions())

    def progressed(trial: Trial, progress: Progress) -> None:
        if progress.phase == "judge":
            os.kill(os.getpid(), signal.SIGINT)

    # The command's own handlers: an executor's code is asked afterwards whether it swallowed one.
    numbers = [getattr(signal, name) for name in interrupts.SIGNALS]
    before = [signal.getsignal(number) for number in numbers]
    interrupts.catch()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(matrix.run(harness.trials, Watcher(progressed=progressed)))
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    (record,) = Store.read(harness.results)
    assert record.status == "reached"
    assert record.judge is not None
    assert record.judge.failure == "interrupted"
    # Its certificate has nobody's word but its own: the same command trains it again.
    log = ProgressLog(harness.results, None, None)
    assert log.finished(compared=True) == {}
    assert ProgressLog(harness.results, None, None).finished() == {record.key: "reached"}


@pytest.mark.parametrize(
    ("certificate_wrong", "wrong", "refuted"),
    [
        (0, 0, False),
        (0, 30, False),  # 0.003, as the bound says
        (0, 48, False),  # P(X >= 48) = 0.0017
        (0, 53, True),  # P(X >= 53) = 0.0001
        (1, 0, True),
        (0, 10_000, True),
    ],
)
def test_a_bound_is_refuted_where_chance_would_do_it_once_in_two_thousand(
    certificate_wrong: int, wrong: int, refuted: bool
) -> None:
    found = Judgement(by="x", certificate_wrong=certificate_wrong, sequences=10_000, wrong=wrong)
    trial = msgspec.structs.replace(record().trial, bound=0.003)
    assert (found.refutation(trial) is not None) is refuted


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (OSError(28, "No space left on device"), "it could not be run: No space left on device"),
        ({"status": "failed", "reason": "killed"}, "killed"),
        ({"judgements": []}, "no answer"),
        ({"judgements": 1}, "no answer"),
        ({"judgements": [{"wrong": "none"}]}, "its answer is none"),
    ],
)
def test_a_judge_that_fails_leaves_the_record(
    answer: Any, failure: str, job: Job, tmp_path: Path
) -> None:
    np.savez(tmp_path / "0.npz", np.zeros(1))
    one = record(0)

    def run(*_: Any) -> list[dict[str, Any]]:
        if isinstance(answer, OSError):
            raise answer
        return [answer]

    judging.judge(job, [one], tmp_path, tmp_path / "log", run, launch.say_waiting)
    assert one.judge is not None
    assert (one.judge.failure or "").startswith(failure)
    assert one.contradiction is None


@pytest.mark.parametrize(
    ("rounding", "sequences", "refuted"),
    [(0, 5, False), (1, 5, False), (2, 5, True), (5, 5, True), (4, 412, False), (5, 412, True)],
)
def test_ties_over_a_test_set_are_no_rounding(rounding: int, sequences: int, refuted: bool) -> None:
    found = Judgement(
        by="x",
        certificate_wrong=0,
        certificate_rounding=rounding,
        sequences=sequences,
        wrong=rounding,
    )
    trial = msgspec.structs.replace(record().trial, bound=0.0, test_set="held out")
    assert (found.refutation(trial) is not None) is refuted
