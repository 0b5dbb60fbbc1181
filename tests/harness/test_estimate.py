"""What a plan is expected to take, by records made up beforehand."""

from __future__ import annotations

import statistics
from typing import Any

import msgspec
import pytest

from echobench.analysis import costs
from echobench.analysis.costs import History
from echobench.harness.estimate import (
    HERE,
    SHIPPED,
    UNKNOWN,
    Estimator,
    JobCost,
    Span,
    TrialCost,
    together,
)
from echobench.harness.outlook import total_text
from echobench.harness.plan import Selection, plan
from echobench.harness.references import References
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.text import duration
from echobench.trial.cell import StoredTrial
from echobench.trial.record import Rates, Record
from echobench.trial.trial import Trial
from tests.records import record

SPENT: dict[str, Any] = {
    "import_s": 3.0,
    "compile_s": 1.0,
    "train_s": 20.0,
    "eval_s": 0.0,
    "epochs": 1000,
}
pytestmark = pytest.mark.usefixtures("without_asides")
RATES = Rates(matmul_flops_per_s=1e11, copy_bytes_per_s=1e10, matmul_spread=1.0)


def trials_of(plugins: Plugins, **fields: Any) -> list[Trial]:
    usual = {"tasks": ["partial"], "backends": ["jax"], "threads": 1}
    return plan(Selection(**{**usual, **fields}), plugins)


def done(trial: Trial, seed: int = 0, **fields: Any) -> Record:
    stored = StoredTrial.of(trial.model_copy(update={"seed": seed}))
    names = {n: getattr(trial, n) for n in ("backend", "engine", "division", "device")}
    told = {"task": trial.label, "key": trial.key, "trial": msgspec.to_builtins(stored)}
    return record(seed, **{**names, **told, **SPENT, **fields})


def estimator(*records: Record, **fields: Any) -> Estimator:
    history = History()
    for one in records:
        history.add(one)
    return Estimator(history, None, **{"checked": False, "rates": RATES, **fields})


def test_a_cell_takes_what_it_took(plugins: Plugins) -> None:
    (trial,) = trials_of(plugins)
    known = estimator(done(trial), done(trial, 1, train_s=40.0, epochs=2000))
    assert known.expected(trial) == (4.0, 30.0, 1.0, HERE)  # 1,500 epochs of 20 ms
    jobs = known.jobs([[trial], [trial]])
    assert [job.known_s for job in jobs] == [34.0, 34.0]


def test_trials_of_a_process_start_once(plugins: Plugins) -> None:
    trials = trials_of(plugins, seeds=3)
    (job,) = estimator(done(trials[0])).jobs([trials])
    assert job.known_s == 4.0 + 3 * 20.0
    assert job.worst_s == 3 * 600.0


def test_replicates_train_once(plugins: Plugins) -> None:
    trials = trials_of(plugins, seeds=4, replicates=4)
    spent = {"import": 3.0, "compile": 1.0, "train": 8.0}
    known = estimator(done(trials[0], epochs=80, provenance={"path": {"seconds": spent}}))
    (job,) = known.jobs([trials])
    assert (job.known_s, job.worst_s) == (12.0, 600.0)


def test_a_smaller_budget_ends_sooner_and_a_limit_too(plugins: Plugins) -> None:
    (trial,) = trials_of(plugins)
    known = estimator(done(trial))
    (short,) = trials_of(plugins, max_epochs=100)
    assert known.expected(short).trial_s == pytest.approx(2.0)
    (quick,) = trials_of(plugins, quick=True)
    assert known.expected(quick).trial_s == pytest.approx(0.4)
    (limited,) = trials_of(plugins, timeout_s=5.0)
    assert known.expected(limited).trial_s == 5.0


def test_where_a_budget_was_too_small_nobody_knows_when_it_learns(plugins: Plugins) -> None:
    """Its task's trials on another backend do: what an update takes does not matter there."""
    task = {"tasks": ["partial[units=33]"]}  # that nobody has ever recorded
    (trial,) = trials_of(plugins, **task)
    (short,) = trials_of(plugins, max_epochs=1000, **task)
    missed = done(short, status="missed")
    assert estimator(missed).expected(trial) == (4.0, None, 0.0, UNKNOWN)
    (rival,) = trials_of(plugins, backends=["flax"], **task)
    known = estimator(missed, done(rival, train_s=1.0, epochs=3000))
    assert known.expected(trial) == (4.0, 60.0, 1.0, HERE)


