"""Bends and crossings by hand-made numbers; figures by the text that they hold."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.analysis.scaling import Crossing, Run, bend, crossings, curves, measured, remarks
from echobench.errors import UsageError
from echobench.present.figures.sizes import MIN_DISTANCE, separated, write_sizes
from echobench.trial.record import Parity
from tests.records import record

SIZES = (1, 2, 4, 8, 16)
FLAT, STEEP = [1.0] * 5, [1.0, 2.0, 4.0, 8.0, 16.0]


def line(*values: float) -> dict[int, dict[tuple[int, int], Run]]:
    """Return a line of one trial at each size."""
    return {size: {(0, 0): Run(value)} for size, value in zip(SIZES, values, strict=False)}


def test_who_overtakes_between_which_sizes() -> None:
    lines = {"eager": line(3, 3, 3, 3, 3), "compiled": line(1, 1, 2, 4, 8)}
    assert crossings(lines) == [Crossing("eager", "compiled", 4, 8)]
    assert crossings({"eager": line(3, 3), "compiled": line(1, 1)}) == []


def test_a_lead_that_changes_twice() -> None:
    lines = {"a": line(1, 3, 1), "b": line(2, 2, 2)}
    assert crossings(lines) == [Crossing("b", "a", 1, 2), Crossing("a", "b", 2, 4)]


def test_nobody_overtakes_within_the_noise() -> None:
    lines = {"a": line(1.0, 1.0, 1.0, 1.0), "b": line(2.0, 1.04, 0.97, 0.5)}
    assert crossings(lines) == [Crossing("b", "a", 1, 8)]
    assert crossings({"a": line(1.0, 1.0), "b": line(1.02, 0.98)}) == []


def test_what_one_lacks_is_not_compared() -> None:
    a, b = line(1, 1, 1, 9), line(2, 2, 2, 2)
    assert crossings({"a": {s: a[s] for s in (1, 2, 8)}, "b": {s: b[s] for s in (1, 4, 8)}}) == [
        Crossing("b", "a", 1, 8)
    ]
    assert crossings({"a": {1: a[1]}, "b": {2: b[2]}}) == []


def several(*sizes: list[float]) -> dict[int, dict[tuple[int, int], Run]]:
    """Return a line of several trials at each size."""
    return {
        size: {(seed, 0): Run(value) for seed, value in enumerate(values)}
        for size, values in zip(SIZES, sizes, strict=False)
    }


def test_a_lead_that_pairs_do_not_show_overtakes_nobody() -> None:
    a = several([1.0] * 6, [2.0] * 6)
    # By its median b is the faster one at 2, in four of six trials: that may be chance.
    unsure = several([2.0] * 6, [1.0, 1.1, 1.2, 1.3, 2.4, 2.6])
    assert crossings({"a": a, "b": unsure}) == []
    sure = several([2.0] * 6, [1.0, 1.1, 1.2, 1.3, 1.4, 1.6])
    assert crossings({"a": a, "b": sure}) == [Crossing("b", "a", 1, 2)]
    assert remarks({"units": {"a": a, "b": sure}})[-1].startswith("units: b overtakes a")


def test_seeds_of_few_processes_show_no_lead() -> None:
    """Six pairs of two processes are two observations: method.md, processes and their seeds."""
    b = several([2.0] * 6, [1.0, 1.1, 1.2, 1.3, 1.4, 1.6])
    of_two = {
        size: {run: Run(found.seconds, f"{run[0] % 2}") for run, found in runs.items()}
        for size, runs in b.items()
    }
    a = several([1.0] * 6, [2.0] * 6)
    assert crossings({"a": a, "b": b}) == [Crossing("b", "a", 1, 2)]
    assert crossings({"a": a, "b": of_two}) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FLAT, None),
        (STEEP, 1),
        ([1.0, 1.1, 1.2, 2.4, 4.8], 4),
        ([1.0, 2.0, 2.0, 4.0, 8.0], 4),  # from there on, all the way
        ([1.0, 2.0, 4.0, 8.0, 8.0], None),
        ([1.0], None),
    ],
)
def test_where_a_line_bends(values: list[float], expected: int | None) -> None:
    assert bend(dict(zip(SIZES, values, strict=False))) == expected


def test_from_records_to_remarks() -> None:
    wrong = Parity(passed=False, reference="jax fit", tolerance=1e-5, largest_difference=0.1)
    told = [
        ({"units": 1, "samples": 1}, record(backend="jax", seconds_per_update=1.0)),
        ({"units": 1, "samples": 1}, record(backend="flax", seconds_per_update=2.0)),
        ({"units": 4}, record(backend="jax", seconds_per_update=4.0)),
        ({"units": 4}, record(backend="flax", seconds_per_update=2.1)),
        ({"units": 1024}, record(backend="jax", status="timeout")),
        ({"units": 1024}, record(backend="flax", seconds_per_update=1.0, parity=wrong)),
        ({"samples": 1024}, record(backend="jax", seconds_per_update=1.2)),
    ]
    found = measured(told)
    assert curves(found) == {
        "units": {"flax": {1: 2.0, 4: 2.1}, "jax": {1: 1.0, 4: 4.0}},
        "samples": {"flax": {1: 2.0}, "jax": {1: 1.0, 1024: 1.2}},
    }
    assert remarks(found) == [
        "units: the time of an update grows: flax not up to 4, jax from 1 on",
        "units: flax overtakes jax between 1 and 4",
        "samples: the time of an update grows: jax not up to 1,024",
        "not sure: medians of as few as one trial at a size, and 6 make an interval",
    ]


def test_other_machines_and_engines_have_lines_of_their_own() -> None:
    fit = record(engine="fit", seconds_per_update=3.0)
    fused = record(seconds_per_update=1.0)
    again = record(1, seconds_per_update=2.0)
    assert curves(measured([({"units": 1}, one) for one in (fit, fused, again)])) == {
        "units": {"jax fit": {1: 3.0}, "jax fused": {1: 1.5}}
    }


def at(**sizes: float) -> dict[int, dict[tuple[int, int], Run]]:
    return {int(name[1:]): {(0, 0): Run(value)} for name, value in sizes.items()}


DRAWN = {
    "units": {
        "jax": at(_20=0.001, _2048=0.9),
        "torch-native": at(_20=0.004, _2048=0.9),
        "flax": at(_20=0.001),
    },
    "samples an update": {"jax": at(_1=0.001, _4096=0.1)},
}


def test_a_figure_names_backends_axes_and_units(tmp_path: Path) -> None:
    path, again = tmp_path / "new" / "figure.svg", tmp_path / "again.svg"
    for one in (path, again):
        write_sizes(one, DRAWN, {"units": 64, "samples an update": 16})
    svg = path.read_text()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"jax", "torch-native", "flax", "units", "samples an update"} <= set(texts)
    assert {"time of an update (ms)", "2,048", "4,096", "at 16 samples an update"} <= set(texts)
    assert texts.count("torch-native") == 1  # beside the one panel where it was measured
    assert svg == again.read_text()  # so it can be committed


def test_a_figure_of_another_form(tmp_path: Path) -> None:
    for form, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        path = tmp_path / f"figure.{form}"
        write_sizes(path, DRAWN, {})
        assert path.read_bytes().startswith(start)


def test_a_figure_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--output .*: expected a file that can be written"):
        write_sizes(tmp_path / "file" / "figure.svg", DRAWN, {})


@given(st.lists(st.floats(0, 1), max_size=6).map(sorted))
def test_names_keep_apart(heights: list[float]) -> None:
    placed = separated(heights)
    assert len(placed) == len(heights)
    assert all(b - a >= MIN_DISTANCE - 1e-9 for a, b in pairwise(placed))
    if all(b - a >= MIN_DISTANCE for a, b in pairwise(heights)):
        assert placed == pytest.approx(heights)
