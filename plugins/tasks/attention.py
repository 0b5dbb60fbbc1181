r"""Echo a long window: encoder and decoder with attention.

::

    time        1   2   3 ... 12 | 13  14  15 ... 24
    input       7   3   9 ...  2 |
    target                       |  7   3   9 ...  2
    network     encoder LSTM ----vector---> decoder LSTM
                     \____all states____> attention --> one output a step

The decoder sees every state of the encoder, through Keras' own dot-product
attention, so the window need not fit into one vector. Bahdanau et al.,
"Neural Machine Translation by Jointly Learning to Align and Translate", 2015;
the attention after the decoder is that of Luong et al., "Effective Approaches
to Attention-based Neural Machine Translation", 2015. The closed recipe is the
tutorial's for the partial echo.
"""

from __future__ import annotations

from pydantic import Field

from echobench import EchoTask, Form, Network, attention_encoder_decoder, hookimpl

from ._recipes import TUTORIAL_PARTIAL, divisions


class Attention(EchoTask):
    """Echo twelve of twelve with attention."""

    name = "attention"
    recipes = divisions("attention", TUTORIAL_PARTIAL, batch=14)
    n_in: int = Field(default=12, ge=1)

    def network(self, form: Form, units: int) -> Network:
        return attention_encoder_decoder(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Attention]
