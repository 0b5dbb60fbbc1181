"""Bends and crossings by hand-made numbers; figures by the text that they hold."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.analysis.scaling import Crossing, bend, crossings, curves, remarks
from echobench.errors import UsageError
from echobench.present.figures.sizes import MIN_DISTANCE, separated, write_sizes
from echobench.trial.record import Parity
from tests.records import record

SIZES = (1, 2, 4, 8, 16)
FLAT, STEEP = [1.0] * 5, [1.0, 2.0, 4.0, 8.0, 16.0]


def line(*values: float) -> dict[int, float]:
    return dict(zip(SIZES, values, strict=False))


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
    assert crossings({"a": {1: 1.0, 2: 1.0, 8: 9.0}, "b": {1: 2.0, 4: 2.0, 8: 2.0}}) == [
        Crossing("b", "a", 1, 8)
    ]
    assert crossings({"a": {1: 1.0}, "b": {2: 2.0}}) == []


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
    assert bend(line(*values)) == expected


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
    drawn = curves(told)
    assert drawn == {
        "units": {"flax": {1: 2.0, 4: 2.1}, "jax": {1: 1.0, 4: 4.0}},
        "samples": {"flax": {1: 2.0}, "jax": {1: 1.0, 1024: 1.2}},
    }
    assert remarks(drawn) == [
        "units: the time of an update grows: flax not up to 4, jax from 1 on",
        "units: flax overtakes jax between 1 and 4",
        "samples: the time of an update grows: jax not up to 1,024",
    ]


def test_other_machines_and_engines_have_lines_of_their_own() -> None:
    fit = record(engine="fit", seconds_per_update=3.0)
    fused = record(seconds_per_update=1.0)
    again = record(seconds_per_update=2.0)
    assert curves([({"units": 1}, one) for one in (fit, fused, again)]) == {
        "units": {"jax fit": {1: 3.0}, "jax fused": {1: 1.5}}
    }


DRAWN = {
    "units": {
        "jax": {20: 0.001, 2048: 0.9},
        "torch-native": {20: 0.004, 2048: 0.9},
        "flax": {20: 0.001},
    },
    "samples an update": {"jax": {1: 0.001, 4096: 0.1}},
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
