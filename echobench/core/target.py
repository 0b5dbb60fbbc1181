"""The target, 100%, certified: see docs/method.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from echobench.core.sequences import MISSING, Integers
from echobench.core.task import Task

Echo = Callable[[Integers], Integers]
"""Takes rows [count, length] and returns the network's answers [count, samples, n_out]."""

BLOCK = 50
"""Sequences in one call of the network: one shape, so one compilation."""


@dataclass(frozen=True)
class Score:
    """How a network did on fresh sequences.

    Attributes:
        sequences: sequences tried; the independent unit, since windows overlap.
        wrong_sequences: of these, with at least one wrong token.
        tokens: tokens asked for; missing ones are not.
        wrong_tokens: of these, answered wrong.
        echo: what was expected and what came, [n_out] each: of the samples of the first
            sequence the first of which most is asked.
    """

    sequences: int
    wrong_sequences: int
    tokens: int
    wrong_tokens: int
    echo: tuple[list[int], list[int]]

    @property
    def accuracy(self) -> float:
        """Share of tokens that are right."""
        return 1.0 - self.wrong_tokens / self.tokens

    @property
    def exact_match(self) -> float:
        """Share of sequences without a wrong token."""
        return 1.0 - self.wrong_sequences / self.sequences

    @property
    def error_bound(self) -> float | None:
        """Upper bound, at 95% confidence, of the sequence error rate: the rule of three.

        None when a token was wrong: the rule holds for clean sets only.
        """
        return None if self.wrong_tokens else 3.0 / self.sequences


def score(task: Task, echo: Echo, rng: np.random.Generator, sequences: int) -> Score:
    """Try the network on fresh sequences, all of them."""
    return _total(_blocks(task, echo, rng, sequences))


def certify(task: Task, echo: Echo, rng: np.random.Generator, sequences: int) -> Score:
    """Try the network on fresh sequences until one goes wrong.

    Returns:
        A clean score over exactly `sequences`, which certifies; or one that
        ends with the block in which a token was wrong.
    """
    seen = []
    for block in _blocks(task, echo, rng, sequences):
        seen.append(block)
        if block.wrong_tokens:
            break
    return _total(seen)


def _blocks(task: Task, echo: Echo, rng: np.random.Generator, sequences: int) -> Iterator[Score]:
    for start in range(0, sequences, BLOCK):
        rows = task.sample(rng, BLOCK)
        wanted = min(BLOCK, sequences - start)
        expected = task.expected(rows)
        asked = (expected != MISSING)[:wanted]
        answers = echo(rows)
        wrong = (answers != expected)[:wanted] & asked
        fullest = asked[0].sum(axis=1).argmax()
        yield Score(
            sequences=wanted,
            wrong_sequences=int(wrong.any(axis=(1, 2)).sum()),
            tokens=int(asked.sum()),
            wrong_tokens=int(wrong.sum()),
            echo=(expected[0, fullest].tolist(), answers[0, fullest].tolist()),
        )


def _total(blocks: Iterable[Score]) -> Score:
    found = list(blocks)
    return Score(
        sequences=sum(block.sequences for block in found),
        wrong_sequences=sum(block.wrong_sequences for block in found),
        tokens=sum(block.tokens for block in found),
        wrong_tokens=sum(block.wrong_tokens for block in found),
        echo=found[0].echo,
    )
