"""A task whose sequences are the lines of a file: split, encoded, padded."""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from echobench.core import files
from echobench.core.files import DataFile, Line, Token
from echobench.core.sequences import MISSING, Framing, Integers, Stream
from echobench.core.task import Task

MOST_TOKENS = 50_000_000
"""Of a file's padded rows: 400 MB."""
SHARE_DIGITS = 8
"""Hexadecimal digits of a sequence's hash that decide its side."""


@dataclass(frozen=True)
class _Example:
    """A line as the network meets it: what it sees, and the right answer."""

    line: int
    inputs: tuple[Token, ...]
    answer: tuple[Token, ...]


@dataclass(frozen=True)
class _Data:
    """A file's examples, encoded.

    Attributes:
        tokens: the vocabulary, in order.
        n_in, n_out: tokens of the longest input, and of the longest answer.
        training: rows of the training side, [lines, n_in + n_out].
        test: different rows of the test side, [sequences, n_in + n_out].
        doubts: see `Task.doubts`.
    """

    tokens: tuple[Token, ...]
    n_in: int
    n_out: int
    training: Integers
    test: Integers
    doubts: tuple[str, ...]


class FileTask(Task):
    """Learn the sequences of a file, a line each, of different lengths; by default, echo them.

    ::

        file        a b c             row     . a b c   a b c .      (n_in + n_out positions)
                    d e f g                   d e f g   d e f g

    A subclass defines `name`, `recipes` and `network`, and `example` where the answer is not the
    sequence itself. A `.csv` or `.tsv` file has a token in each cell; a `.jsonl` file has an
    array in each line; any other has words, separated by spaces. Tokens are integers or words.

    A hash of the input decides on which side of the split it lies: equal inputs lie on one side,
    and stay there when lines are added. All different rows of the test side are the test set: see
    `Task.test_rows`.

    Attributes:
        has_missing: whether lines have different lengths. Backends without Keras ask for False.
        path: the file, at most 10 MB. A record names it without its folder, and its content by a
            digest: `chat.jsonl@3f2a9c1b7d04`.
        test_share: part of the different inputs that is held out for the test; 0 for a network
            that learns the file by heart, tested on all of it.
        symbols: the most different tokens; one-hot inputs and outputs have their number as width.

    Raises:
        ValueError: the file is no such file, has too many tokens, fewer than two different
            lines, or nothing on one side of the split.
    """

    has_missing: ClassVar[bool] = True
    path: DataFile
    test_share: float = Field(default=0.2, ge=0, lt=1)
    symbols: int = Field(default=10_000, ge=2, le=1_000_000)

    def example(self, cells: list[Any]) -> tuple[Sequence[Token], Sequence[Token]]:
        """Return what the network sees of a line of the file, and what it must answer.

        Args:
            cells: the line's tokens; in a file of JSON, some may be lists of tokens.

        Raises:
            ValueError: the line is none for this task; the message says what it expects.
        """
        return cells, cells

    @model_validator(mode="after")
    def _check_file(self) -> FileTask:
        _data(self)
        return self

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The vocabulary: the file's different tokens, in order."""
        return _data(self).tokens

    @property
    def vocabulary(self) -> int:
        """The number of different tokens."""
        return len(self.tokens)

    @property
    def n_in(self) -> int:
        """Tokens of the longest input; shorter ones are missing tokens at their beginning."""
        return _data(self).n_in

    @property
    def n_out(self) -> int:
        """Tokens of the longest answer; shorter ones are missing tokens at their end."""
        return _data(self).n_out

    @property
    def framing(self) -> Framing:
        """A row is the input, then the answer: one sample."""
        positions = np.arange(self.n_in + self.n_out)[np.newaxis]
        return Framing(positions[:, : self.n_in], positions[:, self.n_in :])

    @property
    def test_rows(self) -> Integers:
        """All different rows of the test side, [sequences, n_in + n_out]."""
        return _data(self).test

    @property
    def all_rows(self) -> Integers:
        """The rows of both sides, [lines, n_in + n_out]."""
        return np.concatenate([_data(self).training, _data(self).test])

    @property
    def is_test_trained_on(self) -> bool:
        """Whether no input is held out."""
        return not self.test_share

    def doubts(self) -> list[str]:
        """Return inputs with two answers, tokens that training never shows, and the like."""
        return [*_data(self).doubts]

    def sample(self, rng: Stream, count: int) -> Integers:
        """Draw lines of the side that `rng` is for, [count, n_in + n_out]."""
        rows = _data(self).training if rng.for_training else self.test_rows
        drawn: Integers = rows[rng.integers(0, len(rows), size=count, dtype=np.int64)]
        return drawn

    def spell(self, token: int) -> int | str | None:
        """Return a token as the file spells it."""
        return None if token == MISSING else self.tokens[token]


