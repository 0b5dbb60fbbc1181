"""Copy a sequence a given number of times.

::

    input       7 3 1 x2 .  .  .  .  .  .  .
    target      . . . .  7  3  1  7  3  1  end      (3 items, twice)
    network     LSTM, one output a step

The input is the items, the number of copies, then blanks (`.`); the answer starts after
the number and ends with a mark. Graves, Wayne and Danihelka, "Neural Turing
Machines", 2014: 1 to 10 items, 1 to 10 times, each item one of 256 (there eight
random bits, here one token): `repeat-copy[symbols=256,shortest=1,longest=10,
repeats=10]`. The default is smaller and has one length, so that hardly any
evaluation sequence was trained on.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydantic import Field, model_validator

from echobench import (
    MISSING,
    Form,
    Framing,
    Integers,
    Network,
    Recipe,
    Task,
    hookimpl,
    sequence_to_sequence,
)

from ._recipes import divisions


class RepeatCopy(Task):
    """Copy five tokens once to three times."""

    name = "repeat-copy"
    has_missing = True
    recipes = divisions(
        "repeat-copy", Recipe(units=256, batch=1, sequences=32, epochs=5000, evaluate_every=100)
    )
    symbols: int = Field(default=32, ge=2, le=1_000_000)
    shortest: int = Field(default=5, ge=1)
    longest: int = Field(default=5, ge=1, le=1000)
    repeats: int = Field(default=3, ge=1, le=1000)

    @model_validator(mode="after")
    def _check_lengths(self) -> RepeatCopy:
        if self.shortest > self.longest:
            raise ValueError(
                f"expected shortest <= longest={self.longest}; received shortest={self.shortest}"
            )
        return self

    @property
    def vocabulary(self) -> int:
        """The symbols, the blank, the end mark, and a token for each number of copies."""
        return self.symbols + 2 + self.repeats

    @property
    def steps(self) -> int:
        """Steps of the longest sequence: items, number, all copies, end mark."""
        return self.longest + 1 + self.longest * self.repeats + 1

    @cached_property
    def framing(self) -> Framing:
        """One sample a row: the input, then the answer."""
        positions = np.arange(self.steps)[np.newaxis]
        return Framing(positions, positions + self.steps)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw items, their number and the number of copies, [count, 2 steps]."""
        # One draw a row, so that chunking does not change the experiment.
        drawn = rng.integers(0, 2**32, size=(count, self.longest + 2), dtype=np.int64)
        length = self.shortest + drawn[:, :1] % (self.longest - self.shortest + 1)
        times = 1 + drawn[:, 1:2] % self.repeats
        items = drawn[:, 2:] % self.symbols
        blank, end = self.symbols, self.symbols + 1

        step = np.broadcast_to(np.arange(self.steps), (count, self.steps))
        shown = np.take_along_axis(items, np.minimum(step, self.longest - 1), axis=1)
        inputs = np.where(step < length, shown, np.where(step == length, end + times, blank))

        since = step - length - 1
        copied = np.take_along_axis(items, since % length, axis=1)
        copied = np.where(since < length * times, copied, MISSING)
        answers = np.where(since < 0, MISSING, np.where(since == length * times, end, copied))
        return np.concatenate([inputs, answers], axis=1)

    def network(self, form: Form, units: int) -> Network:
        return sequence_to_sequence(form, self.steps, units)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [RepeatCopy]
