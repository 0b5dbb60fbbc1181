"""Draw a task's rows and right answers, and check that they are what the task declares.

All rows that are trained on or evaluated are drawn here, and outside the timed phases. Unchecked, a
token out of range or a position outside the row is a wrong number in some frameworks, and no error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench.core.sequences import MISSING, Integers, Stream
from echobench.core.task import Task
from echobench.errors import DataError


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
    if not isinstance(rows, np.ndarray) or not np.issubdtype(rows.dtype, np.integer):
        kind = rows.dtype if isinstance(rows, np.ndarray) else type(rows).__name__
        raise DataError(
            f"sample gives {kind}; expected an array of int64",
            "return integers: rng.integers(..., dtype=np.int64), or .astype(np.int64)",
        )
    if rows.ndim != 2 or len(rows) != count or not rows.shape[1]:
        raise DataError(
            f"sample(rng, {count}) has shape {list(rows.shape)}; expected [{count}, length]",
            "return one row for each of `count`, all of one length",
        )
    low, high, most = int(rows.min()), int(rows.max()), task.vocabulary - 1
    least = MISSING if task.has_missing else 0
    if low < least or high > most:
        raise DataError(
            f"sample gives tokens from {low} to {high}; expected {least} to {most}",
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