@functools.lru_cache(8)
def _data(task: FileTask) -> _Data:
    """Return a task's data; raise ValueError where the file is none for it."""
    name = task.path.name
    examples = [_example(task, line) for line in files.lines(task.path)]
    different = {(one.inputs, one.answer) for one in examples}
    if len(different) < 2:
        received = {0: "none", 1: "one"}.get(len(examples), f"{len(examples):,} that are all equal")
        raise ValueError(f"expected at least two different sequences; {name} has {received}")
    tokens = _vocabulary(examples)
    if not 2 <= len(tokens) <= task.symbols:
        raise ValueError(
            f"expected 2 to symbols={task.symbols} different tokens, one-hot outputs; "
            f"{name} has {len(tokens):,}"
        )
    held_out = [one for one in examples if _share(one.inputs) < task.test_share]
    training = [one for one in examples if _share(one.inputs) >= task.test_share]
    if not task.test_share:
        held_out = examples
    if not held_out or not training:
        side = "test" if training else "training"
        inputs = len({one.inputs for one in examples})
        raise ValueError(
            f"expected sequences on both sides of the split; of the {inputs} different ones of "
            f"{name} none is on the {side} side: add lines, or change "
            f"test_share={task.test_share:g} (0 tests on what was trained on)"
        )
    n_in = max(len(one.inputs) for one in examples)
    n_out = max(len(one.answer) for one in examples)
    if len(examples) * (n_in + n_out) > MOST_TOKENS:
        longest = max(examples, key=lambda one: len(one.inputs) + len(one.answer)).line
        raise ValueError(
            f"expected at most {MOST_TOKENS:,} tokens, lines padded to the longest; "
            f"{name} has {len(examples):,} lines of up to {n_in + n_out:,}: split line {longest}"
        )
    numbers = {token: number for number, token in enumerate(tokens)}

    def rows(chosen: Sequence[_Example]) -> Integers:
        encoded = np.full((len(chosen), n_in + n_out), MISSING, np.int64)
        for row, one in zip(encoded, chosen, strict=True):
            row[n_in - len(one.inputs) : n_in] = [numbers[token] for token in one.inputs]
            row[n_in : n_in + len(one.answer)] = [numbers[token] for token in one.answer]
        return encoded

    first: dict[Any, _Example] = {}
    for one in held_out:
        first.setdefault((one.inputs, one.answer), one)
    once = [*first.values()]
    doubts = [
        *_clashing(once, task),
        *_never_shown(training, once),
        *_odd(examples, name),
        *_merged(task),
    ]
    return _Data(tokens, n_in, n_out, rows(training), rows(once), tuple(doubts))


def _example(task: FileTask, line: Line) -> _Example:
    """Return a line as an example; raise ValueError, with its number, if it is none."""
    where = f"{task.path.name}, line {line.number}"
    try:
        inputs, answer = task.example([*line.cells])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    for what, tokens in (("sequence", inputs), ("answer", answer)):
        if not tokens:
            raise ValueError(f"{where}: expected at least one token in its {what}")
        for token in tokens:
            if type(token) not in (
                int,
                str,
            ):  # True is no integer: it equals 1, and hashes as a word
                raise ValueError(f"{where}: expected integers or words; received {token!r:.40}")
    return _Example(line.number, tuple(inputs), tuple(answer))


def _vocabulary(examples: Sequence[_Example]) -> tuple[Token, ...]:
    """Return all tokens: integers by size, then words by their characters."""
    found = {token for one in examples for token in (*one.inputs, *one.answer)}
    numbers = sorted(token for token in found if isinstance(token, int))
    return (*numbers, *sorted(token for token in found if isinstance(token, str)))


def _share(tokens: tuple[Token, ...]) -> float:
    """Return where in 0..1 the hash of a sequence lies."""
    digest = hashlib.sha256("\0".join(map(str, tokens)).encode()).hexdigest()
    return float(int(digest[:SHARE_DIGITS], 16) / 16**SHARE_DIGITS)


def _clashing(test: Sequence[_Example], task: FileTask) -> list[str]:
    """Name inputs of the test with answers that differ, of which one can be right."""
    answers: dict[tuple[Token, ...], list[_Example]] = defaultdict(list)
    for one in test:
        answers[one.inputs].append(one)
    best, pairs = 0, []
    for alike in answers.values():
        given = {one.answer for one in alike}
        # What comes after an answer does not count: the longest is right for each that begins it.
        lengths = {*map(len, given)}
        beginnings = [
            sum(one.answer[:n] in given for n in lengths if n <= len(one.answer)) for one in alike
        ]
        most = max(beginnings)
        best += most
        if most < len(alike):
            first = alike[beginnings.index(most)]
            pairs.append(
                (first, next(o for o in alike if first.answer[: len(o.answer)] != o.answer))
            )
    if not pairs:
        return []
    first, other = sorted(pairs[0], key=lambda one: one.line)
    return [
        f"the target is out of reach: lines {first.line} and {other.line} of {task.path.name} "
        f"answer {' '.join(map(str, first.inputs))[:60]!r} differently, so that at most "
        f"{best:,} of the {len(test):,} test sequences can come out right"
    ]


def _never_shown(training: Sequence[_Example], test: Sequence[_Example]) -> list[str]:
    """Name a token that must be answered in the test, and in training never is."""
    shown = {token for one in training for token in one.answer}
    hidden = [token for one in test for token in one.answer if token not in shown]
    if not hidden:
        return []
    return [
        f"the target is hardly in reach: the test asks for {len({*hidden}):,} tokens, such as "
        f"{str(hidden[0])!r}, which no training sequence does"
    ]


def _odd(examples: Sequence[_Example], name: str) -> list[str]:
    """Name a token that is no integer, where most others are."""
    found = [(str(token), one.line) for one in examples for token in one.inputs]
    words = [(token, line) for token, line in found if not files.INTEGER.fullmatch(token)]
    if not words or 2 * len(words) > len(found):
        return []
    token, line = words[0]
    return [
        f"{len(words):,} of the {len(found):,} tokens of {name} are no integers, such as "
        f"{token!r} in line {line}; all are read as words"
    ]


def _merged(task: FileTask) -> list[str]:
    """Name an integer that the file spells in two ways, which might be meant as two words."""
    twice = files.spelt_twice(task.path)
    if twice is None:
        return []
    (one, first), (other, second) = twice
    return [
        f"{task.path.name} spells an integer in two ways, {one!r} in line {first} and {other!r} in "
        f"line {second}: both are read as {int(one)}"
    ]
