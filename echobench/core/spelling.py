"""A sequence that a person types: read, and framed as one sample of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from echobench.core.sequences import MISSING, Integers
from echobench.core.task import Task
from echobench.errors import UsageError

Token: TypeAlias = "int | str | None"
"""As `Task.spell` gives it; None where there is none."""
DOT = "."
"""How a missing token is typed, and shown."""
MOST_DRAWN, MOST_TOKENS = 200, 2_000_000
"""Of the task's own, with which a typed sequence is compared: rows, and all their windows."""
LONGEST_EXAMPLE = 40


@dataclass(frozen=True)
class TypedSample:
    """One sample as it was typed.

    Attributes:
        tokens: what the network sees, integers [n_in]; `MISSING` where nothing was typed.
        expected: the right answers, integers [n_out]; `MISSING` where none is asked for.
        known: whether `expected` says what is right, [n_out]: not where a task draws an answer
            that is none of what it shows.
    """

    tokens: Integers
    expected: Integers
    known: Integers


def token_names(task: Task) -> list[str]:
    """Return how each token 0..vocabulary-1 is typed: as the task spells it.

    Where it spells two tokens alike, each is typed as the number that rows hold.
    """
    spelled = [str(task.spell(token)) for token in range(task.vocabulary)]
    alike = len(set(spelled)) < len(spelled)
    return [*map(str, range(task.vocabulary))] if alike else spelled


def are_numbers(named: list[str]) -> bool:
    """Whether tokens are typed as the numbers that they are."""
    return named == [*map(str, range(len(named)))]


def read_sample(task: Task, words: Sequence[str]) -> TypedSample:
    """Return what was typed, framed.

    Args:
        task: what the words are an input of.
        words: one for each of the `n_in` tokens of a sample; `.` for a missing one.

    Raises:
        UsageError: too few or too many, or one that is no token of the task.
    """
    drawn = max(1, min(MOST_DRAWN, MOST_TOKENS // task.framing.inputs.size))
    rows = task.sample(np.random.default_rng(0), drawn)
    seen = rows[:, task.framing.inputs]  # [drawn, samples, n_in]
    named, n_in = token_names(task), task.framing.inputs.shape[1]
    may_lack = bool((seen == MISSING).any())
    places = {name: token for token, name in enumerate(named)}
    if may_lack:
        places[DOT] = MISSING
    wanted = f"expected {_wanted(named, n_in, may_lack)}{_example(named, seen[0, -1])}"
    strange = next((word for word in words if word not in places), None)
    if strange is not None:
        raise UsageError(f"{wanted}; received {strange!r}")
    if len(words) != n_in:
        raise UsageError(f"{wanted}; received {len(words) or 'none'}")
    return _framed(task, np.array([places[word] for word in words], np.int64), rows, seen)


def _framed(task: Task, tokens: Integers, rows: Integers, seen: Integers) -> TypedSample:
    """Return tokens [n_in] as the sample of the framing that they look like.

    That is the first whose blanks, marks and missing tokens lay as these do in some row
    of the task's own; or else its last sample, which is a full window where others are not.
    """
    like = (_special(task, seen) == _special(task, tokens)).all(axis=2)
    matching = np.flatnonzero(like.any(axis=0))
    sample = int(matching[0]) if len(matching) else task.framing.samples - 1
    inputs, targets = task.framing.inputs[sample], task.framing.targets[sample]
    row = np.full(rows.shape[1], MISSING, np.int64)
    row[inputs] = tokens
    never = (rows == MISSING).all(axis=0)  # a place for what is not asked
    return TypedSample(tokens, row[targets], np.isin(targets, inputs) | never[targets])


def _special(task: Task, tokens: Integers) -> Integers:
    """Return tokens with all plain ones, 0..symbols-1, made alike."""
    special: Integers = np.where((tokens >= 0) & (tokens < task.symbols), 0, tokens)
    return special


def _wanted(named: list[str], n_in: int, may_lack: bool) -> str:
    some = ", ".join(named[:3])
    kind = (
        f"integers of 0..{len(named) - 1}"
        if are_numbers(named)
        else f"of {len(named)}, such as {some}"
    )
    return f"{n_in} tokens, {kind}{f', or {DOT} for none' if may_lack else ''}"


def _example(named: list[str], tokens: Integers) -> str:
    if len(tokens) > LONGEST_EXAMPLE:
        return ""
    words = (DOT if token == MISSING else named[token] for token in tokens.tolist())
    return f", as in: {' '.join(words)}"
