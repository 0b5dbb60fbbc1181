"""The gate of `--fail-if`: broken only surely, passed only with something to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from echobench.analysis.comparison import (
    NAMED,
    RUN_KEYS,
    VARIED,
    Framed,
    compare,
)
from echobench.analysis.gate import Limit, new_cells
from echobench.analysis.sides import KEYS, Side
from echobench.errors import UsageError
from echobench.trial.record import Parity, Record
from tests.records import changed, record

SPEED, TARGET = "seconds_per_update", "time_to_target_s"
NO_TIME: dict[str, Any] = {"time_to_target_s": None, "updates_to_target": None}
CRASH: dict[str, Any] = {
    **NO_TIME, "status": "failed", "reason": "SIGSEGV", "seconds_per_update": None,
}  # fmt: skip # one line reads better
MISS: dict[str, Any] = {**NO_TIME, "status": "missed", "first_update_s": 0.0, "train_s": 50.0}
EARLY_MISS = {**MISS, "train_s": 0.1}
"""A miss of less than the other side took: by itself it bounds nothing."""


def cell(count: int = 10, factor: float = 1.0, **fields: Any) -> list[Record]:
    return [
        record(
            seed,
            **{
                SPEED: factor * (1 + seed / 1000),
                TARGET: factor * (2 + seed),
                "updates_to_target": 100 * (seed + 1),
                "provenance": {"seeds": {"rule": "fixed", "seeds": 10, "first": 0, "repeats": 1}},
                **fields,
            },
        )
        for seed in range(count)
    ]


def with_some(
    records: list[Record], number: int, fields: dict[str, Any], **more: Any
) -> list[Record]:
    """Return the cell with other results in its last trials."""
    kept = len(records) - number
    return [*records[:kept], *cell(len(records), **fields, **more)[kept:]]


def framed(a: list[Record], b: list[Record]) -> Framed:
    later = [changed(one, started_at="2026-01-02T00:00:00.000+00:00") for one in b]
    return Framed.of(Side("old", Path(), {}), Side("new", Path(), {}), (a, later))


def judged(limit: str, a: list[Record], b: list[Record]) -> tuple[int, list[str]]:
    """Return how many comparisons break a limit, and what it cannot decide."""
    both, parsed = framed(a, b), Limit.parse(limit)
    comparisons = compare(both, [parsed.metric])
    return len(parsed.broken(comparisons)), [*parsed.undecided(both, comparisons)]


def test_a_limit_is_broken_only_by_the_whole_interval() -> None:
    a, b = cell(), cell(factor=1.2)
    assert judged(f"{SPEED}>+10%", a, b) == (1, [])
    assert judged(f"{SPEED} > +25%", a, b) == (0, [])
    assert judged(f"{SPEED}>+10%", a, a) == (0, [])


@pytest.mark.parametrize("text", ["seconds_per_update", "speed>+10%", "wall_s>10", "wall_s<+5%"])
def test_a_limit_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-if: expected METRIC>\\+N%"):
        Limit.parse(text)


WRONG = Parity(passed=False, reference="jax fit", tolerance=1e-5, largest_difference=0.1)
FEW = (
    "partial jax fused closed seconds_per_update: {} pairs, too few for an interval, which takes 6"
)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (cell(5), cell(5), FEW.format(5)),
        (cell(), cell(**CRASH), FEW.format(0) + "; B: 10 failed (SIGSEGV)"),
        (cell(**CRASH), cell(), FEW.format(0) + "; A: 10 failed (SIGSEGV)"),
        (cell(), cell(seconds_per_update=None), FEW.format(0) + "; B: 10 reached"),
        (cell(), cell(status="unavailable", reason="no module jax", seconds_per_update=None),
         FEW.format(0) + "; B: 10 unavailable (no module jax)"),
        (cell(), [changed(one, parity=WRONG) for one in cell()],
         FEW.format(0) + "; B: 10 failed (parity"),
        (cell(6), with_some(cell(6), 3, CRASH), FEW.format(3) + "; B: 3 failed (SIGSEGV)"),
        (cell(), cell(3), FEW.format(3) + "; B: 7 no record"),
        (cell(), cell(task="whole"),
         "partial jax fused closed seconds_per_update: B has no trial of it"),
        (cell(provenance={"machine": {"cpu": "old", "cores": 2}}),
         cell(provenance={"machine": {"cpu": "new", "cores": 2}}),
         "partial jax fused closed old, 2 cores seconds_per_update: B has no trial of it; "
         "B ran it on new, 2 cores"),
        (cell(), cell(trial={"threads": 1}),
         "partial jax fused closed threads 2 seconds_per_update: B has no trial of it"),
    ],
    ids=["few", "all of B crashed", "all of A crashed", "not measured", "unavailable", "parity",
         "survivors", "no records", "only in A", "machines", "threads"],
)  # fmt: skip # one line a case reads better
def test_what_cannot_be_decided_is_said_with_its_reason(
    a: list[Record], b: list[Record], why: str
) -> None:
    broken, (line,) = judged(f"{SPEED}>+10%", a, b)
    assert broken == 0
    assert line.startswith(why), line


def test_every_cell_of_the_old_side_needs_a_verdict() -> None:
    threads = [*cell(), *cell(trial={"threads": 1})]
    _, (line,) = judged(f"{SPEED}>+10%", threads, cell())
    assert line == "partial jax fused closed threads 1 seconds_per_update: B has no trial of it"
    both = [*cell(), *cell(trial={"smt": True})]
    _, (line,) = judged(f"{SPEED}>+10%", both, cell())
    assert line == "partial jax fused closed smt True seconds_per_update: B has no trial of it"
    # One cell that is slower is not hidden among the others.
    slower = [*cell(), *cell(factor=1.2, trial={"threads": 1})]
    assert judged(f"{SPEED}>+10%", threads, slower)[0] == 1


@pytest.mark.parametrize(
    "differing", [{"max_epochs": 7}, {"versions": {"jax": "9"}}, {"cache": True}]
)
def test_a_second_cell_of_one_name_hides_no_slow_one(differing: dict[str, Any]) -> None:
    slow = cell(factor=1.5)
    fast = cell(trial=differing, started_at="2027-01-01T00:00:00.000+00:00")
    broken, undecided = judged(f"{SPEED}>+10%", cell(), [*slow, *fast])
    assert (broken, undecided) == (1, [])
    (new,) = new_cells(framed(cell(), [*slow, *fast]))
    assert new.startswith("partial jax fused closed ")


def test_a_smoke_run_decides_nothing() -> None:
    broken, (line,) = judged(f"{SPEED}>+10%", cell(), cell(trial={"quick": True}))
    assert broken == 0
    assert line.endswith("B has no trial of it")


def test_trials_without_a_partner_are_counted() -> None:
    assert framed(cell(), cell(6)).cautions() == ["4 of 10 trials of A have no partner in B"]
    assert framed(cell(), cell()).cautions() == []


def test_each_field_of_a_cell_names_it_where_it_differs() -> None:
    assert {*NAMED, *VARIED, *RUN_KEYS, "task"} == {*KEYS}


def test_a_cell_that_is_new_is_named_and_decides_nothing() -> None:
    a, b = cell(), [*cell(), *cell(task="whole")]
    assert judged(f"{SPEED}>+10%", a, b) == (0, [])
    assert new_cells(framed(a, b)) == ["whole jax fused closed"]


def test_what_never_ran_is_no_baseline() -> None:
    never = cell(task="whole", status="unsupported", reason="stateful", seconds_per_update=None)
    assert judged(f"{SPEED}>+10%", [*cell(), *never], cell()) == (0, [])


@pytest.mark.parametrize("lost", [CRASH, MISS, EARLY_MISS], ids=["crash", "miss", "early"])
def test_half_of_the_targets_lost_is_no_pass(lost: dict[str, Any]) -> None:
    """The median pair is as fast as before, and those that arrive are no slower."""
    broken, (line,) = judged(f"{TARGET}>+10%", cell(), with_some(cell(), 4, lost))
    assert broken == 0
    assert line.startswith(
        f"partial jax fused closed {TARGET}: B has no figure in 4 of 10 pairs: 4 {lost['status']}"
    )
    # Nearly all lost is surely worse, where a miss bounds what it would have taken.
    broken, lines = judged(f"{TARGET}>+10%", cell(), with_some(cell(), 9, lost))
    assert (broken, bool(lines)) == ((0, True) if lost is EARLY_MISS else (1, False))


def test_survivors_of_crashes_are_no_sample() -> None:
    broken, (line,) = judged(f"{SPEED}>+10%", cell(), with_some(cell(), 4, CRASH))
    assert broken == 0
    assert "B has no figure in 4 of 10 pairs: 4 failed (SIGSEGV)" in line
    # Trials that were not declared are missing from no sample.
    asked = {"seeds": {"rule": "fixed", "seeds": 6, "first": 0, "repeats": 1}}
    assert judged(f"{SPEED}>+10%", cell(), cell(6, provenance=asked)) == (0, [])
    _, (line,) = judged(f"{SPEED}>+10%", cell(), cell(6))
    assert line.endswith("B has no figure in 4 of 10 pairs: 4 no record")


def dealt(records: list[Record], side: str, each: int) -> list[Record]:
    """Return the trials as of processes that trained so many seeds each."""
    declared = {"rule": "fixed", "seeds": len(records), "first": 0, "repeats": 1}
    return [
        changed(
            one,
            provenance={
                "seeds": declared,
                "process": {"id": f"{side} {seed // each}", "place": seed % each},
            },
        )
        for seed, one in enumerate(records)
    ]


@pytest.mark.parametrize("how", ["failed", "no record", "no record, a process each in A"])
@pytest.mark.parametrize("each", [2, 3])
@pytest.mark.parametrize("processes", [6, 7, 8, 9, 12])
def test_a_lost_process_is_one_process(processes: int, each: int, how: str) -> None:
    """Against the chance that at least half of the processes drawn are the one that was lost."""
    count = processes * each
    a = dealt(cell(count), "a", 1 if how.endswith("each in A") else each)
    b = dealt(with_some(cell(count), each, CRASH), "b", each)
    if how != "failed":
        b = b[:-each]
    broken, undecided = judged(f"{SPEED}>+10%", a, b)
    infinite = stats.binom.sf((processes - 1) // 2, processes, 1 / processes)
    tail = stats.norm.cdf((processes / (processes - 1)) ** 0.5 * stats.t.ppf(0.025, processes - 1))
    assert (broken, bool(undecided)) == (0, infinite > tail)
    assert all(f"B has no figure in {each} of {count} pairs: {each} " in one for one in undecided)


def test_lost_trials_that_link_all_others_decide_nothing() -> None:
    """They leave five processes, each beside one of A; with them there would be three."""
    a, b = dealt(cell(14), "a", 2), dealt(with_some(cell(14), 4, CRASH), "b", 2)
    for lost, other in zip((10, 11, 12, 13), (0, 2, 4, 6), strict=True):
        b[lost] = changed(b[lost], provenance=b[other].provenance)
    (comparison,) = compare(framed(a, b), [SPEED])
    assert (comparison.verdict.processes, comparison.verdict.silent) == (5, 4)
    _, (line,) = judged(f"{SPEED}>+10%", a, b)
    assert line.endswith("B has no figure in 4 of 14 pairs: 4 failed (SIGSEGV)")


def test_one_crash_of_many_decides_no_median() -> None:
    assert judged(f"{SPEED}>+10%", cell(), with_some(cell(), 1, CRASH)) == (0, [])
    # Nor does a target that both sides miss.
    a, b = (with_some(cell(), 2, MISS) for _ in range(2))
    assert judged(f"{TARGET}>+10%", a, b) == (0, [])
    assert judged(f"{TARGET}>+10%", with_some(cell(), 4, MISS), cell()) == (0, [])
