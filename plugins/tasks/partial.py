"""Echo the first observations of a window: encoder and decoder.

::

    time        1   2   3   4   5 | 6   7
    input       7   3   9   1   4 |
    target                        | 7   3
    network     encoder LSTM ----vector---> decoder LSTM, one output a step

The decoder is the interesting part: it sees one vector of the encoder, and the output
may have another length than the input. The tutorial's recipe: 150 units,
all 21 samples of a sequence in one update, 5,000 epochs.
"""

from __future__ import annotations

from pydantic import Field

from echobench import EchoTask, Form, Network, encoder_decoder, hookimpl

from ._recipes import TUTORIAL_PARTIAL, divisions


class Partial(EchoTask):
    """Echo the oldest two of five."""

    n_out: int | None = Field(default=2, ge=1)

    name = "partial"
    recipes = divisions("partial", TUTORIAL_PARTIAL)

    def network(self, form: Form, units: int) -> Network:
        """Build encoder and decoder, even if `n_out` is `n_in`."""
        return encoder_decoder(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Partial]
