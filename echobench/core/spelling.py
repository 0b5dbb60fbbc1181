"""Read a sequence that a person types, and frame it as a sample of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from echobench.core.file_task import FileTask
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
            an answer that is not among the inputs, and where its file has no single one.
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


def missing_sign(names: Sequence[str]) -> str:
    """Return how a missing token is typed: `.`, or so many that it is no token of the task."""
    sign = DOT
    while sign in names:
        sign += DOT
    return sign


def read_sample(task: Task, words: Sequence[str]) -> TypedSample:
    """Return typed words, one for each of a sample's `n_in` tokens; see `missing_sign`.

    Raises:
        UsageError: too few or too many words, or a word that is not a token of the task.
    """
    drawn = max(1, min(MOST_DRAWN, MOST_TOKENS // task.framing.inputs.size))
    rows = task.sample(stream(0, "predict"), drawn)
    inputs = rows[:, task.framing.inputs]  # [drawn, samples, n_in]
    names, n_in = token_names(task), task.framing.inputs.shape[1]
    held = task.all_rows if isinstance(task, FileTask) else task.test_rows
    shown = inputs if held is None else held[:, task.framing.inputs]
    may_miss = bool((shown == MISSING).any())
    tokens = {name: token for token, name in enumerate(names)}
    sign = missing_sign(names)
    if may_miss:
        tokens[sign] = MISSING
    described = _describe(names, n_in, sign if may_miss else "")
    expected = f"expected {described}{_example(names, inputs[0, -1], sign)}"
    unknown = next((word for word in words if word not in tokens), None)
    if unknown is not None:
        raise UsageError(f"{expected}; received {unknown!r}")
    if len(words) != n_in:
        raise UsageError(f"{expected}; received {len(words) or 'none'}")
    return _frame(task, np.array([tokens[word] for word in words], np.int64), rows, held)


def _frame(task: Task, tokens: Integers, rows: Integers, held: Integers | None) -> TypedSample:
    """Return tokens [n_in] as the sample of the framing that they resemble.

    What is right is what the rows that the task holds say, if it makes none up.

    That is the first sample with the same blanks, marks and missing tokens in one of the
    drawn rows; if there is none, the last sample, which is always a full window.
    """
    inputs = rows[:, task.framing.inputs]
    similar = (_special(task, inputs) == _special(task, tokens)).all(axis=2)
    matching = np.flatnonzero(similar.any(axis=0))
    sample = int(matching[0]) if len(matching) else task.framing.samples - 1
    seen, targets = task.framing.inputs[sample], task.framing.targets[sample]
    row = np.full(rows.shape[1], MISSING, np.int64)
    row[seen] = tokens
    if held is not None:
        same = held[(held[:, seen] == tokens).all(axis=1)][:, targets]
        first = same[0] if len(same) else row[targets]
        return TypedSample(
            tokens, first, np.full(len(first), len(same) > 0) & (same == first).all(0)
        )
    always_missing = (rows == MISSING).all(axis=0)  # targets that never count
    return TypedSample(tokens, row[targets], np.isin(targets, seen) | always_missing[targets])


def _special(task: Task, tokens: Integers) -> Integers:
    """Return tokens with all symbols, 0..symbols-1, replaced by 0."""
    special: Integers = np.where((tokens >= 0) & (tokens < task.symbols), 0, tokens)
    return special


def _describe(names: list[str], n_in: int, sign: str) -> str:
    some = ", ".join(names[:3])
    kind = (
        f"integers of 0..{len(names) - 1}"
        if are_numbers(names)
        else f"of {len(names)}, such as {some}"
    )
    return f"{n_in} tokens, {kind}{f', or {sign} for none' if sign else ''}"


def _example(names: list[str], tokens: Integers, sign: str) -> str:
    if len(tokens) > LONGEST_EXAMPLE:
        return ""
    words = (sign if token == MISSING else names[token] for token in tokens.tolist())
    return f", as in: {' '.join(words)}"