def test_one_that_ran_out_of_time_will_again_but_not_with_more_of_it(plugins: Plugins) -> None:
    task = {"tasks": ["partial[units=33]"]}
    (trial,) = trials_of(plugins, timeout_s=20.0, **task)
    known = estimator(done(trial, status="timeout"))
    assert known.expected(trial).trial_s == 20.0
    (patient,) = trials_of(plugins, timeout_s=90.0, **task)
    assert known.expected(patient).trial_s is None


def test_a_strangers_task_is_unknown_but_for_its_start(plugins: Plugins) -> None:
    (known, strange) = trials_of(plugins, tasks=["partial", "partial[units=33]"])
    alone = estimator(done(known)).estimate([[strange]])
    assert total_text(alone) == (
        "1 trial, more than 4 s expected (1 of unknown length), 10 min at worst"
    )
    found = estimator(done(known)).estimate([[known], [strange]])
    assert (found.unknown, found.expected_s) == (1, 4.0 + 20.0 + 4.0)
    assert total_text(estimator(done(known)).estimate([[known]])).startswith(
        "1 trial, 24 s expected, "
    )
    assert total_text(found) == (
        "2 trials, more than 28 s expected (1 of unknown length), 20 min at worst"
    )


def test_without_records_the_shipped_medians_are_scaled(plugins: Plugins) -> None:
    (trial,) = trials_of(plugins, threads=2)
    slow = Rates(matmul_flops_per_s=1e9, copy_bytes_per_s=1e9, matmul_spread=1.0)
    fast = Rates(matmul_flops_per_s=1e13, copy_bytes_per_s=1e12, matmul_spread=1.0)
    found = [estimator(rates=rates).expected(trial) for rates in (slow, fast)]
    assert {one.source for one in found} == {SHIPPED}
    (long, short) = (one.trial_s for one in found)
    assert long is not None
    assert short is not None
    assert long > 2 * short > 0


def test_a_start_with_kept_programs_is_foreseen_by_its_like(plugins: Plugins) -> None:
    """The medians of both were one number for both."""
    task = {"tasks": ["whole"], "divisions": ["open"]}
    (cold,), (warm,) = (trials_of(plugins, cache=cache, **task) for cache in (False, True))
    known = costs.shipped()
    machines = {name: costs.scale(rates, RATES) for name, rates in known.machines.items()}
    for trial in (cold, warm):
        starts = [
            found.start_s * machines[machine]
            for machine in known.machines
            for found in known.costs[machine]
            if found.start_s is not None
            and found.place[:5] == costs.Place.of(trial)[:5]
            and found.place.cache == trial.cache
        ]
        assert estimator().expected(trial).start_s == pytest.approx(statistics.median(starts))


def test_starts_of_other_trials_are_told_apart_by_kept_programs_first(plugins: Plugins) -> None:
    (there,), (cold,), (warm,) = (
        trials_of(plugins, threads=threads, cache=cache)
        for threads, cache in ((1, False), (2, False), (2, True))
    )
    kept = there.model_copy(update={"cache": True})
    newer = [done(kept, seed, import_s=1.0, compile_s=0.0) for seed in range(costs.NEWEST + 5)]
    known = estimator(done(there), *newer)
    assert [known.expected(trial).start_s for trial in (cold, warm)] == [4.0, 1.0]
    assert estimator(done(there)).expected(warm).start_s == 4.0  # better than nothing
    later = done(kept, 1, import_s=None, compile_s=None)  # of a process that had started
    assert estimator(done(there), later).expected(warm).start_s == 4.0


def test_an_epoch_of_replicates_is_none_of_a_trial_alone(plugins: Plugins) -> None:
    single, *_ = trials_of(plugins, seeds=2)
    several, *_ = trials_of(plugins, seeds=32, replicates=32)
    spent = {"import": 3.0, "compile": 1.0, "train": 200.0}
    known = estimator(done(single), done(several, provenance={"path": {"seconds": spent}}))
    more = {"threads": 2}  # of neither is there one on two threads
    alone, together_ = (trial.model_copy(update=more) for trial in (single, several))
    assert known.expected(alone).trial_s == pytest.approx(20.0)
    assert known.expected(together_).trial_s == pytest.approx(200.0)


