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

from typing import ClassVar

from pydantic import Field

from echobench import EchoTask, Form, Network, Recipe, attention_encoder_decoder, hookimpl

from ._recipes import TUTORIAL_PARTIAL, open_recipe


class Attention(EchoTask):
    """Echo twelve of twelve with attention."""

    name: ClassVar[str] = "attention"
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": TUTORIAL_PARTIAL.model_copy(update={"batch": 14}),
        "open": open_recipe("attention"),
    }
    n_in: int = Field(default=12, ge=1)

    def network(self, form: Form, units: int) -> Network:
        """Build encoder, decoder and attention."""
        return attention_encoder_decoder(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    """Register the task."""
    return [Attention]
