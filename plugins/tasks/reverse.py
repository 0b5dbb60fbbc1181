r"""Echo a sequence backwards, whatever its length.

::

    input       .   .   7   3   9 |
    target                        | 9   3   7   .   .
    network     encoder LSTM ----vector---> decoder LSTM
                     \____all states____> attention --> one output a step

The length of each sequence is uniform in shortest..longest; the steps before it are
missing (`.`) and skipped, the targets after it are missing. With `attention=false` the
decoder sees only the encoder's last state. Reversal has been a test of
sequence-to-sequence learning since Sutskever et al. 2014, and the tutorial's readers
asked for it.
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
    attention_encoder_decoder,
    encoder_decoder,
    hookimpl,
)

from ._recipes import TUTORIAL_PARTIAL, divisions


class Reverse(Task):
    """Reverse four to ten integers."""

    name = "reverse"
    has_missing = True
    recipes = divisions("reverse", TUTORIAL_PARTIAL, batch=1, sequences=21)
    shortest: int = Field(default=4, ge=1)
    longest: int = Field(default=10, ge=1, le=10_000)
    attention: bool = True

    @model_validator(mode="after")
    def _check_lengths(self) -> Reverse:
        if self.shortest > self.longest:
            raise ValueError(
                f"expected shortest <= longest={self.longest}; received shortest={self.shortest}"
            )
        return self

    @cached_property
    def framing(self) -> Framing:
        """One sample a row: the input, then the answer."""
        positions = np.arange(self.longest)[np.newaxis]
        return Framing(positions, positions + self.longest)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw sequences of random length, [count, 2 longest]."""
        # One draw a row, so that chunking does not change the experiment.
        drawn = rng.integers(0, 2**32, size=(count, self.longest + 1), dtype=np.int64)
        lengths = self.shortest + drawn[:, :1] % (self.longest - self.shortest + 1)
        tokens = drawn[:, 1:] % self.symbols
        inputs = np.where(np.arange(self.longest) >= self.longest - lengths, tokens, MISSING)
        return np.concatenate([inputs, inputs[:, ::-1]], axis=1)

    def network(self, form: Form, units: int) -> Network:
        build = attention_encoder_decoder if self.attention else encoder_decoder
        return build(form, self.longest, self.longest, units, masked=True)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [Reverse]
