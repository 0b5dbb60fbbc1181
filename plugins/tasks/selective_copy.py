"""Pick the tokens out of the noise, and copy them in order.

::

    input       . 7 . . 3 . 1 . . > > >
    target                        7 3 1      (items = 3, steps = 9)
    network     LSTM, one output a step

`items` tokens at random steps among blanks (`.`), then as many marks (`>`), at
which the targets are the items in order. What to remember depends on the
content, not on the time. The denoise task of Jing et al., "Gated Orthogonal
Recurrent Units", 2019, and the selective copying of Gu and Dao, "Mamba", 2023,
which has 16 items of 16 symbols among 4,096 steps
(`selective-copy[symbols=16,items=16,steps=4096]`). The default is smaller, so
that two cores suffice. The metric is that every target is correct.
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


class SelectiveCopy(Task):
    """Copy six tokens that lie scattered among blanks."""

    name = "selective-copy"
    has_missing = True
    recipes = divisions(
        "selective-copy", Recipe(units=128, batch=1, sequences=64, epochs=5000, evaluate_every=100)
    )
    symbols: int = Field(default=16, ge=2, le=1_000_000)
    items: int = Field(default=6, ge=1, le=10_000)
    steps: int = Field(default=18, ge=1, le=100_000)

    @model_validator(mode="after")
    def _check_room(self) -> SelectiveCopy:
        if self.items > self.steps:
            raise ValueError(f"expected items <= steps={self.steps}; received items={self.items}")
        return self

    @property
    def vocabulary(self) -> int:
        """The symbols, the blank and the mark."""
        return self.symbols + 2

    @cached_property
    def framing(self) -> Framing:
        """One sample a row: the input, the items in order, and a missing token."""
        inputs = np.arange(self.steps + self.items)
        missing = np.full(self.steps, len(inputs) + self.items)
        targets = np.concatenate([missing, len(inputs) + np.arange(self.items)])
        return Framing(inputs[np.newaxis], targets[np.newaxis])

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw items and their steps, [count, steps + 2 items + 1]."""
        # One draw a row, so that chunking does not change the experiment.
        drawn = rng.integers(0, 2**32, size=(count, self.items + self.steps), dtype=np.int64)
        items = drawn[:, : self.items] % self.symbols
        chosen = np.sort(drawn[:, self.items :].argsort(axis=1)[:, : self.items], axis=1)
        rows = np.full((count, self.steps + 2 * self.items + 1), self.symbols)
        np.put_along_axis(rows, chosen, items, axis=1)
        rows[:, self.steps : self.steps + self.items] = self.symbols + 1
        rows[:, self.steps + self.items : -1] = items
        rows[:, -1] = MISSING
        return rows

    def network(self, form: Form, units: int) -> Network:
        return sequence_to_sequence(form, self.steps + self.items, units)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [SelectiveCopy]
