"""Draw random integer sequences and frame them into samples.

This is NumPy, and pandas for the tutorial's own framing. A compiled loop frames with
a gather, from the index tables of `Framing`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
"""Tokens: a NumPy array of int64."""
Floats = NDArray[np.float32]
"""Weights, losses or encoded tokens: a NumPy array of float32."""

MISSING = -1
"""Stands for a missing token: never a target that counts; as an input it may be skipped."""

STREAMS = (
    "weights", "train", "screen", "certify", "measure", "samples", "parity", "predict", "judge",
)  # fmt: skip # a stream is known by its place; new ones are appended


class Stream(np.random.Generator):
    """NumPy's random generator, and what it draws for.

    A task that makes its rows up need not ask; one with a limited number of rows gives other rows
    to training than to evaluation.

    Attributes:
        name: one of `STREAMS`: `train` and `parity` draw rows to train on, `screen`, `certify`,
            `measure`, `samples`, `predict` and `judge` rows to evaluate on.
    """

    def __init__(self, bit_generator: np.random.BitGenerator, name: str) -> None:
        super().__init__(bit_generator)
        self.name = name

    @property
    def for_training(self) -> bool:
        """Whether a network is trained on the rows, rather than evaluated."""
        return self.name in {"train", "parity"}

    def spawn(self, n_children: int) -> list[Stream]:  # type: ignore[override] # NumPy says Self
        """Return independent streams for the same purpose."""
        return [Stream(bits, self.name) for bits in self.bit_generator.spawn(n_children)]


def stream(seed: int | None, name: str, number: int | None = None) -> Stream:
    """Return the counter-based random generator for one purpose.

    Streams of one seed are independent of each other, so that evaluation never draws
    from the training stream. The bytes depend on seed, name (one of `STREAMS`) and number alone:
    they are the same on every backend. Where one purpose has several streams, they are numbered.
    Without a seed nobody can know the bytes in advance.
    """
    key = (STREAMS.index(name),) if number is None else (STREAMS.index(name), number)
    spawned = np.random.SeedSequence(seed, spawn_key=key)
    return Stream(np.random.Philox(spawned), name)


def uniform_sequences(rng: np.random.Generator, count: int, length: int, symbols: int) -> Integers:
    """Draw uniform integers in 0..symbols-1, shape [count, length].

    ::

        uniform_sequences(rng, count=2, length=5, symbols=10)

        [[7 3 9 1 4]      a row for each sequence
         [0 3 8 8 2]]

    Drawing 5 rows twice gives the same rows as drawing 10 once, so that the size of a
    chunk does not change the experiment.
    """
    return rng.integers(0, symbols, size=(count, length), dtype=np.int64)


def to_supervised(
    sequence: Integers, n_in: int, n_out: int, *, keep_missing: bool = False
) -> tuple[Integers, Integers]:
    """Frame one sequence as the tutorial does, with pandas.

    The sequence is shifted into windows of `n_in` consecutive integers, windows with missing
    values are dropped, and y is the oldest `n_out` integers of each window.

    ::

        to_supervised(np.array([7, 3, 9, 1, 4]), n_in=3, n_out=2)

        shifted   .  .  7       X   7 3 9      y   7 3
                  .  7  3           3 9 1          3 9
                  7  3  9           9 1 4          9 1
                  3  9  1
                  9  1  4

    Args:
        sequence: integers of shape [length].
        n_in: integers in a window.
        n_out: integers to echo, at most n_in.
        keep_missing: keep windows with missing values, these as `MISSING`.

    Returns:
        X of shape [samples, n_in] and y of shape [samples, n_out], where
        samples = len(sequence) - n_in + 1, or len(sequence) with `keep_missing`.
    """
    import pandas as pd  # slow to import, and the fused engines do not need it

    column = pd.Series(sequence)
    shifted = pd.concat([column.shift(n_in - 1 - step) for step in range(n_in)], axis=1)
    complete = shifted.fillna(MISSING) if keep_missing else shifted.dropna()
    rows = complete.to_numpy().astype(np.int64)
    return rows, rows[:, :n_out]


@dataclass(frozen=True)
class Framing:
    """Which positions of a row are a sample's inputs, and which its targets.

    ::

        Framing.shifted(length=5, n_in=3, n_out=2)

        row        7 3 9 1 4     position   0 1 2 3 4

        sample     inputs        targets    the network sees    and answers
        0          0 1 2         0 1        7 3 9               7 3
        1          1 2 3         1 2        3 9 1               3 9
        2          2 3 4         2 3        9 1 4               9 1

    Attributes:
        inputs: positions in the row, integers [samples, n_in].
        targets: positions in the row, integers [samples, n_out].

    Raises:
        ValueError: these are not their shapes, there is no sample, or a position is no integer.
    """

    inputs: Integers
    targets: Integers

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            positions = np.asarray(getattr(self, name))
            if (
                positions.ndim != 2
                or not positions.size
                or not np.issubdtype(positions.dtype, np.integer)
            ):
                raise ValueError(
                    f"framing.{name}: expected integers of shape [samples, n], one sample or more; "
                    f"received {positions.dtype} of shape {list(positions.shape)}"
                )
            object.__setattr__(self, name, positions)
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                "framing: expected inputs and targets of as many samples; received "
                f"{len(self.inputs)} and {len(self.targets)}"
            )

    @classmethod
    def shifted(cls, length: int, n_in: int, n_out: int) -> Framing:
        """Return the tutorial's framing: all windows of `n_in` integers in `length`.

        The oldest `n_out` integers of a window are its targets.
        """
        starts = np.arange(length - n_in + 1)[:, np.newaxis]
        return cls(starts + np.arange(n_in), starts + np.arange(n_out))

    @property
    def samples(self) -> int:
        """Samples in one row."""
        return len(self.inputs)