def test_the_first_job_of_a_cell_pays_for_what_it_is_compared_with(
    plugins: Plugins, tmp_path: Any
) -> None:
    trials = trials_of(plugins, seeds=3)
    job = {"trials": 1.0, "reference_s": 11.0, "rehearsal_s": 5.0, "judge_s": 7.0, "other_s": 0.5}
    history = History()
    history.add(done(trials[0], provenance={"job": job}))
    references = References(plugins, Store(tmp_path))
    references.plan(trials)
    known = Estimator(history, references)
    groups = [[trial] for trial in trials]
    jobs = known.jobs(groups)
    usual = 4.0 + 20.0 + 7.0 + 0.5
    once = references.lacks(trials[0]) * 11.0 + (not references.has_rehearsed(trials[0])) * 5.0
    assert [job.known_s for job in jobs] == pytest.approx([usual + once, usual, usual])
    unjudged = Estimator(history, None, checked=False).jobs(groups)
    assert unjudged[0].known_s == pytest.approx(24.5)


def test_each_trial_of_a_smoke_runs_process_has_its_own_share(plugins: Plugins) -> None:
    """One process trains all tasks of a backend: the first is not charged with the others."""
    tasks = ["partial", "partial[units=33]", "whole"]
    planned = trials_of(plugins, tasks=tasks, quick=True, timeout_s=60.0)
    trials = sorted(planned, key=lambda trial: tasks.index(trial.label))
    slow = done(trials[2], train_s=100.0)
    (job,) = estimator(done(trials[0]), slow, retries=1).jobs([trials])
    epochs = trials[0].max_epochs
    (first, strange, last) = job.trials
    assert first.expected_s == pytest.approx(4.0 / 3 + epochs * 0.02)  # a third of the start
    assert (strange.expected_s, strange.source) == (None, UNKNOWN)
    assert strange.known_s == pytest.approx(4.0 / 3)
    assert last.expected_s == pytest.approx(4.0 / 3 + epochs * 0.1)
    assert [cost.worst_s for cost in job.trials] == [120.0] * 3
    found = together([job])
    assert (found.unknown, found.unknown_worst_s, found.worst_s) == (1, 120.0, 360.0)


def cost(trial: Trial, seconds: float) -> JobCost:
    return JobCost([TrialCost(trial, seconds, seconds, 100.0, HERE, Span(0.0, seconds))])


@pytest.mark.parametrize(
    ("side_by_side", "budget_s", "expected_s", "worst_s", "begun"),
    [
        (1, None, 60.0, 400.0, 4),
        (2, None, 40.0, 200.0, 4),
        (9, None, 30.0, 100.0, 4),
        (1, 20.0, 30.0, 100.0, 3),
        (1, 5.0, 10.0, 100.0, 1),
        (2, 5.0, 10.0, 100.0, 2),
    ],
)
def test_jobs_start_in_order_wherever_there_is_room(
    side_by_side: int,
    budget_s: float | None,
    expected_s: float,
    worst_s: float,
    begun: int,
    plugins: Plugins,
) -> None:
    trials = trials_of(plugins, seeds=4)
    jobs = [cost(t, s) for t, s in zip(trials, (10.0, 10.0, 10.0, 30.0), strict=True)]
    found = together(jobs, side_by_side, budget_s)
    assert (found.expected_s, found.worst_s, found.begun) == (expected_s, worst_s, begun)


def test_what_a_budget_leaves_over_is_in_no_sum(plugins: Plugins) -> None:
    trials = trials_of(plugins, seeds=4)
    jobs = [cost(t, s) for t, s in zip(trials, (10.0, 10.0, 10.0, 30.0), strict=True)]
    assert total_text(together(jobs, 1, 15.0), 15.0) == (
        "4 trials, of which about 2 begin within the budget of 15 s: 20 s expected, 2 min at worst"
    )
    assert total_text(together(jobs, 1, 500.0), 500.0) == "4 trials, 60 s expected, 7 min at worst"
    strange = JobCost([TrialCost(trials[3], None, 4.0, 100.0, UNKNOWN, Span(0.0, 4.0))])
    assert "unknown" not in total_text(together([*jobs, strange], 1, 15.0), 15.0)
    assert total_text(together([strange, *jobs], 1, 3.0), 3.0).endswith(
        "4 s expected (1 of unknown length), 2 min at worst"
    )


def test_retries_are_in_the_worst_case(plugins: Plugins) -> None:
    trials = trials_of(plugins, seeds=2, timeout_s=60.0)
    found = estimator(done(trials[0]), retries=2).estimate([[trial] for trial in trials])
    assert found.worst_s == 2 * 60.0 * 3
    assert total_text(found) == "2 trials, 48 s expected, 6 min at worst"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (45, "45 s"), (99.6, "2 min"), (64 * 60, "64 min"), (6000, "1.7 h"),
     (7200, "2 h"), (13.3 * 3600, "13 h"), (9.96 * 3600, "10 h"), (3 * 86400, "3 days")],
)  # fmt: skip # seconds and text stand together
def test_a_duration_is_told_in_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
