"""Score a network on fresh sequences, and certify the target of 100%; see docs/method.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from echobench.core.rows import answers, draw
from echobench.core.sequences import MISSING, Integers, Stream
from echobench.core.task import Task

Predict = Callable[[Integers], Integers]
"""Takes rows [count, length]; returns the network's answers [count, samples, n_out]."""

BLOCK = 50
"""Sequences in one call of the network: a single shape, so that it is compiled once. Larger blocks
are no faster, and from 500 on slower: 50 sequences are some thousand samples."""
SURE = 0.999
"""Confidence at which a certificate is refuted by an estimate of the error rate."""
ERROR = 0.05
"""Share of trials that may be certified though their error rate is at the bound or above."""


@dataclass(frozen=True)
class Score:
    """A network's errors on fresh sequences, or on all of a test set.

    Attributes:
        sequences: number of sequences; the independent unit, since windows overlap.
        wrong_sequences: sequences with at least one wrong token.
        tokens: number of targets, missing ones excluded.
        wrong_tokens: targets that were answered wrong.
        echo: expected and predicted tokens, [n_out] each, of the sample with the most
            targets in the first sequence.
    """

    sequences: int
    wrong_sequences: int
    tokens: int
    wrong_tokens: int
    echo: tuple[list[int], list[int]]

    @property
    def accuracy(self) -> float:
        """Share of targets that are answered right."""
        return 1.0 - self.wrong_tokens / self.tokens

    @property
    def exact_match(self) -> float:
        """Share of sequences without a wrong token."""
        return 1.0 - self.wrong_sequences / self.sequences


def exact_interval(wrong: int, sequences: int) -> tuple[float, float]:
    """Return the 95% interval of an error rate, of which `wrong` in `sequences` were seen.

    It is exact: Clopper and Pearson 1934.
    """
    from scipy import stats  # slow to import, and not needed by every command

    interval = stats.binomtest(wrong, sequences).proportion_ci(1 - ERROR, method="exact")
    return float(interval.low), float(interval.high)


def excludes(wrong: int, sequences: int, bound: float) -> bool:
    """Return whether an error rate is surely above a bound.

    So it is if the bound lies below the whole exact interval at 99.9%.
    """
    from scipy import stats  # slow to import, and not needed by every command

    return float(stats.binom.sf(wrong - 1, sequences, bound)) < (1 - SURE) / 2


def blocks(
    task: Task, rng: Stream, sequences: int, size: int = BLOCK
) -> Iterator[tuple[Integers, int]]:
    """Yield the rows to evaluate on in blocks [size, length], and how many of each block count.

    They are `sequences` fresh ones, or all of the task's test set, each once.
    """
    rows = task.test_rows
    total = sequences if rows is None else len(rows)
    for start in range(0, total, size):
        count = min(size, total - start)
        if rows is None:
            yield draw(task, rng, size), count
        else:  # filled up with rows that do not count, since there is a single shape
            yield rows[np.arange(start, start + size) % total], count


def score(task: Task, predict: Predict, rng: Stream, sequences: int) -> Score:
    """Score the network on `sequences` fresh sequences, or on all of the task's test set."""
    return _total(list(_scores(task, predict, rng, sequences)))


def needed(attempt: int, bound: float) -> int:
    """Return how many sequences without an error certify a network at its `attempt`, from 1.

    A trial may try again after each refusal, and a network that hovers passes some day. So
    attempt k may err with probability `ERROR` / (k (k + 1)), which sums to `ERROR` over all
    attempts: whatever the network does between them, at most that share of trials certify a
    network whose sequence error rate is `bound` or more (the union bound).
    """
    return math.ceil((math.log(attempt * (attempt + 1)) - math.log(ERROR)) / bound)


def certify(task: Task, predict: Predict, rng: Stream, sequences: int) -> Score:
    """Score the network on fresh sequences, and stop after a block with an error.

    Returns:
        A score without errors over exactly `sequences`, which is the certificate; or one
        that ends with the block in which a token was wrong.
    """
    scores = []
    for block in _scores(task, predict, rng, sequences):
        scores.append(block)
        if block.wrong_tokens:
            break
    return _total(scores)


def _scores(task: Task, predict: Predict, rng: Stream, sequences: int) -> Iterator[Score]:
    """Score the network block by block."""
    for rows, count in blocks(task, rng, sequences):
        expected = answers(task, rows)
        is_target = (expected != MISSING)[:count]
        predicted = predict(rows)
        wrong = (predicted != expected)[:count] & is_target
        fullest = is_target[0].sum(axis=1).argmax()
        yield Score(
            sequences=count,
            wrong_sequences=int(wrong.any(axis=(1, 2)).sum()),
            tokens=int(is_target.sum()),
            wrong_tokens=int(wrong.sum()),
            echo=(expected[0, fullest].tolist(), predicted[0, fullest].tolist()),
        )


def _total(scores: Sequence[Score]) -> Score:
    return Score(
        sequences=sum(score.sequences for score in scores),
        wrong_sequences=sum(score.wrong_sequences for score in scores),
        tokens=sum(score.tokens for score in scores),
        wrong_tokens=sum(score.wrong_tokens for score in scores),
        echo=scores[0].echo,
    )
