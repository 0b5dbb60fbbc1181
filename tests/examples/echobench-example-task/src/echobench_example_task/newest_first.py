"""Echo the newest integers, the newest first.

::

    input       7 3 9 1 4 8 2 6
    target                        6 2 8
    network     LSTM, a hidden layer, one output for all three
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydantic import Field, model_validator

from echobench import Form, Framing, Integers, Network, Recipe, Task, hookimpl


class NewestFirst(Task):
    """Echo the newest three of eight, backwards."""

    name = "newest-first"
    recipes = {
        "closed": Recipe(
            units=64, batch=1, sequences=64, learning_rate=0.01, epochs=1000, evaluate_every=50
        )
    }
    symbols: int = Field(default=20, ge=2, le=1000)
    seen: int = Field(default=8, ge=1, le=1000)
    asked: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _check_asked(self) -> NewestFirst:
        if self.asked > self.seen:
            raise ValueError(f"expected asked <= seen={self.seen}; received asked={self.asked}")
        return self

    @cached_property
    def framing(self) -> Framing:
        """One sample a row."""
        positions = np.arange(self.seen)[np.newaxis]
        return Framing(positions, positions[:, ::-1][:, : self.asked])

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw uniform random rows."""
        return rng.integers(0, self.symbols, size=(count, self.seen), dtype=np.int64)

    def network(self, form: Form, units: int) -> Network:
        """Build an LSTM with a hidden layer after its last state."""
        import keras

        x = form.lstm(form.input(self.seen), units)
        x = keras.layers.Dense(units, activation="relu")(x)
        return form.network(form.output_at_once(x, self.asked))


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    """Register the task."""
    return [NewestFirst]
