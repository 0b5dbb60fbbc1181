"""Draw a task's rows and right answers, and check that they are what the task declares.

All rows that are trained on or evaluated are drawn here, and outside the timed phases. Unchecked, a
token out of range or a position outside the row is a wrong number in some frameworks, and no error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench.core.sequences import MISSING, Integers, Stream, stream
from echobench.core.task import Task
from echobench.errors import DataError

COMPARED = 1000
"""Training rows among which a row that is held out may not be."""


def draw(task: Task, rng: Stream, count: int) -> Integers:
    """Draw `count` rows, integers [count, length].

    Raises:
        DataError: `sample` gives something else, a token out of range or another length than
            before; or the framing points outside the row.
    """
    rows = task.sample(rng, count)
    check_rows(task, rows, count)
    if rows.shape[1] != task.row_length:
        raise DataError(
            f"sample gives rows of {rows.shape[1]} tokens; expected {task.row_length}, as in the "
            "first",
            "make all rows equally long: fill shorter ones with MISSING, has_missing = True",
        )
    check_positions(task, task.row_length)
    return rows


def answers(task: Task, rows: Integers) -> Integers:
    """Return the right answers to rows, integers [count, samples, n_out].

    Raises:
        DataError: they are not those of the framing.
    """
    expected = task.expected(rows)
    _check_equal("expected", "answers", expected, rows[:, task.framing.targets])
    return expected


def check_rows(task: Task, rows: Any, count: int) -> None:
    """Raise DataError unless rows are integers [count, length] in the task's range."""
    _check_integers("sample", rows)
    if rows.ndim != 2 or len(rows) != count or not rows.shape[1]:
        raise DataError(
            f"sample(rng, {count}) has shape {list(rows.shape)}; expected [{count}, length]",
            "return one row for each of `count`, all of one length",
        )
    _check_range("sample", rows, task)


def check_test_rows(task: Task, trained: int = COMPARED) -> int:
    """Check the task's test set, also against as many training rows; return the number of rows.

    Raises:
        DataError: it holds no integers [sequences, length] in the task's range, as long as those of
            `sample`; a row without a target, or twice; other rows when asked again; or rows
            that are trained on, though the task says that they are held out.
    """
    rows: Any = task.test_rows
    length = task.row_length
    _check_integers("test_rows", rows)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != length:
        raise DataError(
            f"test_rows has shape {list(rows.shape)}; expected [sequences, {length}], a row at "
            f"least, each of {length} tokens as those of sample",
            "make sample and test_rows give rows of one length",
        )
    _check_range("test_rows", rows, task)
    check_positions(task, length)
    has_target = (rows[:, np.unique(task.framing.targets)] != MISSING).any(axis=1)
    if not has_target.all():
        raise DataError(
            f"test_rows gives rows without a target, such as row {int(has_target.argmin())}; "
            "expected one in each",
            "leave them out: there is nothing to answer",
        )
    keys = row_keys(rows)
    different = {*keys}
    if len(different) < len(keys):
        raise DataError(
            f"test_rows gives {len(keys):,} rows, of which {len(different):,} differ; expected "
            "each once",
            "leave out rows that are there before",
        )
    if not np.array_equal(rows, np.asarray(task.test_rows)):
        raise DataError(
            "test_rows gives other rows when asked again; expected the same",
            "draw them from a generator with a seed, or keep them",
        )
    if not task.is_test_trained_on:
        drawn = {*row_keys(draw(task, stream(0, "train"), trained))}
        if both := len(drawn & different):
            raise DataError(
                f"{both:,} of the {len(keys):,} rows of the test set are among {trained:,} "
                "training rows; expected none",
                "draw other rows where rng.for_training is true, or say is_test_trained_on",
            )
    return len(keys)


def row_keys(rows: Integers) -> list[bytes]:
    """Return what is the same of equal rows, whatever type of integers they have."""
    return [row.tobytes() for row in np.ascontiguousarray(rows, np.int64)]


def _check_integers(source: str, rows: Any) -> None:
    if not isinstance(rows, np.ndarray) or not np.issubdtype(rows.dtype, np.integer):
        kind = rows.dtype if isinstance(rows, np.ndarray) else type(rows).__name__
        raise DataError(
            f"{source} gives {kind}; expected an array of int64",
            "return integers: rng.integers(..., dtype=np.int64), or .astype(np.int64)",
        )


def _check_range(source: str, rows: Integers, task: Task) -> None:
    low, high, most = int(rows.min()), int(rows.max()), task.vocabulary - 1
    least = MISSING if task.has_missing else 0
    if low < least or high > most:
        raise DataError(
            f"{source} gives tokens from {low} to {high}; expected {least} to {most}",
            "draw 0..symbols-1; override `vocabulary` where there are more tokens than symbols, "
            "and set has_missing = True where rows hold MISSING (-1)",
        )


def check_positions(task: Task, length: int) -> None:
    """Raise DataError unless the framing's positions lie in a row of `length` tokens."""
    for name in ("inputs", "targets"):
        positions = getattr(task.framing, name)
        low, high = int(positions.min()), int(positions.max())
        if low < 0 or high >= length:
            raise DataError(
                f"framing.{name} points to positions {low} to {high} of a row of {length}; "
                f"expected 0 to {length - 1}",
                "make framing and sample agree on what is where in a row",
            )


def check_supervised(task: Task, row: Integers) -> None:
    """Raise DataError unless `supervised` gives the inputs and answers of the framing."""
    x, y = task.supervised(row)
    _check_equal("supervised", "inputs", x, row[task.framing.inputs])
    _check_equal("supervised", "answers", y, row[task.framing.targets])


def _check_equal(method: str, what: str, given: Any, framed: Integers) -> None:
    advice = f"leave {method} out, or make it agree with the framing's positions"
    shape = list(np.shape(given)) if isinstance(given, np.ndarray) else type(given).__name__
    if shape != list(framed.shape):
        raise DataError(
            f"{method} gives {what} of shape {shape}; expected {list(framed.shape)}"
            if isinstance(shape, list)
            else f"{method} gives {shape}; expected an array of shape {list(framed.shape)}",
            advice,
        )
    other = int((given != framed).sum())
    if other:
        raise DataError(
            f"{method} gives other {what} than the framing: {other:,} of {framed.size:,} tokens; "
            "expected the same",
            advice,
        )
