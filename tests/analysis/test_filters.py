"""Filters: against pandas' own, and one line for what is not there."""

from __future__ import annotations

import pandas as pd
import pytest

from echobench.analysis import frame
from echobench.analysis.frame import only
from echobench.errors import UsageError
from tests.records import RESULTS, record


def test_rows_are_those_that_pandas_finds() -> None:
    flat = frame.load(RESULTS / "matrix")
    found = only(flat, {"task": ["partial"], "backend": ["jax", "torch"], "seed": ["0", "2"]})
    expected = flat.query("task == 'partial' and backend in ['jax', 'torch'] and seed in [0, 2]")
    pd.testing.assert_frame_equal(found, expected)
    assert 0 < len(found) < len(flat)
    pd.testing.assert_frame_equal(only(flat, {"task": []}), flat)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"task": ["parital"]}, "--task: no record of 'parital'; did you mean 'partial'?"),
        ({"status": ["lost"]}, "--status: no record of 'lost'; there are reached, timeout"),
        ({"seed": ["77"]}, "--seed: no record of '77'; there are 0, 1, 2"),
    ],
)
def test_what_is_not_there_is_one_line(wanted: dict[str, list[str]], expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        only(frame.load(RESULTS / "matrix"), wanted)
    assert str(raised.value) == expected


def test_many_are_not_listed_and_no_escape_gets_through() -> None:
    seeds = frame.frame([record(seed) for seed in range(30)])
    with pytest.raises(UsageError, match=r"there are 30 from 0 to 29$"):
        only(seeds, {"seed": ["seven"]})
    with pytest.raises(UsageError, match=r"there are \\x1b\[2J$"):
        only(frame.frame([record(task="\x1b[2J")]), {"task": ["quite another"]})
