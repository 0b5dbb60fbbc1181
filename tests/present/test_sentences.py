"""Closing sentences: a winner only where pairs say so; against pandas and by hand."""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from echobench.analysis import frame, table
from echobench.analysis.footnotes import of_times
from echobench.analysis.pairs import Decision, judge, median, pair
from echobench.analysis.statistics import (
    FEWEST_PAIRS,
    FEWEST_PROCESSES,
    MANY_PAIRS,
    ratio,
)
from echobench.harness.sharing import Dealing
from echobench.present.page.cells import best
from echobench.present.sentences import verdicts
from echobench.trial.record import Parity, Record
from echobench.trial.trial import Trial
from tests.analysis.test_table import with_backend
from tests.records import RESULTS, TRIAL, changed, missed, reached


def said(records: list[Record], clock: str = "train") -> list[str]:
    return verdicts(table.grouped(records, clock), clock, Path("a folder"))


def seeds(backend: str, factor: float, count: int = 8) -> list[Record]:
    return with_backend(backend, *(reached(s, factor * (1 + s / 10)) for s in range(count)))


def test_the_winner_of_the_committed_records_is_that_of_paired_seeds() -> None:
    flat = frame.load(RESULTS / "open")
    lines = verdicts(table.grouped(flat))
    times = flat[flat.task == "whole"].pivot(
        index="seed", columns="backend", values="time_to_target_s"
    )
    pairs = times.astype(float).tensorflow / times.astype(float).jax
    (line,) = [line for line in lines if " on whole (open) " in line]
    value, low, high = map(float, re.findall(r"[\d.]+(?=x)|(?<=\[)[\d.]+|[\d.]+(?=\])", line))
    assert line.startswith("jax fused reached certified 100% on")
    assert "sooner than tensorflow fused" in line
    assert value == pytest.approx(pairs.median(), rel=0.005)
    assert low <= pairs.median() <= high
    assert pairs.min() * 0.99 <= low
    assert high <= pairs.max() * 1.01


def test_a_winner_is_named_and_by_how_much() -> None:
    (line,) = said([*seeds("slow", 3.1), *seeds("quick", 1.0)])
    assert line == (
        "quick reached certified 100% on partial (closed) 3.1x sooner than slow [3.1, 3.1]"
    )
    (line,) = said([*seeds("slow", 3.1), *seeds("quick", 1.0)], "wall") or [""]
    assert "nothing to compare" in line  # these have no wall times


def test_who_was_not_compared_with_a_reference_never_wins() -> None:
    first, *others = seeds("quick", 1.0)
    unchecked = [changed(first, parity=Parity(passed=None)), *others]
    group, *_ = table.grouped([*seeds("slow", 3.1), *unchecked])
    assert [row.line["backend"] for row in group.order] == ["slow"]
    (line,) = said([*seeds("slow", 3.1), *unchecked])
    assert "nothing to compare" in line
    flats = {name: frame.frame(of) for name, of in (("s", seeds("s", 3.1)), ("q", unchecked))}
    assert best(flats).name == "s"


def test_of_few_processes_the_command_adds_processes() -> None:
    (line,) = said([*dealt("a", 12, 4), *dealt("b", 12, 4)])
    assert line.startswith(
        "a or b on partial (closed): 12 pairs of 3 processes, too few to say; enough with 2 more "
        "seeds, each in a process of its own (trials that are done stay in theirs): echobench run "
    )
    assert "--seeds 14 --forks 14" in line


@pytest.mark.parametrize(("count", "each"), [(12, 4), (6, 3), (4, 2), (5, 5), (16, 4)])
def test_the_seeds_and_processes_of_the_command_are_enough(count: int, each: int) -> None:
    (line,) = said([*dealt("a", count, each), *dealt("b", count, each)])
    words = shlex.split(line.partition("): echobench ")[2])
    asked, forks = (int(words[words.index(option) + 1]) for option in ("--seeds", "--forks"))
    done = [f"a {n // each}" for n in range(count)]
    deal, trial = Dealing(0, asked, forks), Trial(**TRIAL)
    new = [deal.process_of(trial.model_copy(update={"seed": n})) for n in range(count, asked)]
    processes = {*done, *new}
    assert asked >= FEWEST_PAIRS
    assert len(processes) >= FEWEST_PROCESSES


