"""The cells that are compared where several of a side go by the same names."""

from __future__ import annotations

from typing import Any

import pytest

from echobench.analysis.counterparts import counterparts
from echobench.trial.cell import Cell
from tests.records import record


def cell(**fields: Any) -> Cell:
    return record(trial=fields).cell


def numbers(ours: list[Cell], theirs: list[Cell]) -> tuple[list[int], list[int], list[str]]:
    """Return the numbers of the cells of both sides, which ran one after the other."""
    sides = (
        [("group", one, f"2026-01-0{n}") for n, one in enumerate(side)] for side in (ours, theirs)
    )
    found = counterparts(*sides)
    first, second = (
        [places["group", one].number for one in side]
        for places, side in zip(found.places, (ours, theirs), strict=True)
    )
    return first, second, found.cautions


SHORT, LONG = cell(max_epochs=10), cell(max_epochs=20)
OLD, NEW, NEWEST = (cell(versions={"a": version}) for version in "123")


def test_one_cell_of_each_side_is_compared_however_it_differs() -> None:
    assert numbers([OLD], [NEW]) == ([0], [0], [])


@pytest.mark.parametrize("theirs", [[SHORT, LONG], [LONG, SHORT]])
def test_the_equal_cell_is_compared_and_not_the_later(theirs: list[Cell]) -> None:
    _, found, cautions = numbers([SHORT], theirs)
    assert (found[theirs.index(SHORT)], found[theirs.index(LONG)]) == (0, 1)
    assert cautions == []


def test_several_cells_are_each_compared_with_their_own() -> None:
    assert numbers([SHORT, LONG], [LONG, SHORT]) == ([0, 1], [1, 0], [])


def test_a_cell_without_its_own_stands_by_itself() -> None:
    ours, theirs, _ = numbers([SHORT, LONG], [LONG])
    assert (ours, theirs) == ([0, 1], [1])


def test_of_cells_that_differ_as_little_the_last_is_compared_and_that_is_said() -> None:
    first, second, (caution,) = numbers([OLD], [NEW, NEWEST])
    assert (first, second) == ([0], [1, 0])
    assert "among themselves in version of a: the one that ran last is compared" in caution


def test_a_smoke_run_is_compared_with_no_real_run() -> None:
    ours, theirs, _ = numbers([cell()], [cell(quick=True)])
    assert (ours, theirs) == ([0], [1])


def test_cells_of_one_side_are_labelled_in_the_words_of_the_table() -> None:
    edited = [cell(task_source=digit * 12) for digit in "ab"]
    ours = [("group", one, "2026") for one in edited]
    places = counterparts(ours, [("another", one, "2026") for one in (SHORT, LONG)]).places
    assert [places[0]["group", one].label for one in edited] == [
        "task's source files aaaa…",
        "task's source files bbbb…",
    ]
    assert places[1]["another", SHORT].label == "epochs allowed (--max-epochs) 10"
