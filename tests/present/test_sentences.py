"""Closing sentences: a winner only where pairs say so; against pandas and by hand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import numpy as np
import pytest

from echobench.analysis import frame, table
from echobench.analysis.statistics import MANY_PAIRS, ratio
from echobench.present.page.cells import best
from echobench.present.sentences import verdicts
from echobench.trial.record import Parity, Record
from tests.analysis.test_table import with_backend
from tests.records import RESULTS, changed, missed, reached


def said(records: list[Record], clock: str = "train") -> list[str]:
    return verdicts(table.grouped(records, clock), clock, Path("a folder"))


def seeds(backend: str, factor: float, count: int = 8) -> list[Record]:
    return with_backend(backend, *(reached(s, factor * (1 + s / 10)) for s in range(count)))


def test_the_winner_of_the_committed_records_is_that_of_paired_seeds() -> None:
    flat = frame.load(RESULTS / "open")
    lines = verdicts(table.grouped(flat))
    for task, first, second in (("partial", "tensorflow", "jax"), ("whole", "jax", "tensorflow")):
        times = flat[flat.task == task].pivot(
            index="seed", columns="backend", values="time_to_target_s"
        )
        times = times.astype(float)
        pairs = times[second] / times[first]
        (line,) = [line for line in lines if f" on {task} (open) " in line]
        value, low, high = map(float, re.findall(r"[\d.]+(?=x)|(?<=\[)[\d.]+|[\d.]+(?=\])", line))
        assert line.startswith(f"{first} fused reached certified 100% on")
        assert f"sooner than {second} fused" in line
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
