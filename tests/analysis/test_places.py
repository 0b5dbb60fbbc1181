"""First and later trials of a process: where they differ, they are kept apart."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from echobench.analysis import table
from echobench.analysis.footnotes import footnotes
from echobench.analysis.frame import frame
from echobench.analysis.pairs import (
    SECONDS_PER_UPDATE,
    TIME_TO_TARGET,
    hits_and_misses,
    judge,
    median,
    pair,
)
from echobench.analysis.places import apart, first_over_later, remarks, set_apart
from echobench.trial.record import Record
from tests.records import changed, missed, reached


def made(
    backend: str = "jax",
    processes: int = 5,
    trials: int = 3,
    first: float = 1.0,
    scale: float = 1.0,
) -> list[Record]:
    """Return records of processes that differ by 10% and of trials that differ by 1%."""
    rng, records = np.random.default_rng(len(backend)), []
    for number in range(processes):
        shared = scale * float(np.exp(rng.normal(0, 0.1)))
        for place in range(trials):
            seed = number * trials + place
            seconds = shared * float(np.exp(rng.normal(0, 0.01))) * (1.0 if place else first)
            one = changed(
                reached(seed, 100 * seconds),
                backend=backend,
                key=f"{backend} {seed}",
                seconds_per_update=seconds,
                updates_to_target=100 + seed,
                compile_s=None if place else 5.0,
                provenance={"process": {"id": f"{backend} {number}", "place": place}},
            )
            records.append(one)
    return records


def test_the_ratio_of_first_to_later_trials_is_student_s_by_process() -> None:
    records = made(first=1.2)
    (found,) = first_over_later(frame(records))
    logs = np.log([one.seconds_per_update or 0.0 for one in records]).reshape(5, 3)
    differences = logs[:, 0] - logs[:, 1:].mean(axis=1)
    # The stubs take the ends for arrays.
    expected: Any = stats.ttest_1samp(differences, 0).confidence_interval()
    assert found.ratio.value == pytest.approx(np.exp(differences.mean()))
    assert (found.ratio.low, found.ratio.high) == pytest.approx(tuple(np.exp(expected)))


@pytest.mark.parametrize(
    ("first", "processes", "differ"),
    [(1.2, 5, True), (0.8, 5, True), (1.03, 5, False), (1.0, 5, False), (1.2, 4, False)],
)
def test_only_what_surely_differs_by_the_margin_is_set_apart(
    first: float, processes: int, differ: bool
) -> None:
    flat = frame(made(first=first, processes=processes))
    assert bool(apart(flat)) == differ
    assert set_apart(flat).tolist() == [differ and not i % 3 for i in range(len(flat))]
    (said,) = remarks(flat) or [""]
    notes = footnotes(flat)
    assert (said in notes) == differ
    pattern = (
        r"partial jax fused closed: an update takes [\d.]+x \[.*\] the time in the first trial"
    )
    assert bool(re.match(pattern, said)) == differ


def test_where_they_differ_times_are_those_of_later_trials_and_pairs_are_of_alike() -> None:
    records = made(first=1.3)
    flat = frame(records)
    later = frame([one for one in records if one.provenance.process.place])  # type: ignore[union-attr] # each has one
    assert hits_and_misses(flat, SECONDS_PER_UPDATE)[0].tolist() == pytest.approx(
        later.seconds_per_update.tolist()
    )
    assert median(flat) == median(later)
    assert median(flat, "updates_to_target").n == 15  # what the seed decides is of all
    (row,) = table.cells(flat)
    assert row.line["success"] == "15/15"
    other = frame(made("torch", scale=2.0))
    assert len(pair(flat, other).ratios) == len(pair(other, flat).ratios) == 10
    assert pair(flat, other).silent == 0
    assert len(pair(flat, other, "updates_to_target").ratios) == 15


def test_one_process_a_trial_has_neither_first_nor_later_ones() -> None:
    flat = frame(made(processes=12, trials=1, first=2.0))
    assert first_over_later(flat) == []
    assert not set_apart(flat).any()
    assert first_over_later(frame([reached(seed, 1.0) for seed in range(9)])) == []


def test_what_a_process_has_once_its_first_trial_has() -> None:
    ours, theirs = frame(made()), frame(made("torch", scale=2.0))
    compiled = pair(ours, theirs, "compile_s")
    assert (compiled.ratios.tolist(), compiled.silent) == ([1.0] * 5, 0)
    assert (median(ours, "compile_s").value, median(ours, "compile_s").n) == (5.0, 5)
    assert len(pair(ours, theirs, TIME_TO_TARGET, "compile").ratios) == 5


def test_a_row_s_interval_is_of_processes_but_where_the_seed_decides() -> None:
    flat = frame(made(processes=4, trials=6))
    assert median(flat).low is None
    assert median(flat, SECONDS_PER_UPDATE).low is None
    updates = median(flat, "updates_to_target")
    alone = median(flat.assign(process="", place=0), "updates_to_target")
    assert updates == alone
    assert updates.low is not None
    (note,) = (line for line in footnotes(flat) if "processes have no interval" in line)
    assert note == (
        "partial jax fused closed: times of 4 processes have no interval, which takes 5"
    )
    assert not any("no interval" in line for line in footnotes(made()))


@pytest.mark.parametrize(
    ("processes", "trials", "note"),
    [(5, 2, "times of 5 processes have no interval, which takes 6"), (6, 2, ""), (5, 3, "")],
)
def test_where_first_trials_are_set_apart_the_note_counts_the_later_ones(
    processes: int, trials: int, note: str
) -> None:
    flat = frame(made(processes=processes, trials=trials, first=1.3))
    (row,) = table.cells(flat)
    assert (median(flat).low is None) == ("[" not in row.line["time to target"]) == bool(note)
    said = [line for line in footnotes(flat) if "no interval" in line]
    assert said == ([f"partial jax fused closed: {note}"] if note else [])


def test_a_verdict_is_of_processes_and_says_how_many_are_too_few() -> None:
    for processes in (4, 5):
        pairs = pair(frame(made(processes=processes)), frame(made("torch", processes, scale=3.0)))
        verdict = judge(pairs)
        assert verdict.processes == processes == len(pairs.by_process)
        assert verdict.has_winner == (processes == 5)
    few = judge(pair(frame(made(processes=4)), frame(made("torch", 4))))
    assert few.too_few == (
        "12 pairs of 4 processes, too few for an interval, which takes 5 processes"
    )
    alone = judge(pair(frame(made(processes=3, trials=1)), frame(made("torch", 3, 1))))
    assert alone.too_few == "3 pairs, too few for an interval, which takes 6"


def test_a_process_that_lost_trials_counts_for_those_it_kept() -> None:
    ours, theirs = made(), made("torch", scale=2.0)
    # A crash ends a trial; the others go on in a new process, and one process keeps but one.
    crashed = changed(ours[4], status="failed", reason="SIGSEGV", time_to_target_s=None)
    split = changed(ours[5], provenance={"process": {"id": "jax new", "place": 0}})
    kept = [*ours[:4], crashed, split, *ours[6:10], *ours[12:]]
    pairs = pair(frame(kept), frame(theirs))
    assert len(pairs.ratios) == 13
    assert pairs.processes is not None
    sizes = np.bincount(pairs.processes)
    assert sorted(sizes[sizes > 0]) == [1, 3, 3, 3, 3]  # the new one is linked by the other side
    verdict = judge(pairs)
    assert (verdict.processes, verdict.bounded, verdict.has_winner) == (5, 1, True)
    row = median(frame([*kept, missed(40, 1e-3)]))
    assert row.n == 14
    assert row.low is not None
