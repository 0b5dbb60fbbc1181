"""Echo many observations through one vector: encoder and decoder.

::

    time        1   2   3 ...  8 | 9  10  11 ... 16
    input       7   3   9 ...  2 |
    target                       | 7   3   9 ...  2
    network     encoder LSTM ----vector---> decoder LSTM, one output a step

All that the decoder sees of the window is one vector, whose width limits how much can
be echoed. `n_in` and `n_out` go up to 25, the tutorial's whole sequence.
The closed recipe is the tutorial's for the partial echo.
"""

from __future__ import annotations

from pydantic import Field

from echobench import EchoTask, Form, Network, encoder_decoder, hookimpl

from ._recipes import TUTORIAL_PARTIAL, divisions


class LongEcho(EchoTask):
    """Echo eight of eight through one vector."""

    name = "long-echo"
    recipes = divisions("long-echo", TUTORIAL_PARTIAL, batch=18)
    n_in: int = Field(default=8, ge=1)

    def network(self, form: Form, units: int) -> Network:
        return encoder_decoder(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [LongEcho]
