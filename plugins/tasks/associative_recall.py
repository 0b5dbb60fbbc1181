"""Recall the value that went with a key.

::

    input       c 9 k 8 j 3 f 1 ? ? c
    target                          9
    network     LSTM, one output after the last step

Pairs of key and value in random order, all keys of a sequence different, then
one of the keys again. Ba, Hinton, Mnih, Leibo and Ionescu, "Using Fast Weights
to Attend to the Recent Past", 2016: 26 letters and 10 digits, four pairs in their
example (`associative-recall[symbols=26,values=10]`), 100,000 sequences; the task
goes back to Graves, Wayne and Danihelka, "Neural Turing Machines", 2014. The
default has fewer keys, so that two cores suffice. The metric is the share of
correct values.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydantic import Field, model_validator

from echobench import Form, Framing, Integers, Network, Recipe, Task, hookimpl, many_to_one

from ._recipes import divisions


class AssociativeRecall(Task):
    """Recall one of four values by its key."""

    name = "associative-recall"
    recipes = divisions(
        "associative-recall",
        Recipe(units=100, batch=1, sequences=128, epochs=10000, evaluate_every=250),
    )
    symbols: int = Field(default=8, ge=2, le=1_000_000, description="keys")
    values: int = Field(default=20, ge=2, le=1_000_000)
    pairs: int = Field(default=4, ge=1, le=10_000)

    @model_validator(mode="after")
    def _check_keys(self) -> AssociativeRecall:
        if self.pairs > self.symbols:
            raise ValueError(
                f"expected pairs <= symbols={self.symbols}, the keys; received pairs={self.pairs}"
            )
        return self

    @property
    def vocabulary(self) -> int:
        """The keys, the values and the question mark."""
        return self.symbols + self.values + 1

    @cached_property
    def framing(self) -> Framing:
        """One sample a row: the input, then the answer."""
        steps = 2 * self.pairs + 3
        return Framing(np.arange(steps)[np.newaxis], np.array([[steps]]))

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw different keys, their values and the key of the question, [count, 2 pairs + 4]."""
        # One draw a row, so that chunking does not change the experiment.
        width = self.symbols + self.pairs + 1
        drawn = rng.integers(0, 2**32, size=(count, width), dtype=np.int64)
        keys = drawn[:, : self.symbols].argsort(axis=1)[:, : self.pairs]
        values = self.symbols + drawn[:, self.symbols : -1] % self.values
        chosen = drawn[:, -1:] % self.pairs
        pairs = np.stack([keys, values], axis=2).reshape(count, -1)
        question = np.full((count, 2), self.symbols + self.values)
        key = np.take_along_axis(keys, chosen, axis=1)
        value = np.take_along_axis(values, chosen, axis=1)
        return np.concatenate([pairs, question, key, value], axis=1)

    def spell(self, token: int) -> int | str | None:
        """Return values as numbers from 0."""
        return token - self.symbols if token >= self.symbols else super().spell(token)

    def network(self, form: Form, units: int) -> Network:
        return many_to_one(form, 2 * self.pairs + 3, 1, units)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [AssociativeRecall]
