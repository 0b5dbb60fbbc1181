"""Seeds until it is clear: the rule errs as seldom as it says, and stops where it should."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from echobench.analysis.pairs import Decision, Pairs, looks, settled
from echobench.analysis.statistics import ERROR
from echobench.errors import UsageError
from echobench.harness import adaptive
from echobench.harness.plan import Selection
from echobench.plugin.manager import Plugins
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from tests.records import changed, missed, reached


def records_of(trials: Sequence[Trial], slower: float, noise: float) -> list[Record]:
    """Return records as trials would give them: torch slower than jax by a factor."""
    found = []
    for trial in trials:
        rng = np.random.default_rng([trial.seed, len(trial.backend)])
        seconds = float(np.exp(rng.normal(0, noise))) * (slower if trial.backend == "torch" else 1)
        record = reached(trial.seed, seconds)
        found.append(changed(record, backend=trial.backend, key=trial.key))
    return found


def seeds_needed(plugins: Plugins, slower: float, noise: float) -> tuple[int, list[str]]:
    selection = Selection(tasks=["partial"], backends=["jax", "torch"])
    found: list[Record] = []
    said: list[str] = []
    seeds = 0
    for trials in adaptive.rounds(selection, plugins, found, said.append):
        found[:] = records_of(trials, slower, noise)
        seeds = len({trial.seed for trial in trials})
    return seeds, said


def test_a_clear_winner_needs_the_fewest_seeds(plugins: Plugins) -> None:
    seeds, said = seeds_needed(plugins, slower=3.0, noise=0.1)
    assert seeds == looks()[0]
    assert said == ["partial closed: jax fused is faster than torch fused (8 pairs)"]


def test_alike_ends_too_and_what_is_unclear_ends_with_the_last_look(plugins: Plugins) -> None:
    seeds, said = seeds_needed(plugins, slower=1.0, noise=0.01)
    assert seeds == looks()[0]
    assert said == ["partial closed: jax fused and torch fused are within 5% (8 pairs)"]
    seeds, said = seeds_needed(plugins, slower=1.0, noise=1.0)
    assert seeds == looks()[-1]
    assert said[-1] == "partial closed: jax fused, torch fused: open (40 pairs)"


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_t"])
def test_without_a_difference_a_winner_is_named_as_seldom_as_the_rule_says(draw: str) -> None:
    rng = np.random.default_rng(1)
    tries, wrong = 600, 0
    for _ in range(tries):
        size = looks()[-1]
        noise = rng.standard_t(2, size) if draw == "standard_t" else getattr(rng, draw)(size=size)
        ratios = np.exp(0.1 * noise)
        decisions = {settled(Pairs(ratios[:look])) for look in looks()}
        wrong += bool(decisions & {Decision.FIRST, Decision.SECOND})
    # 5% at most; three standard deviations of 600 tries are 2.7%.
    assert wrong / tries < ERROR + 0.027


@pytest.mark.parametrize(("cells", "tasks", "tries"), [(4, 1, 60), (4, 2, 40), (3, 16, 12)])
def test_of_many_pairs_of_cells_a_winner_is_named_as_seldom(
    cells: int, tasks: int, tries: int
) -> None:
    rng = np.random.default_rng(cells * tasks)
    pairs_of_cells = list(itertools.combinations(range(cells), 2))
    number = tasks * len(pairs_of_cells)

    def errs() -> bool:
        """Return whether a run of cells that do not differ names a winner."""
        times = np.exp(0.1 * rng.normal(size=(tasks, cells, looks(number)[-1])))
        return any(
            settled(Pairs((task[b] / task[a])[:look]), number) in (Decision.FIRST, Decision.SECOND)
            for task in times
            for a, b in pairs_of_cells
            for look in looks(number)
        )

    # 5% at most, and three standard deviations; one at a time they were 13%, 26% and 65%.
    wrong = sum(errs() for _ in range(tries))
    assert wrong / tries <= ERROR + 3 * (ERROR * (1 - ERROR) / tries) ** 0.5


def test_contests_are_judged_as_so_many_as_were_planned_or_are_there(plugins: Plugins) -> None:
    two = [changed(reached(seed, 2.0), backend="torch") for seed in range(8)]
    records = [*(reached(seed, 1.0) for seed in range(8)), *two]
    assert [c.decision for c in adaptive.contests(records)] == [Decision.FIRST]
    assert [c.decision for c in adaptive.contests(records, 3)] == [None]
    third = [changed(reached(seed, 4.0), backend="tensorflow") for seed in range(8)]
    found = adaptive.contests([*records, *third])
    assert [contest.decision for contest in found] == [None] * 3
    selection = Selection(tasks=["partial", "whole"], backends=["jax", "torch", "tensorflow"])
    assert adaptive.planned(selection, plugins) == 6
    assert adaptive.rule(6)["looks"] == looks(6) == [11, 16, 24, 37, 55]
    (first, *_) = adaptive.rounds(selection, plugins, [], print)
    assert len({trial.seed for trial in first}) == 11


def test_a_difference_is_found(plugins: Plugins) -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(100):
        ratios = 1.2 * np.exp(0.2 * rng.normal(size=looks()[-1]))
        found += any(settled(Pairs(ratios[:look])) is Decision.FIRST for look in looks())
    assert found > 95


def test_a_cell_that_misses_early_wins_nothing() -> None:
    early = [changed(missed(seed, 0.1), backend="torch") for seed in range(8)]
    late = [changed(missed(seed, 9.0), backend="torch") for seed in range(8)]
    hits = [reached(seed, 1.0) for seed in range(8)]
    assert adaptive.contests([*hits, *early]) == []
    (contest,) = adaptive.contests([*hits, *late])
    assert contest.decision is Decision.FIRST


def test_pairs_are_of_one_class_of_machine() -> None:
    hits = [reached(seed, 1.0) for seed in range(8)]
    elsewhere = {"backend": "torch", "provenance": {"machine": {"cpu": "other", "cores": 2}}}
    slower = [changed(reached(seed, 2.0), **elsewhere) for seed in range(8)]
    assert adaptive.contests([*hits, *slower]) == []


def test_classes_of_machines_are_judged_apart() -> None:
    records = [
        changed(
            reached(seed, seconds),
            backend=backend,
            provenance={"machine": {"cpu": cpu, "cores": 2}},
        )
        for seed in range(9)  # of two pairs of cells
        for cpu, backend, seconds in (
            ("a", "jax", 1.0), ("a", "torch", 2.0), ("b", "jax", 2.0), ("b", "torch", 1.0)
        )
    ]  # fmt: skip # one line reads better
    assert [str(contest) for contest in adaptive.contests(records)] == [
        "partial closed on a, 2 cores: jax fused is faster than torch fused (9 pairs)",
        "partial closed on b, 2 cores: torch fused is faster than jax fused (9 pairs)",
    ]


def test_one_cell_alone_cannot_be_told_apart(plugins: Plugins) -> None:
    selection = Selection(tasks=["partial", "whole"], backends=["jax"])
    with pytest.raises(UsageError, match="--seeds auto: expected two backends or engines"):
        next(adaptive.rounds(selection, plugins, [], print))
