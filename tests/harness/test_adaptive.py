"""Seeds until it is clear: the rule errs as seldom as it says, and stops where it should."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from echobench.analysis.pairs import ERROR, LOOKS, Decision, Pairs, settled
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
    assert seeds == LOOKS[0]
    assert said == ["partial closed: jax fused is faster than torch fused (8 pairs)"]


def test_alike_ends_too_and_what_is_unclear_ends_with_the_last_look(plugins: Plugins) -> None:
    seeds, said = seeds_needed(plugins, slower=1.0, noise=0.01)
    assert seeds == LOOKS[0]
    assert said == ["partial closed: jax fused and torch fused are within 5% (8 pairs)"]
    seeds, said = seeds_needed(plugins, slower=1.0, noise=1.0)
    assert seeds == LOOKS[-1]
    assert said[-1] == "partial closed: jax fused, torch fused: open (40 pairs)"


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_t"])
def test_without_a_difference_a_winner_is_named_as_seldom_as_the_rule_says(draw: str) -> None:
    rng = np.random.default_rng(1)
    tries, wrong = 600, 0
    for _ in range(tries):
        size = LOOKS[-1]
        noise = rng.standard_t(2, size) if draw == "standard_t" else getattr(rng, draw)(size=size)
        ratios = np.exp(0.1 * noise)
        decisions = {settled(Pairs(ratios[:look])) for look in LOOKS}
        wrong += bool(decisions & {Decision.FIRST, Decision.SECOND})
    # 5% at most; three standard deviations of 600 tries are 2.7%.
    assert wrong / tries < ERROR + 0.027


def test_a_difference_is_found(plugins: Plugins) -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(100):
        ratios = 1.2 * np.exp(0.2 * rng.normal(size=LOOKS[-1]))
        found += any(settled(Pairs(ratios[:look])) is Decision.FIRST for look in LOOKS)
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
        for seed in range(8)
        for cpu, backend, seconds in (
            ("a", "jax", 1.0), ("a", "torch", 2.0), ("b", "jax", 2.0), ("b", "torch", 1.0)
        )
    ]  # fmt: skip # one line reads better
    assert [str(contest) for contest in adaptive.contests(records)] == [
        "partial closed on a, 2 cores: jax fused is faster than torch fused (8 pairs)",
        "partial closed on b, 2 cores: torch fused is faster than jax fused (8 pairs)",
    ]


def test_one_cell_alone_cannot_be_told_apart(plugins: Plugins) -> None:
    selection = Selection(tasks=["partial", "whole"], backends=["jax"])
    with pytest.raises(UsageError, match="--seeds auto: expected two backends or engines"):
        next(adaptive.rounds(selection, plugins, [], print))
