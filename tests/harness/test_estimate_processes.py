"""The processes that a job is expected to take, beside a simulation of workers and their queue."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from echobench.harness.estimate import together
from echobench.harness.outlook import Outlook, total_text
from echobench.plugin.manager import Plugins
from echobench.trial.trial import Trial
from tests.harness.test_estimate import done, estimator, trials_of

pytestmark = pytest.mark.usefixtures("without_asides")
MINUTE = 60.0


class Jobs:
    """Jobs of so many trials: how long each starts, trains a trial, and ends its process."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.budget_s = draw.choice([None, draw.uniform(5, 400)])
        self.side_by_side = draw.choice([1, 1, 2, 3])
        self.jobs = [
            (
                draw.randint(1, 9),
                draw.uniform(1, 70),
                draw.choice([0.2, 7.0, 33.0, 90.0]) + draw.uniform(0, 5),
                draw.uniform(0, 3),
            )
            for _ in range(draw.randint(1, 5))
        ]

    def simulated(self) -> tuple[float, int]:
        """Return when the last process ends, and how many trials began, second by second of each.

        As a worker and its parent decide: a process takes a further turn unless it is a minute
        old or the budget is spent, what it leaves is the next job of the queue, and no job is
        taken once the budget is spent.
        """
        queue = deque(self.jobs)
        free_at = dict.fromkeys(range(self.side_by_side), 0.0)
        last, begun = 0.0, 0
        returned: list[tuple[float, tuple[int, float, float, float]]] = []
        while queue or returned:
            slot = min(free_at, key=lambda name: free_at[name])
            now = free_at[slot]
            if self.budget_s is not None and now > self.budget_s:
                break
            for at, rest in sorted(item for item in returned if item[0] <= now):
                queue.appendleft(rest)
                returned.remove((at, rest))
            if not queue:
                free_at[slot] = min(at for at, _ in returned)
                continue
            left, start_s, trial_s, end_s = queue.popleft()
            began, now = now, now + start_s
            while left:
                begun, left, now = begun + 1, left - 1, now + trial_s
                if now - began > MINUTE or (self.budget_s is not None and now > self.budget_s):
                    break
            free_at[slot] = now + end_s
            last = max(last, now + end_s)
            if left:
                returned.append((now + end_s, (left, start_s, trial_s, end_s)))
        return last, begun


@pytest.fixture(scope="module")
def cells(plugins: Plugins) -> list[list[Trial]]:
    """Return nine trials of each of five cells that nobody has ever recorded."""
    tasks = [f"partial[units={units}]" for units in range(200, 205)]
    trials = trials_of(plugins, tasks=tasks, seeds=9)
    return [[trial for trial in trials if trial.label == task] for task in tasks]


@pytest.mark.parametrize("seed", range(60))
def test_jobs_take_as_long_as_their_processes_in_a_simulation(
    seed: int, cells: list[list[Trial]]
) -> None:
    jobs = Jobs(seed)
    groups, records = [], []
    for (count, start_s, trial_s, end_s), cell in zip(jobs.jobs, cells, strict=False):
        trials = cell[:count]
        spent: dict[str, Any] = {"import_s": start_s, "compile_s": 0.0, "train_s": trial_s}
        beside = {"job": {"trials": 1.0, "other_s": end_s}}
        records.append(done(trials[0], **spent, provenance=beside))
        groups.append(trials)
    found = estimator(*records).estimate(
        groups, side_by_side=jobs.side_by_side, budget_s=jobs.budget_s
    )
    last, begun = jobs.simulated()
    assert found.expected_s == pytest.approx(last)
    assert found.begun == begun
    for job in found.jobs:  # the rows of a dry run add up to the same
        assert sum(cost.known_s for cost in job.trials) == pytest.approx(job.known_s)


def long_trials(plugins: Plugins, seeds: int) -> list[Trial]:
    return trials_of(plugins, tasks=["partial[units=200]"], seeds=seeds)


def test_long_trials_start_a_process_each(plugins: Plugins) -> None:
    trials = long_trials(plugins, 10)
    known = estimator(done(trials[0], import_s=60.0, compile_s=0.0, train_s=70.0))
    pairs = [trials[at : at + 2] for at in range(0, 10, 2)]
    assert known.estimate(pairs).expected_s == pytest.approx(10 * (60.0 + 70.0))


def test_a_budget_ends_a_process_between_its_trials(plugins: Plugins) -> None:
    trials = long_trials(plugins, 20)
    known = estimator(done(trials[0], import_s=1.0, compile_s=0.0, train_s=30.0))
    found = known.estimate([trials], budget_s=45.0)
    assert (found.begun, found.expected_s, found.worst_s) == (2, 61.0, 600.0)
    assert total_text(found, 45.0) == (
        "20 trials, of which about 2 begin within the budget of 45 s: 61 s expected, "
        "10 min at worst"
    )


def test_a_trial_may_be_expected_to_outlast_the_budget(plugins: Plugins) -> None:
    """Nobody was asked before a trial of two hours, if the budget was less than one."""
    trials = trials_of(plugins, tasks=["partial[units=200]"], timeout_s=9000.0)
    found = estimator(done(trials[0], import_s=1.0, compile_s=0.0, train_s=7200.0)).estimate(
        [trials], budget_s=3000.0
    )
    outlook = Outlook(trials, {}, found, None, 1, "local", 3000.0, {}, {})
    assert (outlook.longest_s, outlook.at_limits) == (7201.0, None)


def test_trials_of_unknown_length_that_do_not_begin_are_not_counted(plugins: Plugins) -> None:
    """Of two jobs side by side, the first of each begins, not the first two of the first."""
    (known, *_) = trials = long_trials(plugins, 2)
    strange = trials_of(plugins, tasks=["partial[units=201]"], seeds=2)
    expects = estimator(done(known, import_s=1.0, compile_s=0.0, train_s=30.0))
    found = expects.estimate([trials, strange], side_by_side=2, budget_s=0.5)
    assert (found.begun, found.begun_unknown) == (2, 1)


def test_replicates_begin_and_end_together(plugins: Plugins) -> None:
    trials = trials_of(plugins, tasks=["partial[units=200]"], seeds=4, replicates=4)
    spent = {"import": 3.0, "compile": 1.0, "train": 300.0}
    known = estimator(done(trials[0], epochs=80, provenance={"path": {"seconds": spent}}))
    for budget_s in (None, 10.0):
        found = known.estimate([trials], budget_s=budget_s)
        assert (found.begun, found.expected_s, found.worst_s) == (4, 304.0, 600.0)


def test_what_ran_is_compared_with_its_part_of_what_was_expected(plugins: Plugins) -> None:
    trials = long_trials(plugins, 4)
    (job,) = estimator(done(trials[0], import_s=10.0, compile_s=0.0, train_s=30.0)).jobs([trials])
    parts: Sequence[float] = [
        together([type(job)(job.trials[:count])]).expected_s for count in (1, 2, 3, 4)
    ]
    assert parts == pytest.approx([40.0, 70.0, 110.0, 140.0])  # the third has a process of its own
