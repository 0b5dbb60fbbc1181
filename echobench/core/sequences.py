"""Random integer sequences: drawn, and framed into samples.

Everything here is NumPy (and pandas, for the tutorial's own framing). Inside a
compiled loop the same framing is a gather with the index tables made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

MISSING = -1
"""The token that is not there: it is never asked for, and an input may be told to skip it."""

STREAMS = ("weights", "train", "screen", "certify", "measure", "samples", "parity", "predict")


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the counter-based generator of one purpose.

    Streams of one seed are independent of each other, so that no evaluation
    sequence comes from the training stream. The bytes depend on seed and name
    alone: they are the same on every backend.

    Args:
        seed: the trial's seed, 0 or more.
        name: one of `STREAMS`.
    """
    spawned = np.random.SeedSequence(seed, spawn_key=(STREAMS.index(name),))
    return np.random.Generator(np.random.Philox(spawned))


def generate(rng: np.random.Generator, count: int, length: int, symbols: int) -> Integers:
    """Draw `count` sequences of `length` integers, uniform in 0..symbols-1.

    Returns:
        Integers of shape [count, length]. Drawing twice 5 gives the same rows
        as drawing once 10, so chunking does not change the experiment.
    """
    return rng.integers(0, symbols, size=(count, length), dtype=np.int64)


def to_supervised(
    sequence: Integers, n_in: int, n_out: int, *, keep_missing: bool = False
) -> tuple[Integers, Integers]:
    """Frame one sequence as the tutorial does, with pandas.

    The sequence is shifted into rows of `n_in` consecutive observations, rows
    with missing values are dropped, and y is the oldest `n_out` of each row.

    Args:
        sequence: integers of shape [length].
        n_in: integers in a row.
        n_out: integers asked for, at most n_in.
        keep_missing: keep the rows with missing values, as `MISSING`.

    Returns:
        X of shape [samples, n_in] and y of shape [samples, n_out], where
        samples = len(sequence) - n_in + 1, or len(sequence) with the missing kept.
    """
    import pandas as pd  # here: pandas is slow to import, and the fused engines do without

    column = pd.Series(sequence)
    shifted = pd.concat([column.shift(n_in - 1 - step) for step in range(n_in)], axis=1)
    complete = shifted.fillna(MISSING) if keep_missing else shifted.dropna()
    rows = complete.to_numpy().astype(np.int64)
    return rows, rows[:, :n_out]


@dataclass(frozen=True)
class Framing:
    """Which places of a sequence are seen and which are asked for.

    Attributes:
        inputs: places in the sequence, integers of shape [samples, n_in].
        targets: places in the sequence, integers of shape [samples, n_out].
    """

    inputs: Integers
    targets: Integers

    @classmethod
    def shifted(cls, length: int, n_in: int, n_out: int) -> Framing:
        """Return the tutorial's framing: windows, of which the oldest `n_out` are asked for.

        Args:
            length: integers in a sequence, at least n_in.
            n_in: integers in a window.
            n_out: integers asked for, at most n_in.
        """
        starts = np.arange(length - n_in + 1)[:, np.newaxis]
        return cls(starts + np.arange(n_in), starts + np.arange(n_out))

    @property
    def samples(self) -> int:
        """Samples that one sequence gives."""
        return len(self.inputs)
