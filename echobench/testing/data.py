"""The checks of a task's data, which need NumPy alone."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from echobench.core import target
from echobench.core.experiment import carries
from echobench.core.rows import (
    check_positions,
    check_rows,
    check_supervised,
    check_test_rows,
    row_keys,
)
from echobench.core.sequences import MISSING, Integers, stream
from echobench.core.task import Recipe, Task
from echobench.testing.checks import CautionError, FaultError

DRAWN = 1000
"""Rows drawn by a check."""
TRAINED, EVALUATED = 10_000, 1000
"""Rows drawn from the training stream, and from each evaluation stream."""
EVALUATIONS = ("screen", "certify", "measure")
PARTS = (1, 7, 2)
"""Rows of each draw where they are drawn in parts."""
ALIKE = 100
"""Rows of two streams that are equal by chance only if there is one row."""


def check_data(task: Task) -> str:
    """Check shape, type and range of the drawn rows."""
    rows: Any = task.sample(stream(0, "train"), DRAWN)
    if isinstance(rows, np.ndarray) and rows.dtype != np.int64:
        raise FaultError(
            f"sample gives {rows.dtype}; expected an array of int64",
            "return integers: rng.integers(..., dtype=np.int64), or .astype(np.int64)",
        )
    check_rows(task, rows, DRAWN)
    for count in PARTS:
        part = task.sample(stream(0, "screen"), count)
        check_rows(task, part, count)
        if part.shape[1] != rows.shape[1]:
            raise FaultError(
                f"sample gives rows of {rows.shape[1]} tokens, and then of {part.shape[1]}",
                "make all rows equally long: fill shorter ones with MISSING, has_missing = True",
            )
    low, high = int(rows.min()), int(rows.max())
    return f"int64 [count, {rows.shape[1]}], tokens {low} to {high} of {task.vocabulary}"


def check_framing(task: Task, *, has_rows: bool) -> str:
    """Check that the framing is one; and that its positions lie within a row, if there are rows."""
    try:
        framing = task.framing
    except ValueError as error:
        raise FaultError(str(error), "give integers of shape [samples, n]") from error
    if has_rows:
        check_positions(task, task.row_length)
    (samples, n_in), n_out = framing.inputs.shape, framing.targets.shape[1]
    return f"{samples} samples, each of {n_in} input tokens and {n_out} target tokens"


def check_answers(task: Task) -> str:
    """Check that `supervised`, `expected` and the framing agree."""
    rows = task.sample(stream(0, "train"), 20)
    framed = rows[:, task.framing.targets]
    expected = task.expected(rows)
    if np.shape(expected) != framed.shape:
        raise FaultError(
            f"expected gives answers of shape {list(np.shape(expected))}; expected "
            f"{list(framed.shape)}",
            "leave expected out, or make it agree with the framing's positions",
        )
    if not np.array_equal(expected, framed):
        raise FaultError(
            "expected does not give the answers of the framing",
            "leave expected and supervised out, or make them agree with the framing's positions",
        )
    for row in rows:
        check_supervised(task, row)
    return "expected, supervised and framing agree"


def check_chunks(task: Task) -> str:
    """Check that drawing rows in parts gives the same rows as drawing them at once."""
    at_once = task.sample(stream(0, "train"), sum(PARTS))
    rng = stream(0, "train")
    in_parts = np.concatenate([task.sample(rng, count) for count in PARTS])
    if not np.array_equal(at_once, in_parts):
        raise FaultError(
            "drawing 1, 7 and 2 rows does not give the same rows as drawing 10",
            "make a single draw of shape [count, numbers of a row], and compute all from it",
        )
    return "drawing in parts gives the same rows as drawing at once"


def _apart(task: Task) -> str:
    """Check the test set, of which no row is trained on, unless the task says that all are."""
    count = check_test_rows(task, TRAINED)
    if task.is_test_trained_on:
        return "the test set is trained on, as the task says: its records say so too"
    return f"no row of the test set, {count:,}, is among {TRAINED:,} training rows"


def check_fresh_rows(task: Task, recipe: Recipe | None) -> str:
    """Check that `sample` draws, and say how many evaluation rows are also trained on.

    The closed recipe, if there is one, says how many rows are trained on.
    """
    if task.test_rows is not None:
        return _apart(task)
    streams = [("train", 0), ("train", 1), *((name, 0) for name in EVALUATIONS)]
    heads = {place: task.sample(stream(place[1], place[0]), ALIKE) for place in streams}
    for (one, ours), (other, theirs) in itertools.combinations(heads.items(), 2):
        if np.array_equal(ours, theirs):
            names = [f"{name!r} of seed {seed}" for name, seed in (one, other)]
            raise FaultError(
                f"the streams {names[0]} and {names[1]} give the same {ALIKE} rows",
                "draw everything from the `rng` given to sample, and not always the same",
            )
    rows = task.sample(stream(0, "train"), TRAINED)
    counts = _counted(rows)
    evaluated = [
        row for name in EVALUATIONS for row in row_keys(task.sample(stream(0, name), EVALUATED))
    ]
    both = sum(row in counts for row in evaluated)
    size, is_exact = number_of_rows(counts.values())
    if not both:
        known = f"all {size:,} different ones" if is_exact else f"{len(counts):,} of them different"
        return f"no evaluation row is among {TRAINED:,} training rows, {known}"
    known = f"{size:,}" if is_exact else f"about {float(f'{size:.2g}'):,.0f}"
    found = (
        f"the task is small: of {known} different rows, {both:,} of {len(evaluated):,} evaluation "
        f"rows are among {TRAINED:,} training rows"
    )
    if recipe is not None:
        drawn = recipe.epochs * recipe.sequences
        share = 1.0 if is_exact and drawn >= TRAINED else -math.expm1(-drawn / size)
        found += f"; about {share:.0%} are among the {drawn:,} that the closed recipe trains on"
    raise CautionError(
        found,
        "a network that knows rows by heart may be certified: enlarge the task, or draw other "
        "rows where rng.for_training is true",
    )


def number_of_rows(counts: Iterable[int]) -> tuple[int, bool]:
    """Return how many different rows there are, and whether that is no estimate.

    If each row that was drawn was drawn again, these are all. Else it is the estimate of Chao 1984
    from the rows drawn once and twice, which for rows that are not equally likely is a lower bound.

    Args:
        counts: how often each row was drawn.
    """
    times = Counter(counts)
    once, twice, different = times[1], times[2], sum(times.values())
    if not once:
        return different, True
    unseen = once**2 / (2 * twice) if twice else once * (once - 1) / 2
    return round(different + unseen), False


def check_oracle(task: Task, recipe: Recipe | None) -> str:
    """Check that the right answers score 100%, and that they follow from the input."""
    rows = task.sample(stream(0, "screen"), DRAWN)
    has_target = task.expected(rows) != MISSING
    if not has_target.any(axis=(1, 2)).all():
        raise FaultError(
            "there are rows without a target",
            "every row needs a target that is not MISSING",
        )
    right = target.score(task, task.expected, stream(0, "screen"), DRAWN)
    if right.wrong_tokens:
        raise FaultError(
            f"the right answers score {right.accuracy:.2%}",
            "expected(rows) must give the same answers each time it is called",
        )
    wrong = target.score(task, lambda rows: task.expected(rows) + 1, stream(0, "screen"), DRAWN)
    again, other = repeated_inputs(task, recipe)
    if other:
        raise CautionError(
            f"the answers do not follow from the inputs: of {again:,} inputs that were drawn again "
            f"{other:,} have another answer",
            "no network can be certified: let the inputs hold all that the answers depend on",
        )
    scores = f"the right answers score {right.accuracy:.0%}, wrong ones {wrong.accuracy:.0%}"
    return f"{scores}; {again:,} inputs drawn again have the same answers" if again else scores


def repeated_inputs(task: Task, recipe: Recipe | None) -> tuple[int, int]:
    """Return how many inputs were drawn before, and how many of them with another answer.

    The input is the sample's own; where the recipe carries the state, or there is none, also that
    of all samples before it.
    """
    rows = task.sample(stream(0, "measure"), TRAINED)
    framing = task.framing
    carried = recipe is None or carries(task, recipe)
    again = other = 0
    for sample in {0, framing.samples // 2, framing.samples - 1}:
        shown = framing.inputs[: sample + 1] if carried else framing.inputs[sample]
        inputs, answers = rows[:, np.unique(shown)], rows[:, framing.targets[sample]]
        _, first, group = np.unique(inputs, axis=0, return_index=True, return_inverse=True)
        earlier = first[group.ravel()]
        again += int((earlier != np.arange(len(rows))).sum())
        other += int((answers != answers[earlier]).any(axis=1).sum())
    return again, other


def _counted(rows: Integers) -> Counter[bytes]:
    """Return how often each row was drawn."""
    return Counter(row_keys(rows))
