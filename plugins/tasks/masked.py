"""Echo with missing values: the rows that the tutorial drops are kept.

::

    sequence    7   3   9   1   4   8 ...
    windows     .   .   .   .   7         target (whole)  .   .   .   .   7
                .   .   .   7   3                         .   .   .   7   3
                7   3   9   1   4                         7   3   9   1   4

Shifting leaves the first rows incomplete (`.`). With `how=mask` a Masking layer skips
missing inputs; with `how=value` they have a value of their own, one more symbol. In
both cases a missing target counts neither in the loss nor in the accuracy. If `n_out`
is less than `n_in`, the task is the partial echo. The closed recipes are the
tutorial's, in batches that divide 25 samples.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np

from echobench import (
    MISSING,
    EchoTask,
    Form,
    Framing,
    Integers,
    Network,
    encoder_decoder,
    hookimpl,
    sequence_to_sequence,
    to_supervised,
)

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, divisions


class Masked(EchoTask):
    """Echo windows of which some tokens are missing."""

    name = "masked"
    has_missing = True
    recipes = divisions("masked", TUTORIAL_WHOLE, batch=5)
    partial_recipes = divisions("masked[n_out=2]", TUTORIAL_PARTIAL, batch=25)
    how: Literal["mask", "value"] = "mask"

    @property
    def vocabulary(self) -> int:
        """The symbols, and with `how=value` one for missing inputs."""
        return self.symbols + (self.how == "value")

    @cached_property
    def framing(self) -> Framing:
        """Windows that begin before the sequence, where they refer to the row's end."""
        steps = np.arange(self.length)[:, np.newaxis] - self.n_in + 1 + np.arange(self.n_in)
        inputs = np.where(steps < 0, self.length, steps)
        targets = np.where(steps < 0, self.length + 1, steps)[:, : self.n_targets]
        return Framing(inputs, targets)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw sequences, after each a missing input and a missing target, [count, length + 2]."""
        missing = np.array([self.symbols if self.how == "value" else MISSING, MISSING])
        rows = super().sample(rng, count)
        return np.concatenate([rows, np.broadcast_to(missing, (count, 2))], axis=1)

    def supervised(self, row: Integers) -> tuple[Integers, Integers]:
        """Frame one sequence with pandas, and keep incomplete rows."""
        x, y = to_supervised(row[: self.length], self.n_in, self.n_targets, keep_missing=True)
        return np.where(x == MISSING, row[self.length], x), y

    def network(self, form: Form, units: int) -> Network:
        """Build the tutorial's network, with a Masking layer if `how=mask`."""
        masked = self.how == "mask"
        if self.is_partial:
            return encoder_decoder(form, self.n_in, self.n_targets, units, masked=masked)
        return sequence_to_sequence(form, self.n_in, units, masked=masked)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Masked]