def test_a_cell_alone_is_said_what_gives_its_times_an_interval() -> None:
    alone, advice = said(dealt("a", 6, 3))
    assert alone == "nothing to compare with on partial (closed)"
    assert advice.startswith(
        "partial a fused closed: an interval of its times with 3 more seeds, each in a process of "
        "its own (trials that are done stay in theirs): echobench run "
    )
    assert "--seeds 9 --forks 9" in advice


@pytest.mark.parametrize("clock", ["train", "wall"])
@pytest.mark.parametrize("first", [1.0, 2.0])
@pytest.mark.parametrize("missing", [None, 3])
def test_a_cell_alone_has_an_interval_once_the_command_is_done(
    clock: str, first: float, missing: int | None
) -> None:
    """On each clock, with first trials set apart and without, with a gap among the seeds."""
    count = 8 if first == 1 else 12 if missing and clock == "train" else 10
    done = with_wall(dealt("a", count, 2), first)
    done = [one for one in done if one.seed != missing]
    assert median(frame.frame(done), clock=clock).low is None
    _, advice = said(done, clock)
    asked, forks = options(advice)
    whole = [*done, *dealt_by_a_run("a", done, asked, forks, first)]
    assert median(frame.frame(whole), clock=clock).low is not None
    assert len(said(whole, clock)) == 1
    assert f"with {len(whole) - len(done)} more seed" in advice
    # With a seed less, or two where each process trains two, there would be none.
    each = asked // (forks or asked)
    fewer = dealt_by_a_run("a", done, asked - each, asked // each - 1, first)
    assert median(frame.frame([*done, *fewer]), clock=clock).low is None


@pytest.mark.parametrize("draw", range(12))
def test_two_cells_that_deal_differently_have_a_verdict_once_the_command_is_done(draw: int) -> None:
    rng = np.random.default_rng(draw)
    counts, each = rng.integers(3, 13, 2).tolist(), rng.integers(1, 6, 2).tolist()
    if not draw:
        counts, each = [10, 4], [2, 1]
    rows = [with_wall(dealt(b, counts[n], each[n]), 1.0) for n, b in enumerate("ab")]

    def verdict(seeds: int, forks: int | None) -> Decision:
        a, b = (
            frame.frame([*row, *dealt_by_a_run(row[0].backend, row, seeds, forks, 1.0)])
            for row in rows
        )
        return judge(pair(a, b)).decision

    line, *_ = said([*rows[0], *rows[1]])
    assert ("too few to say" in line) == (verdict(0, None) is Decision.FEW)
    if "too few to say" in line:
        asked, forks = options(line)
        assert verdict(asked, forks) is not Decision.FEW
        assert verdict(asked - 1, forks and asked - 1) is Decision.FEW
        assert draw or (asked, forks) == (9, 9)


def test_seeds_far_beyond_the_others_cost_no_search_of_all_between() -> None:
    far = [changed(one, seed=one.seed + 1_000_000) for one in dealt("a", 12, 4)]
    begun = time.perf_counter()
    _, advice = said(far)
    assert options(advice) == (2, 2)  # seeds 0 and 1
    assert time.perf_counter() - begun < 5  # of a hundredth; all between would take minutes


@pytest.mark.parametrize(
    ("lost", "column", "words"),
    [
        ({"train_s": 0.1, "first_update_s": 0.0, "status": "missed"}, "time to target",
         "times to the target"),
        ({"status": "failed", "reason": "SIGSEGV", "seconds_per_update": None}, "ms/update",
         "times of an update"),
    ],
    ids=["missed early", "crashed"],
)  # fmt: skip # one line a case reads better
def test_the_note_and_the_command_count_the_processes_that_the_interval_does(
    lost: dict[str, Any], column: str, words: str
) -> None:
    """A miss before the median says nothing of it, and a crash nothing of an update."""
    none = {"time_to_target_s": None, "updates_to_target": None}
    done = with_wall(dealt("a", 10, 2), 1.0)
    done = [*(changed(one, **none, **lost) for one in done[:2]), *done[2:]]
    (row,) = table.cells(done)
    without = [name for name in ("time to target", "ms/update") if "[" not in row.line[name]]
    assert without == [column]
    (note,) = of_times(done)
    assert note == f"partial a fused closed: {words} of 4 processes have no interval, which takes 5"
    _, advice = said(done)
    assert "an interval of its times with 1 more seed in a process of its own" in advice
    asked, forks = options(advice)
    whole = [*done, *dealt_by_a_run("a", done, asked, forks, 1.0)]
    (row,) = table.cells(whole)
    assert "[" in row.line["time to target"]
    assert "[" in row.line["ms/update"]
    assert of_times(whole) == []
    assert len(said(whole)) == 1


@pytest.mark.parametrize("both", [True, False])
def test_of_replicates_no_command_is_said(both: bool) -> None:
    """The command trains one seed at a time, so it would make other trials."""

    def replicated(records: list[Record]) -> list[Record]:
        for one in records:
            one.trial = msgspec.structs.replace(one.trial, replicates=8)
        return records

    a, b = (dealt(backend, 8, 8) for backend in "ab")
    lines = said([*replicated(a), *(replicated(b) if both else b)])
    (line, *_) = lines
    if both:
        assert line == "a or b on partial (closed): 8 pairs of 1 process, too few to say"
    assert not any("echobench run" in one for one in lines if "a" in one.split()[:3])


def options(line: str) -> tuple[int, int | None]:
    """Return the seeds and the processes that the command of a line asks for."""
    words = shlex.split(line.partition(": echobench run ")[2])
    forks = int(words[words.index("--forks") + 1]) if "--forks" in words else None
    return int(words[words.index("--seeds") + 1]), forks


def with_wall(records: list[Record], first: float) -> list[Record]:
    """Return records with times of their start and of updates, by the place in the process."""
    rng = np.random.default_rng(0)
    for one in records:
        one.seconds_per_update = (first if one.is_first else 1.0) * float(rng.uniform(1, 1.01))
        one.wall_to_target_s = 9.0 + one.seed if one.is_first else None
    return records


def dealt_by_a_run(
    backend: str, done: list[Record], seeds_: int, forks: int | None, first: float
) -> list[Record]:
    """Return records of the seeds that a run adds: those of one process in turn."""
    deal, trial = Dealing.of(0, seeds_, forks), Trial(**TRIAL)
    there, turns, found = {one.seed for one in done}, Counter[int](), []
    for seed in {*range(seeds_)} - there:
        process = deal.process_of(trial.model_copy(update={"seed": seed}))
        (one,) = with_backend(backend, reached(seed, 1 + seed / 10))
        place = {"id": f"{backend} new {process}", "place": turns[process]}
        found.append(changed(one, provenance={"process": place}))
        turns[process] += 1
    return with_wall(found, first)


def test_on_the_wall_clock_each_process_counts_once() -> None:
    """Ten seeds of five processes have five starts: a sixth process makes an interval."""
    a, b = (dealt(backend, 10, 2) for backend in "ab")
    for one in (*a, *b):
        if one.is_first:
            one.wall_to_target_s = 9.0
    (line,) = said([*a, *b], "wall")
    assert "5 pairs, too few to say; enough with 1 more seed in a process of its own" in line
    assert "--seeds 11 --forks 11" in line


def test_where_first_trials_are_set_apart_a_further_process_trains_two() -> None:
    a, b = (dealt(backend, 10, 2) for backend in "ab")
    for one in a:
        one.seconds_per_update = (2e-3 if one.is_first else 1e-3) * (1 + one.seed / 1000)
    (line,) = said([*a, *b])
    assert "5 pairs, too few to say; enough with 2 more seeds, two in each process" in line
    assert "--seeds 12 --forks 6" in line


def dealt(backend: str, count: int, each: int) -> list[Record]:
    """Return records of so many seeds, of which each process trained `each`."""
    return [
        changed(one, provenance={"process": {"id": f"{backend} {n // each}", "place": n % each}})
        for n, one in enumerate(seeds(backend, 1.0, count))
    ]


def test_no_difference_is_not_a_winner() -> None:
    mixed = with_backend("b", *(reached(s, (1 + s / 10) * (0.8, 1.25)[s % 2]) for s in range(8)))
    (line,) = said([*seeds("a", 1.0), *mixed])
    assert line.startswith("no difference is shown between ")
    assert "on partial (closed) [" in line


def test_with_too_few_pairs_the_command_that_would_do_is_said() -> None:
    (line,) = said([*seeds("a", 1.0, 3), *seeds("b", 9.0, 4)])
    assert line.startswith("a or b on partial (closed): 3 pairs, too few to say; enough with: ")
    words = shlex.split(line.partition("enough with: ")[2])
    assert words[:2] == ["echobench", "run"]
    assert words[-4:] == ["--seeds", "6", "--results", "a folder"]
    assert [words[i + 1] for i, word in enumerate(words) if word == "--backend"] == ["a", "b"]


@pytest.mark.parametrize(("bound", "asked"), [(1e-4, ["0.0001"]), (0.003, []), (0.0, [])])
def test_the_command_asks_for_the_bound_of_the_records(bound: float, asked: list[str]) -> None:
    rows = [*seeds("a", 1.0, 3), *seeds("b", 9.0, 3)]
    for record in rows:
        record.trial = msgspec.structs.replace(record.trial, bound=bound)
    (line,) = said(rows)
    words = shlex.split(line.partition("enough with: ")[2])
    assert [words[i + 1] for i, word in enumerate(words) if word == "--bound"] == asked


def test_the_command_names_the_plugins_that_are_files() -> None:
    rows = [*seeds("a", 1.0, 3), *seeds("b", 9.0, 3)]
    for record in rows:
        plugins = ["whole", "file:my own.py", *(["file:b.py"] if record.backend == "b" else [])]
        record.trial = msgspec.structs.replace(record.trial, plugins=[*plugins, *plugins])
    (line,) = said(rows)
    words = shlex.split(line.partition("enough with: ")[2])
    files = [words[i + 1] for i, word in enumerate(words) if word == "--plugin"]
    assert files == ["my own.py", "b.py"]
    (line,) = said([*seeds("a", 1.0, 3), *seeds("b", 9.0, 3)])
    assert "--plugin" not in line


def test_a_miss_counts_as_its_bound_and_says_so() -> None:
    never = with_backend("never", *(missed(s, 50.0) for s in range(8)))
    (line,) = said([*seeds("a", 1.0), *never])
    assert re.search(r"^a reached certified 100% .* at least [\d.]+x sooner than never \[", line)


def test_who_is_alone_is_compared_with_nobody() -> None:
    assert said(seeds("a", 1.0)) == ["nothing to compare with on partial (closed)"]


def test_many_pairs_have_the_interval_of_their_order_statistics() -> None:
    drawn = np.exp(np.random.default_rng(0).normal(0.1, 0.5, (300, MANY_PAIRS)))
    found = [ratio(pairs) for pairs in drawn]
    holds = np.mean([one.low <= np.exp(0.1) <= one.high for one in found if one.low and one.high])
    assert 0.92 <= holds <= 0.99  # 95 times of 100, at least; 300 draws
    # Just below, where it is resampled, it is nearly as wide.
    fewer = ratio(drawn[0][: MANY_PAIRS - 1])
    assert fewer.low == pytest.approx(found[0].low, rel=0.05)
    assert fewer.high == pytest.approx(found[0].high, rel=0.05)
