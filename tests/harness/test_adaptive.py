"""Seeds until it is clear: the rule errs as seldom as it says, and stops where it should."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from echobench.analysis.pairs import LOOKS, Decision, Pairs, settled
from echobench.analysis.statistics import ERROR
from echobench.errors import UsageError
from echobench.harness import adaptive
from echobench.harness.plan import Selection
from echobench.harness.sharing import SEEDS_A_PROCESS, by_process
from echobench.plugin.manager import Plugins
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from tests.records import changed, missed, reached


@pytest.fixture(autouse=True)
def quick_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echobench.analysis.statistics.RESAMPLES", 999)


SEEDS = [SEEDS_A_PROCESS * look for look in LOOKS]


def records_of(trials: Sequence[Trial], slower: float, noise: float) -> list[Record]:
    """Return records as trials would give them: torch slower than jax by a factor.

    All of the noise is the process'.
    """
    found = []
    for trial in trials:
        number, place = divmod(trial.seed, SEEDS_A_PROCESS)
        rng = np.random.default_rng([number, len(trial.backend)])
        seconds = float(np.exp(rng.normal(0, noise))) * (slower if trial.backend == "torch" else 1)
        record = reached(trial.seed, seconds)
        process = {"process": {"id": f"{trial.backend} {number}", "place": place}}
        found.append(changed(record, backend=trial.backend, key=trial.key, provenance=process))
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


def test_a_clear_winner_needs_the_fewest_processes(plugins: Plugins) -> None:
    seeds, said = seeds_needed(plugins, slower=3.0, noise=0.1)
    assert seeds == SEEDS[0]
    told = "partial closed: jax fused is faster than torch fused (10 pairs of 5 processes)"
    assert said == [told]


def test_alike_ends_too_and_what_is_unclear_ends_with_the_last_look(plugins: Plugins) -> None:
    seeds, said = seeds_needed(plugins, slower=1.0, noise=0.005)
    assert seeds == SEEDS[0]
    told = "partial closed: jax fused and torch fused are within 5% (10 pairs of 5 processes)"
    assert said == [told]
    seeds, said = seeds_needed(plugins, slower=1.0, noise=1.0)
    assert seeds == SEEDS[-1]
    assert said[-1] == "partial closed: jax fused, torch fused: open (74 pairs of 37 processes)"


def two_kinds(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.choice([-1.0, 1.0], shape)


DRAWS: dict[str, Any] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(2, shape),
    "two kinds": two_kinds,
}


@pytest.mark.parametrize("spread", [0.05, 0.2])
@pytest.mark.parametrize("effects", DRAWS)
def test_without_a_difference_a_winner_is_named_as_seldom_as_the_rule_says(
    effects: str, spread: float
) -> None:
    rng, tries = np.random.default_rng(1), 120
    numbers = np.repeat(np.arange(LOOKS[-1]), SEEDS_A_PROCESS)
    wrong = 0
    for _ in range(tries):
        ours, theirs = (spread * DRAWS[effects](rng, (LOOKS[-1],)) for _ in range(2))
        logs = (theirs - ours)[numbers] + rng.normal(0, 0.03, len(numbers))
        looks = (settled(Pairs(np.exp(logs[:seeds]), processes=numbers[:seeds])) for seeds in SEEDS)
        wrong += next(filter(None, looks), None) in (Decision.FIRST, Decision.SECOND)
    # 5% at most; three standard deviations of 120 tries are 6%.
    assert wrong / tries < ERROR + 0.06


def test_seeds_that_share_their_process_are_not_taken_for_independent() -> None:
    rng, wrong = np.random.default_rng(4), [0, 0]
    for _ in range(60):
        numbers = np.repeat(np.arange(LOOKS[-1]), 8)
        logs = rng.normal(0, 0.2, LOOKS[-1])[numbers] + rng.normal(0, 0.02, len(numbers))
        for which, of in enumerate((numbers, np.arange(len(numbers)))):
            decisions = {
                settled(Pairs(np.exp(logs[: 8 * look]), processes=of[: 8 * look])) for look in LOOKS
            }
            wrong[which] += bool(decisions & {Decision.FIRST, Decision.SECOND})
    assert wrong[0] <= 8  # 5% of 60, and three standard deviations
    assert wrong[1] > 20


@pytest.mark.parametrize(("cells", "tasks", "tries"), [(4, 1, 40), (4, 2, 25)])
def test_of_many_pairs_of_cells_a_winner_is_named_as_seldom(
    cells: int, tasks: int, tries: int
) -> None:
    rng = np.random.default_rng(cells * tasks)
    pairs_of_cells = list(itertools.combinations(range(cells), 2))
    number = tasks * len(pairs_of_cells)

    def errs() -> bool:
        """Return whether a run of cells that do not differ names a winner."""
        logs = 0.15 * rng.normal(size=(tasks, cells, LOOKS[-1]))
        return any(
            settled(Pairs(np.exp((task[b] - task[a])[:look])), number)
            in (Decision.FIRST, Decision.SECOND)
            for task in logs
            for a, b in pairs_of_cells
            for look in LOOKS
        )

    wrong = sum(errs() for _ in range(tries))
    assert wrong / tries <= ERROR + 3 * (ERROR * (1 - ERROR) / tries) ** 0.5


def test_contests_are_judged_as_so_many_as_were_planned_or_are_there(plugins: Plugins) -> None:
    two = [changed(reached(seed, 2.0), backend="torch") for seed in range(8)]
    records = [*(reached(seed, 1.0) for seed in range(8)), *two]
    assert [c.decision for c in adaptive.contests(records)] == [Decision.FIRST]
    assert [c.decision for c in adaptive.contests(records, 10**9)] == [None]
    third = [changed(reached(seed, 4.0), backend="tensorflow") for seed in range(8)]
    found = adaptive.contests([*records, *third])
    assert [contest.decision for contest in found] == [
        Decision.FIRST,
        Decision.FIRST,
        Decision.SECOND,
    ]
    selection = Selection(tasks=["partial", "whole"], backends=["jax", "torch", "tensorflow"])
    assert adaptive.planned(selection, plugins) == 6
    assert adaptive.rule(6)["looks"] == SEEDS == [10, 14, 22, 32, 50, 74]
    (first, *_) = adaptive.rounds(selection, plugins, [], print)
    assert len({trial.seed for trial in first}) == SEEDS[0]


def test_each_look_deals_as_many_seeds_to_a_process(plugins: Plugins) -> None:
    selection = Selection(tasks=["partial"], backends=["jax", "torch"])
    dealt = []
    for number, trials in zip(
        range(len(LOOKS)), adaptive.rounds(selection, plugins, [], print), strict=False
    ):
        of = by_process(trials, adaptive.dealing(selection, number))
        assert {len(group) for group in of} == {SEEDS_A_PROCESS}
        assert len(of) == 2 * LOOKS[number]
        dealt.append({frozenset(group) for group in of})
    # A process of an earlier look is one of each later one.
    assert all(before < after for before, after in itertools.pairwise(dealt))
    with pytest.raises(UsageError, match="expected no --forks"):
        adaptive.planned(selection.model_copy(update={"forks": 2}), plugins)


def test_a_difference_is_found() -> None:
    rng, found = np.random.default_rng(2), 0
    for _ in range(60):
        ratios = 1.2 * np.exp(0.15 * rng.normal(size=LOOKS[-1]))
        found += any(settled(Pairs(ratios[:look])) is Decision.FIRST for look in LOOKS)
    assert found > 55


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
