"""Remember a sequence over a long pause: the copying memory task.

::

    input       7 3 1 . . . . . . . > . . .
    target      . . . . . . . . . . . 7 3 1      (items = 3, blanks = 8)
    network     LSTM, one output a step

`items` tokens, `blanks` - 1 blanks (`.`), a mark (`>`), and as many blanks as
there are items. The answer is blank up to the mark, then the items. As
Arjovsky, Shah and Bengio define it, "Unitary Evolution Recurrent Neural Networks",
2016, after Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997: 8
symbols, 10 items, blanks of 100 to 2,000, cross-entropy over all steps, Adam or
RMSProp at 0.001, batches of 20 sequences (`copy[symbols=8,items=10,blanks=100]`).
The default is smaller, so that two cores suffice. The metric here is that every
token is correct.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydantic import Field

from echobench import (
    Form,
    Framing,
    Integers,
    Network,
    Recipe,
    Task,
    hookimpl,
    sequence_to_sequence,
    uniform_sequences,
)

from ._recipes import divisions


class Copy(Task):
    """Copy six tokens after a pause."""

    name = "copy"
    recipes = divisions(
        "copy", Recipe(units=128, batch=1, sequences=20, epochs=5000, evaluate_every=100)
    )
    symbols: int = Field(default=32, ge=2, le=1_000_000)
    items: int = Field(default=6, ge=1, le=10_000)
    blanks: int = Field(default=5, ge=1, le=100_000)

    @property
    def vocabulary(self) -> int:
        """The symbols, the blank and the mark."""
        return self.symbols + 2

    @cached_property
    def framing(self) -> Framing:
        """One sample a row: the input; its last position is the blank of the answers."""
        steps = self.blanks + 2 * self.items
        positions = np.arange(steps)[np.newaxis]
        pause = np.full((1, steps - self.items), steps - 1)
        return Framing(positions, np.concatenate([pause, positions[:, : self.items]], axis=1))

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw items; append pause, mark and blanks, [count, 2 items + blanks]."""
        items = uniform_sequences(rng, count, self.items, self.symbols)
        rest = np.full((count, self.blanks + self.items), self.symbols)
        rest[:, self.blanks - 1] = self.symbols + 1
        return np.concatenate([items, rest], axis=1)

    def network(self, form: Form, units: int) -> Network:
        return sequence_to_sequence(form, self.blanks + 2 * self.items, units)


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    return [Copy]
