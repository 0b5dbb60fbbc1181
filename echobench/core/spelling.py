"""Read a sequence that a person types, and frame it as a sample of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from echobench.core.sequences import MISSING, Integers, stream
from echobench.core.task import Task
from echobench.errors import UsageError

Token: TypeAlias = "int | str | None"
"""A token as `Task.spell` returns it; None if it is missing."""
DOT = "."
"""How a missing token is typed and shown."""
MOST_DRAWN, MOST_TOKENS = 200, 2_000_000
"""Bounds of what a typed sequence is compared with: drawn rows, and tokens of their samples."""
LONGEST_EXAMPLE = 40


@dataclass(frozen=True)
class TypedSample:
    """One typed sample.

    Attributes:
        tokens: the network's input, integers [n_in]; `MISSING` for each `.`.
        expected: the right answers, integers [n_out]; `MISSING` where nothing is to be
            answered.
        known: whether `expected` holds the right answer, [n_out]; false where the task draws
            an answer that is not among the inputs.
    """

    tokens: Integers
    expected: Integers
    known: Integers


def token_names(task: Task) -> list[str]:
    """Return how each token 0..vocabulary-1 is typed: as the task spells it.

    If the task spells two tokens alike, all are typed as their numbers.
    """
    spelled = [str(task.spell(token)) for token in range(task.vocabulary)]
    alike = len(set(spelled)) < len(spelled)
    return [*map(str, range(task.vocabulary))] if alike else spelled


def are_numbers(names: list[str]) -> bool:
    """Return whether each name is the token's number."""
    return names == [*map(str, range(len(names)))]


def read_sample(task: Task, words: Sequence[str]) -> TypedSample:
    """Return typed words, one for each of a sample's `n_in` tokens; `.` for a missing token.

    Raises:
        UsageError: too few or too many words, or a word that is not a token of the task.
    """
    drawn = max(1, min(MOST_DRAWN, MOST_TOKENS // task.framing.inputs.size))
    rows = task.sample(stream(0, "predict"), drawn)
    inputs = rows[:, task.framing.inputs]  # [drawn, samples, n_in]
    names, n_in = token_names(task), task.framing.inputs.shape[1]
    may_miss = bool((inputs == MISSING).any())
    tokens = {name: token for token, name in enumerate(names)}
    if may_miss:
        tokens[DOT] = MISSING
    expected = f"expected {_describe(names, n_in, may_miss)}{_example(names, inputs[0, -1])}"
    unknown = next((word for word in words if word not in tokens), None)
    if unknown is not None:
        raise UsageError(f"{expected}; received {unknown!r}")
    if len(words) != n_in:
        raise UsageError(f"{expected}; received {len(words) or 'none'}")
    return _frame(task, np.array([tokens[word] for word in words], np.int64), rows, inputs)


def _frame(task: Task, tokens: Integers, rows: Integers, inputs: Integers) -> TypedSample:
    """Return tokens [n_in] as the sample of the framing that they resemble.

    That is the first sample with the same blanks, marks and missing tokens in one of the
    drawn rows; if there is none, the last sample, which is always a full window.
    """
    similar = (_special(task, inputs) == _special(task, tokens)).all(axis=2)
    matching = np.flatnonzero(similar.any(axis=0))
    sample = int(matching[0]) if len(matching) else task.framing.samples - 1
    seen, targets = task.framing.inputs[sample], task.framing.targets[sample]
    row = np.full(rows.shape[1], MISSING, np.int64)
    row[seen] = tokens
    always_missing = (rows == MISSING).all(axis=0)  # targets that never count
    return TypedSample(tokens, row[targets], np.isin(targets, seen) | always_missing[targets])


def _special(task: Task, tokens: Integers) -> Integers:
    """Return tokens with all symbols, 0..symbols-1, replaced by 0."""
    special: Integers = np.where((tokens >= 0) & (tokens < task.symbols), 0, tokens)
    return special


def _describe(names: list[str], n_in: int, may_miss: bool) -> str:
    some = ", ".join(names[:3])
    kind = (
        f"integers of 0..{len(names) - 1}"
        if are_numbers(names)
        else f"of {len(names)}, such as {some}"
    )
    return f"{n_in} tokens, {kind}{f', or {DOT} for none' if may_miss else ''}"


def _example(names: list[str], tokens: Integers) -> str:
    if len(tokens) > LONGEST_EXAMPLE:
        return ""
    words = (DOT if token == MISSING else names[token] for token in tokens.tolist())
    return f", as in: {' '.join(words)}"
