"""Echo a stream some steps late.

::

    time        1   2   3   4   5   6 ...
    input       7   3   9   1   4   8 ...
    target      .   .   .   7   3   9 ...      (lag = 3)
    network     LSTM, one output a step

The network must keep a sliding window of `lag` tokens and put out the oldest; the first
`lag` targets are missing (`.`). The linear
form of the task measures the memory capacity of a network in Jaeger, "Short
term memory in echo state networks", GMD report 152, 2002; here tokens replace
real numbers, and the metric is the share of correct tokens. The closed
recipe is the tutorial's for the whole echo, on one stream an update.
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
    Task,
    hookimpl,
    sequence_to_sequence,
    uniform_sequences,
)

from ._recipes import TUTORIAL_WHOLE, divisions


class Lag(Task):
    """Echo each token three steps late."""

    name = "lag"
    has_missing = True
    recipes = divisions("lag", TUTORIAL_WHOLE, batch=1)
    length: int = Field(default=25, ge=2, le=100_000)
    lag: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _check_lag(self) -> Lag:
        if self.lag >= self.length:
            raise ValueError(f"expected lag < length={self.length}; received lag={self.lag}")
        return self

    @cached_property
    def framing(self) -> Framing:
        """One sample a row: the stream; its last position is the missing token."""
        steps = np.arange(self.length)[np.newaxis]
        return Framing(steps, np.where(steps < self.lag, self.length, steps - self.lag))

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw uniform random streams, a missing token after each, [count, length + 1]."""
        streams = uniform_sequences(rng, count, self.length, self.symbols)
        return np.concatenate([streams, np.full((count, 1), MISSING)], axis=1)

    def network(self, form: Form, units: int) -> Network:
        return sequence_to_sequence(form, self.length, units)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [Lag]
