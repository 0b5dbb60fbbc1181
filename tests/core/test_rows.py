"""Rows and answers that are not what the task declares are refused where they are drawn."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
import pytest

from echobench.core.rows import answers, check_supervised, check_test_rows, draw
from echobench.core.sequences import MISSING, Framing, Integers, stream
from echobench.core.task import EchoTask, Recipe
from echobench.core.training import fresh_rows
from echobench.errors import DataError

RECIPE = Recipe(units=1, batch=2, sequences=3, epochs=9, evaluate_every=3)


class Four(EchoTask):
    """Echo three of four, with rows that a test may spoil."""

    name: ClassVar[str] = "four"
    recipes: ClassVar[dict[str, Recipe]] = {"closed": RECIPE}
    length: int = 4
    n_in: int = 3
    spoilt: Any = None

    def sample(self, rng: Any, count: int) -> Any:
        """Draw rows as the tutorial's task does, and spoil them."""
        rows = super().sample(rng, count)
        return rows if self.spoilt is None else self.spoilt(rows)


def spoilt(change: Any, **fields: Any) -> Any:
    """Return a task whose rows are spoilt, with other members in its class."""
    return type("Spoilt", (Four,), {"__annotations__": {}, **fields})(spoilt=change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows / 2, "sample gives float64; expected an array of int64"),
        (lambda rows: rows.tolist(), "sample gives list; expected an array of int64"),
        (lambda rows: rows > 50, "sample gives bool; expected"),
        (lambda rows: rows.T, "sample(rng, 6) has shape [4, 6]; expected [6, length]"),
        (lambda rows: rows[:-1], "has shape [5, 4]; expected [6, length]"),
        (lambda rows: rows[:, :0], "has shape [6, 0]; expected [6, length]"),
        (lambda rows: rows.ravel(), "has shape [24]; expected [6, length]"),
        (lambda rows: rows + 100, "expected 0 to 99"),
        (lambda rows: rows - 100, "expected 0 to 99"),
        (lambda rows: rows[:, :3], "framing.inputs points to positions 0 to 3 of a row of 3"),
        (
            lambda rows: np.repeat(rows, 1 + (len(rows) > 1), axis=1),
            "sample gives rows of 8 tokens; expected 4, as in the first",
        ),
    ],
)
def test_rows_of_another_kind_are_refused_and_named(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as refused:
        fresh_rows(spoilt(change), RECIPE, stream(0, "train"), 2)
    assert refused.value.advice
    assert "\n" not in str(refused.value)


def test_missing_is_a_token_only_of_a_task_that_says_so() -> None:
    def change(rows: Integers) -> Integers:
        return np.where(rows < 50, MISSING, rows)

    with pytest.raises(DataError, match=r"tokens from -1 to .*; expected 0 to 99"):
        draw(spoilt(change), stream(0, "train"), 6)
    rows = draw(spoilt(change, has_missing=True), stream(0, "train"), 6)
    assert (rows == MISSING).any()


def test_rows_are_those_of_sample_and_any_integers_will_do() -> None:
    rows = Four().sample(stream(3, "train"), 6)
    np.testing.assert_array_equal(draw(Four(), stream(3, "train"), 6), rows)
    short = draw(spoilt(lambda rows: rows.astype(np.int16)), stream(3, "train"), 6)
    np.testing.assert_array_equal(short, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[..., :2], "of shape [5, 2, 2]; expected [5, 2, 3]"),
        (lambda y: y.tolist(), "gives list; expected an array of shape [5, 2, 3]"),
        (lambda y: y + (y == y.max()), "2 of 30 tokens; expected the same"),
    ],
)
def test_answers_that_are_not_the_framings_are_refused(change: Any, message: str) -> None:
    def expected(self: Four, rows: Integers) -> Any:
        return change(Four.expected(self, rows))

    task = spoilt(None, expected=expected)
    with pytest.raises(DataError, match=re.escape(message)):
        answers(task, draw(task, stream(0, "screen"), 5))


def test_what_supervised_gives_is_the_framings_too() -> None:
    def supervised(self: Four, row: Integers) -> Any:
        x, y = Four.supervised(self, row)
        return x[:, ::-1], y

    task = spoilt(None, supervised=supervised)
    row = draw(task, stream(0, "train"), 1)[0]
    check_supervised(Four(), row)
    with pytest.raises(DataError, match="supervised gives other inputs than the framing: 4 of 6"):
        check_supervised(task, row)


def test_a_framing_is_two_tables_of_positions_lists_too() -> None:
    framing = Framing([[0, 1], [1, 2]], [[0], [1]])  # type: ignore[arg-type] # lists
    assert framing.inputs.tolist() == [[0, 1], [1, 2]]
    for inputs, targets, message in (
        ([], [], "framing.inputs: expected integers of shape"),
        ([[0, 1]], [[]], "framing.targets: expected integers"),
        ([0, 1], [0, 1], "received int64 of shape [2]"),
        ([[0.0]], [[0]], "received float64 of shape [1, 1]"),
        ([[0], [1]], [[0]], "of as many samples; received 2 and 1"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            Framing(np.array(inputs), np.array(targets))


ALL = np.array([[a, b, a, b] for a in range(8) for b in range(8)], np.int64)
CALLS = np.random.default_rng(0)


class Held(Four):
    """Tokens below 8, evaluated on a test set that a test makes."""

    has_missing: ClassVar[bool] = True
    symbols: int = 8
    tested: Any = None
    is_test_trained_on: ClassVar[bool] = False

    @property
    def framing(self) -> Framing:
        return Framing(np.array([[0, 1]]), np.array([[2, 3]]))

    def sample(self, rng: Any, count: int) -> Any:
        """Draw rows of which the first two tokens differ."""
        rows = ALL[ALL[:, 0] != ALL[:, 1]]
        return rows[rng.integers(0, len(rows), size=count)]

    @property
    def test_rows(self) -> Any:
        return self.tested(ALL[ALL[:, 0] == ALL[:, 1]])


def unanswered(rows: Integers) -> Integers:
    rows[3, 2:] = MISSING
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.tolist(), "test_rows gives list; expected an array of int64"),
        (lambda rows: rows.astype(float), "test_rows gives float64"),
        (lambda rows: rows[0], "test_rows has shape [4]; expected [sequences, 4]"),
        (lambda rows: rows[:0], "test_rows has shape [0, 4]"),
        (lambda rows: np.concatenate([rows, rows], 1), "test_rows has shape [8, 8]"),
        (lambda rows: rows + 50, "test_rows gives tokens from 50 to 57; expected -1 to 7"),
        (unanswered, "rows without a target, such as row 3"),
        (lambda rows: np.repeat(rows, 5, 0), "40 rows, of which 8 differ"),
        (lambda rows: rows[CALLS.permutation(8)], "other rows when asked again"),
        (lambda _: ALL, "56 of the 64 rows of the test set are among 1,000 training rows"),
        (lambda _: ALL.astype(np.int32), "56 of the 64 rows of the test set are among"),
    ],
)
def test_a_test_set_of_which_no_certificate_can_speak_is_refused(change: Any, message: str) -> None:
    assert check_test_rows(Held(tested=lambda rows: rows)) == 8
    with pytest.raises(DataError, match=re.escape(message)) as refused:
        check_test_rows(Held(tested=change))
    assert refused.value.advice


def test_a_test_set_may_be_trained_on_where_the_task_says_so() -> None:
    class Said(Held):
        is_test_trained_on: ClassVar[bool] = True

    assert check_test_rows(Said(tested=lambda _: ALL)) == 64
