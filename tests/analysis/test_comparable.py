"""Which trials of two cells have comparable times: no first one, where those of either differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from echobench.analysis import table
from echobench.analysis.comparison import compare
from echobench.analysis.frame import frame
from echobench.analysis.pairs import OF_THE_SEED, TIME_TO_TARGET, judge, median, pair
from echobench.present.sentences import verdicts
from echobench.trial.record import Record
from tests.analysis.test_gate import CRASH, SPEED, cell, dealt, framed, judged
from tests.records import changed

LIMIT = f"{SPEED}>+10%"
NONE = "0 pairs, too few for an interval, which takes 6; 20 more have the first trial of a process"


def side(
    name: str, each: int, scale: float = 1.0, first: float = 1.3, count: int = 20, **fields: Any
) -> list[Record]:
    """Return trials of processes of so many seeds, whose first ones take `first` times as long."""
    rng = np.random.default_rng(ord(name) + each)
    times = scale * np.exp(rng.normal(0, 0.01, count))
    times[::each] *= first
    return [
        changed(one, seconds_per_update=float(t), time_to_target_s=float(100 * t), **fields)
        for one, t in zip(dealt(cell(count), name, each), times, strict=True)
    ]


def crashed(records: list[Record], seeds: range) -> list[Record]:
    """Return the trials of which some crashed: each heads a new process, so its place is 0."""
    return [
        changed(one, provenance={"process": {"id": f"new {s}", "place": 0}}, **CRASH)
        if s in seeds
        else one
        for s, one in enumerate(records)
    ]


def on_machine(cpu: str, records: list[Record]) -> list[Record]:
    return [
        changed(
            one,
            provenance={
                "machine": {"cpu": cpu, "cores": 2},
                "process": {"id": f"{cpu} {one.provenance.process.id}",  # type: ignore[union-attr] # each has one
                            "place": one.provenance.process.place},  # type: ignore[union-attr]
                "seeds": one.provenance.seeds,
            },
        )
        for one in records
    ]  # fmt: skip # one line a field reads better


@pytest.mark.parametrize("ratio", [1.0, 1.2])
@pytest.mark.parametrize(("each", "other"), [(1, 2), (2, 1), (2, 2), (4, 2), (2, 5)])
def test_pairs_are_of_later_trials_however_either_side_deals(
    each: int, other: int, ratio: float
) -> None:
    a, b = side("a", each), side("b", other, ratio)
    later = [s for s in range(20) if s % each and s % other]
    expected = [b[s].seconds_per_update / a[s].seconds_per_update for s in later]  # type: ignore[operator] # each has one
    pairs = pair(frame(a), frame(b), SPEED)
    assert sorted(pairs.ratios) == pytest.approx(sorted(expected))
    assert pairs.apart == 20 - len(later)
    mirrored = pair(frame(b), frame(a), SPEED)
    assert sorted(1 / mirrored.ratios) == pytest.approx(sorted(expected))
    assert len(pair(frame(a), frame(b), "updates_to_target").ratios) == 20
    for first, second, worse in ((a, b, ratio > 1), (b, a, False)):
        comparisons = compare(framed(first, second), [SPEED])
        found = [one.verdict.ratio.value for one in comparisons]
        assert found == (
            [judge(pair(frame(first), frame(second), SPEED)).ratio.value] if later else []
        )
        broken, undecided = judged(LIMIT, first, second)
        assert broken == int(worse and len(later) >= 6 and judge(pairs).ratio.low is not None)
        if not later:
            (line,) = undecided
            assert line.endswith(NONE)


@pytest.mark.parametrize(("each", "other"), [(1, 2), (2, 1)])
def test_the_sentence_says_no_winner_but_how_many_seeds_make_one(each: int, other: int) -> None:
    a = [changed(one, backend="jax") for one in side("a", each)]
    b = [changed(one, backend="torch") for one in side("b", other, 1.2)]
    line, *_ = verdicts(table.grouped([*a, *b]))
    assert "0 pairs, too few to say; enough with 12 more seeds, two in each process" in line
    assert line.endswith("--seeds 32 --forks 16")


def test_crashes_are_set_apart_nowhere() -> None:
    """A trial that crashed heads a new process: it is no first trial that takes another time."""
    a, b = side("a", 2, count=40), crashed(side("b", 2, count=40), range(1, 27, 2))
    pairs = pair(frame(a), frame(b), TIME_TO_TARGET)
    assert (int(np.isinf(pairs.ratios).sum()), len(pairs.ratios)) == (13, 20)
    found = median(frame(b))
    assert (found.n, found.value) == (20, None)
    broken, (line,) = judged(LIMIT, a, b)
    assert broken == 0
    assert line.endswith("B has no figure in 13 of 20 pairs: 13 failed (SIGSEGV)")
    # The first of a process may crash as well, whatever its partner's place.
    first = crashed(side("b", 2, count=40), range(0, 40, 2))
    broken, (line,) = judged(LIMIT, a, first)
    assert broken == 0
    assert line.endswith("B has no figure in 20 of 40 pairs: 20 failed (SIGSEGV)")


def test_what_sets_trials_apart_on_one_machine_does_not_on_another() -> None:
    sides = [
        [*on_machine("m1", side(name, 2, count=12)), *on_machine("m2", side(name, 2, 1.0, 1.0, 12))]
        for name in "ab"
    ]
    found = {one.cell: one.verdict for one in compare(framed(*sides), [SPEED])}
    m1, m2 = (found[f"jax fused closed {cpu}, 2 cores"] for cpu in ("m1", "m2"))
    assert (m1.ratio.n, m2.ratio.n, m2.how_many) == (6, 12, "12 pairs of 6 processes")
    alone = [[one for one in records if one.machine_class.startswith("m2")] for records in sides]
    (comparison,) = compare(framed(*alone), [SPEED])
    assert comparison.verdict == m2
    assert judged(LIMIT, *sides) == (0, [])
    rows = {row.place["machine"]: row for row in table.cells(sides[0])}
    for cpu, n in (("m1", 6), ("m2", 12)):
        assert median(rows[f"{cpu}, 2 cores"].trials, SPEED).n == n
    both = frame(sides[0])
    assert median(both, SPEED).n == 18  # judged together, too
    assert framed(*sides).cautions()[0].startswith("A: partial jax fused closed on m1, 2 cores: ")


@pytest.mark.parametrize("count", [4, 9, 12])
def test_the_order_of_sides_decides_no_trial(count: int) -> None:
    """Also where one side has few seeds, of which alone nothing would show."""
    a, b = side("a", 2, count=24), side("b", 3, 1.2, count=24)[:count]
    later = [s for s in range(count) if s % 2 and s % 3]
    (one,) = compare(framed(a, b), [SPEED])
    (other,) = compare(framed(b, a), [SPEED])
    assert (one.verdict.ratio.n, other.verdict.ratio.n) == (len(later), len(later))
    assert one.verdict.ratio.value == pytest.approx(1 / (other.verdict.ratio.value or 0.0))
    assert one.verdict == judge(pair(frame(a), frame(b), SPEED))


def test_what_the_seed_decides_is_compared_at_whatever_place() -> None:
    a, b = frame(side("a", 2)), frame(side("b", 1))
    assert all(pair(a, b, metric).apart == 0 for metric in (*OF_THE_SEED, "wall_s", "compile_s"))
