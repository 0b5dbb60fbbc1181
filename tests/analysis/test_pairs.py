"""Pairs by hand, and one verdict on two cells whichever command is asked."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echobench.analysis import table
from echobench.analysis.comparison import Framed, compare
from echobench.analysis.frame import frame
from echobench.analysis.leaderboard import ranked, row_of
from echobench.analysis.pairs import (
    LOOKS,
    MARGIN,
    SECONDS_PER_UPDATE,
    Decision,
    Pairs,
    Verdict,
    judge,
    median,
    pair,
    ratios,
    settled,
)
from echobench.analysis.sides import Side
from echobench.analysis.statistics import (
    Estimate,
)
from echobench.harness.adaptive import contests
from echobench.present.page.cells import groups
from echobench.present.sentences import verdicts
from echobench.trial.record import Record
from tests.records import changed, missed, reached, record


def test_pairs_of_every_kind_by_hand() -> None:
    nan = float("nan")
    # measured both; a missed after 2; a missed early; b missed after 9; b missed early; both.
    a = [2.0, nan, nan, 3.0, 3.0, nan]
    b = [4.0, 1.0, 5.0, nan, nan, nan]
    found = ratios(a, b, [nan, 2.0, 2.0, nan, nan, 1.0], [nan, nan, nan, 9.0, 2.0, 1.0])
    assert found.ratios.tolist() == [2.0, 0.5, 3.0]
    assert (found.bounded, found.silent) == (2, 3)


MISSED = UNBOUNDED = np.nan


@pytest.mark.parametrize(
    ("a", "b", "spent_a", "spent_b", "value", "bound"),
    [
        (2.0, 4.0, 9.0, 9.0, 2.0, False),  # both arrived: what was spent is of no account
        (MISSED, 5.0, 10.0, 9.0, 0.5, True),
        (MISSED, 5.0, 5.0, 9.0, 1.0, True),
        (MISSED, 5.0, 4.0, 9.0, None, False),  # ended before the other had arrived
        (2.0, MISSED, 9.0, 8.0, 4.0, True),
        (2.0, MISSED, 9.0, 2.0, 1.0, True),
        (2.0, MISSED, 9.0, 1.0, None, False),
        (MISSED, MISSED, 9.0, 3.0, None, False),
        (MISSED, MISSED, 3.0, 9.0, None, False),
        (MISSED, 5.0, UNBOUNDED, 9.0, None, False),
        (2.0, MISSED, 9.0, UNBOUNDED, None, False),
        (0.25, 0.5, 9.0, 9.0, 2.0, False),  # what takes less than a second is no miss
        (0.5, MISSED, 9.0, 0.75, 1.5, True),
        (MISSED, 0.25, 0.5, 9.0, 0.5, True),
        (0.0, 5.0, 9.0, 9.0, None, False),  # nothing is a ratio to nothing
        (5.0, 0.0, 9.0, 9.0, None, False),
    ],
)
def test_a_pair_by_hand(
    a: float, b: float, spent_a: float, spent_b: float, value: float | None, bound: bool
) -> None:
    # Beside a pair of which both arrived.
    found = ratios([1.0, a], [3.0, b], [9.0, spent_a], [9.0, spent_b])
    assert found.ratios.tolist() == [3.0, *([] if value is None else [value])]
    assert (found.bounded, found.silent) == (int(bound), int(value is None))


def test_trials_pair_by_machine_seed_and_repeat_and_the_last_of_a_run_counts() -> None:
    def run(seconds: float, seed: int = 0, repeat: int = 0, cpu: str = "a") -> Record:
        machine = {"machine": {"cpu": cpu, "cores": 1}}
        return changed(reached(seed, seconds), provenance=machine, trial={"repeat": repeat})

    first = frame([run(1, 10), run(2, 9), run(3, 9, 1), run(4, 0, 0, "b"), run(9, 7), run(5, 7)])
    second = frame([run(8, 0, 0, "b"), run(9, 9, 1), run(8, 9), run(5, 10), run(7, 8), run(5, 7)])
    # By machine, repeat and seed, seeds as numbers: (a, 0, 7), (a, 0, 9), (a, 0, 10), ...
    assert pair(first, second).ratios.tolist() == [1.0, 4.0, 5.0, 3.0, 2.0]
    assert pair(first, first[:0]).ratios.tolist() == []


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (1.01, 1.02, Decision.FIRST),
        (0.5, 0.99, Decision.SECOND),
        (0.96, 1.04, Decision.ALIKE),
        (1.0, 1.04, Decision.ALIKE),
        (1 + 1e-15, 1.04, Decision.ALIKE),  # rounding
        (0.94, 1.04, Decision.OPEN),
        (0.96, 1.06, Decision.OPEN),
        (None, None, Decision.FEW),
    ],
)
def test_a_decision_by_hand(low: float | None, high: float | None, decision: Decision) -> None:
    verdict = Verdict(Estimate(1.0, low, high, 8))
    assert verdict.decision is decision
    # A miss bounds a difference from below: how small it is, it does not show.
    bounded = Verdict(Estimate(1.0, low, high, 8), bounded=1)
    assert bounded.decision is (Decision.OPEN if decision is Decision.ALIKE else decision)
    assert verdict.has_winner == (decision in (Decision.FIRST, Decision.SECOND))


def test_the_advantage_is_the_ratio_of_the_slower_to_the_faster() -> None:
    assert Verdict(Estimate(2.0, 1.6, 2.5, 8)).advantage == (2.0, 1.6, 2.5, 8)
    assert Verdict(Estimate(0.5, 0.4, 0.625, 8)).advantage == (2.0, 1.6, 2.5, 8)
    assert Verdict(Estimate(0.5, None, None, 3)).advantage == (2.0, None, None, 3)


def test_a_trial_that_can_never_arrive_loses_against_any_hit() -> None:
    crash = [changed(missed(seed, 0.1), status="failed", reason="SIGSEGV") for seed in range(7)]
    hits = [reached(seed, 100.0 + seed) for seed in range(6)]
    found = pair(frame(crash), frame(hits))
    assert (found.ratios.tolist(), found.bounded, found.silent) == ([0.0] * 6, 6, 0)
    verdict = judge(found)
    assert (verdict.decision, verdict.times) == (Decision.SECOND, "infinitely")
    # One that was given up after 0.1 s might have arrived: it bounds nothing.
    assert len(pair(frame(missed(s, 0.1) for s in range(6)), frame(hits)).ratios) == 0
    # Nor does one that somebody else ended.
    killed = [changed(one, reason="killed: used 2 GB, more than ...") for one in crash]
    assert len(pair(frame(killed), frame(hits)).ratios) == 0
    # Of two that never arrive neither is the faster.
    assert pair(frame(crash), frame(crash)).silent == 7


def of_processes(values: list[list[float]]) -> Pairs:
    """Return pairs by the ratios of each process."""
    numbers = np.repeat(np.arange(len(values)), [len(one) for one in values])
    return Pairs(np.concatenate([*map(np.array, values)]), processes=numbers)


def test_a_look_asks_the_processes_and_not_their_pairs() -> None:
    clear = [[2.0, 2.1]] * LOOKS[0]
    assert settled(of_processes(clear)) is Decision.FIRST
    assert settled(of_processes([[0.5, 0.4]] * LOOKS[0])) is Decision.SECOND
    assert settled(of_processes(clear[1:])) is None  # however many pairs there are
    assert settled(of_processes([[2.0, 2.1] * 9] * (LOOKS[0] - 1))) is None
    # Five of one kind agree by chance: below some spread nothing is concluded from so few.
    assert settled(of_processes([[1.1, 1.1]] * LOOKS[0])) is None
    assert settled(of_processes([[1.01, 0.99]] * LOOKS[0])) is Decision.ALIKE
    assert settled(of_processes([[1.1, 1.1]] * LOOKS[2])) is Decision.FIRST


def test_by_process_each_says_one_thing_however_many_trials_it_lost() -> None:
    found = of_processes([[2.0, 8.0], [4.0], [1.0, 3.0, np.inf]])
    assert np.exp(found.by_process) == pytest.approx([4.0, 4.0, 3.0])


@pytest.mark.parametrize("contests", [1, 20])
@pytest.mark.parametrize("n", LOOKS)
def test_what_settles_a_look_is_a_verdict_too(n: int, contests: int) -> None:
    rng = np.random.default_rng(n)
    decisions = set()
    for centre, spread in itertools.product((0.6, 0.97, 1.0, 1.2, 3.0), (0.005, 0.1)):
        pairs = of_processes((centre * np.exp(rng.normal(0, spread, (n, 2)))).tolist())
        decision = settled(pairs, contests)
        decisions.add(decision)
        verdict = judge(pairs)
        assert decision in (None, verdict.decision) or (
            decision is Decision.ALIKE and verdict.within_margin
        )
    assert decisions > {Decision.FIRST, Decision.SECOND}


def test_more_contests_ask_for_more() -> None:
    pairs = of_processes([[1.4, 1.5]] * LOOKS[0])
    assert settled(pairs, 1) is Decision.FIRST
    assert settled(pairs, 200) is None


class Trials(NamedTuple):
    """What one run of two cells took: seconds, `-seconds` for a miss, 0 for none at all."""

    jax: float
    torch: float


def trials(backend: str, seconds: list[float]) -> list[Record]:
    made = []
    for number, taken in enumerate(seconds):
        seed, repeat = divmod(number, 2)
        one = reached(seed, taken) if taken > 0 else missed(seed, -taken)
        if taken:
            key = f"{backend} {number}"
            made.append(changed(one, backend=backend, key=key, trial={"repeat": repeat}))
    return made


SECONDS = st.one_of(
    st.floats(0.8, 1.25),
    st.sampled_from([1.0, 1.02, 0.5, 0.0]),
    st.sampled_from([-0.1, -1.0, -100.0]),
)
RUNS = st.lists(st.builds(Trials, SECONDS, SECONDS), min_size=1, max_size=24)
FACTORS = st.sampled_from([1.0, 1.0, 1.03, 1.2, 3.0])


@settings(max_examples=40, deadline=None)
@given(RUNS, FACTORS)
def test_two_cells_have_one_verdict_whoever_is_asked(runs: list[Trials], slower: float) -> None:
    ours = trials("jax", [run.jax for run in runs])
    theirs = trials("torch", [slower * run.torch for run in runs])
    if not ours or not theirs:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echobench.analysis.statistics.RESAMPLES", 999)
        verdict = judge(pair(frame(ours), frame(theirs)))
        winner = {Decision.FIRST: "jax", Decision.SECOND: "torch"}.get(verdict.decision)
        mirrored = judge(pair(frame(theirs), frame(ours)))
        assert {Decision.FIRST: "torch", Decision.SECOND: "jax"}.get(mirrored.decision) == winner
        assert by_compare(ours, theirs) == winner
        assert by_sentence([*ours, *theirs]) == winner
        assert by_page([*ours, *theirs]) == winner
        assert by_leaderboard(ours, theirs) in (winner, "not ranked")
        for contest in contests([*ours, *theirs]):
            assert contest.pairs == verdict.ratio.n
            if contest.decision is Decision.ALIKE:
                assert verdict.within_margin
                assert f"are within {MARGIN:.0%}" in str(contest)
            elif contest.decision is not None:
                assert str(contest).startswith(f"partial closed: {winner} fused is faster than ")


def by_compare(ours: list[Record], theirs: list[Record]) -> str | None:
    sides = Side("", Path(), {"backend": "jax"}), Side("", Path(), {"backend": "torch"})
    runs = [{(r.seed, r.trial.repeat) for r in side} for side in (ours, theirs)]
    if not runs[0] & runs[1]:
        return None  # not a pair: an error
    framed = Framed.of(*sides, (ours, theirs))
    words = [found.words for found in compare(framed, ["time_to_target_s"])]
    named = re.fullmatch(r"([AB]) (?:at least )?\S+x faster \[.*\]", words[0]) if words else None
    return {"A": "jax", "B": "torch"}[named[1]] if named else None


def by_sentence(records: list[Record]) -> str | None:
    (line,) = verdicts(table.grouped(records))
    named = re.match(r"(\w+) reached certified 100% on partial \(closed\) .* sooner than", line)
    return named[1] if named else None


def by_page(records: list[Record]) -> str | None:
    (group,) = groups(records, frame(records))
    name, _ = group.answers.get("Training time to certified 100%", ("", ""))
    marked = [c.name for c in group.cells if c.marks.get("time to target") == "best"]
    assert marked == ([name] if name else [])
    return name.removesuffix(" fused") or None


def by_leaderboard(ours: list[Record], theirs: list[Record]) -> str | None:
    standings = ranked([row_of(side, side[0].cell) for side in (ours, theirs)])
    if any(standing.rank is None for standing in standings):
        return "not ranked"
    first, second = standings
    assert first.rank == 1
    return first.row.backend if second.rank == 2 else None


def test_replicates_of_one_process_are_one_process() -> None:
    def together(backend: str, seconds: float, start: str) -> pd.DataFrame:
        return frame(
            [
                record(
                    seed,
                    backend=backend,
                    started_at=start,
                    seconds_per_update=seconds,
                    trial={"replicates": 8},
                )
                for seed in range(8)
            ]
        )

    ours = together("jax", 1.0e-3, "2026-01-01T00:00:00.000+00:00")
    theirs = together("flax", 1.06e-3, "2026-01-01T01:00:00.000+00:00")
    pairs = pair(ours, theirs, SECONDS_PER_UPDATE)
    assert (len(pairs.ratios), len(pairs.by_process)) == (8, 1)
    assert judge(pairs).ratio.low is None
    assert median(ours, SECONDS_PER_UPDATE).low is None
