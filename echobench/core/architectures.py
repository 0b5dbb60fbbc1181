"""The echo networks and their alternate topologies, defined once.

A network is written against a *form*: the same layers, the same weights in the
same order, for different uses. Keras' forms are in `forms.py`: what a reader of
the tutorial would write, what is saved, and what the fused engines compile.
`outline.py` has one that only writes down which layers there are, for programs
that do without Keras.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from echobench.core.coding import Coding

Tensor = Any
"""What a form hands from layer to layer: a symbolic Keras tensor, or an outline's place."""


@dataclass
class Network:
    """A built network.

    Attributes:
        model: in Keras' forms a `keras.Model`, input x and output y; [x, *states] and
            [y, *states] where the form carries states. In an outline its layers.
        state_units: widths of the carried states, in order; empty without.
    """

    model: Any
    state_units: list[int] = field(default_factory=list)


class Form(ABC):
    """How the layers of a network are made.

    In Keras' forms a network may mix them with layers of Keras' own, as long as it
    carries no other state: `keras.layers.Attention()([queries, values])`, say.

    Args:
        coding: how tokens are represented, in and out.
        carry: whether each recurrent layer's state comes in as an input and
            goes out as an output; without, every call starts at zero.
    """

    def __init__(self, coding: Coding, carry: bool) -> None:
        self.coding = coding
        self.carry = carry

    @abstractmethod
    def input(self, steps: int) -> Tensor:
        """Return the network's input: `steps` tokens."""

    @abstractmethod
    def skip_missing(self, x: Tensor) -> Tensor:
        """Have the LSTM that follows skip the missing tokens of the input x."""

    @abstractmethod
    def steps_as_features(self, x: Tensor) -> Tensor:
        """Take the timesteps of the input x as features of a single step."""

    @abstractmethod
    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply an LSTM to x [samples, steps, features].

        Args:
            x: its input; [samples, features] when `repeat` is given.
            units: width of the state.
            sequences: return every step [samples, steps, units], not only the last.
            repeat: feed the vector x this many times (Keras' RepeatVector).
        """

    @abstractmethod
    def attention(self, queries: Tensor, values: Tensor) -> Tensor:
        """Return queries, and beside each what dot-product attention finds in the values.

        Skipped tokens of the input, to whose steps the values belong, get no attention.
        Shapes: [samples, n, units] and [samples, steps, units] to [samples, n, 2 units].
        """

    @abstractmethod
    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply one output layer to every step of x [samples, steps, features]."""

    @abstractmethod
    def output_at_once(self, x: Tensor, steps: int) -> Tensor:
        """Take the output for all `steps` as one vector, from x [samples, features]."""

    @abstractmethod
    def network(self, y: Tensor) -> Network:
        """Close the network with its output."""


def sequence_to_sequence(form: Form, n_in: int, units: int, *, masked: bool = False) -> Network:
    """Whole echo: an LSTM with an output at every step.

    Shapes: [samples, n_in, width] to [samples, n_in, width], where `width` is
    the coding's; with `masked`, missing tokens are skipped.
    """
    x = form.input(n_in)
    if masked:
        x = form.skip_missing(x)
    x = form.lstm(x, units, sequences=True)
    return form.network(form.output_per_step(x))


def encoder_decoder(
    form: Form, n_in: int, n_out: int, units: int, *, masked: bool = False
) -> Network:
    """Partial echo: the encoder's last state is all that the decoder sees.

    Shapes: [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.input(n_in)
    if masked:
        x = form.skip_missing(x)
    x = form.lstm(x, units)
    x = form.lstm(x, units, sequences=True, repeat=n_out)
    return form.network(form.output_per_step(x))


def attention_encoder_decoder(
    form: Form, n_in: int, n_out: int, units: int, *, masked: bool = False
) -> Network:
    """Encoder and decoder, the decoder looking at every state of the encoder.

    Dot-product attention after the decoder (Luong et al. 2015). Shapes:
    [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.input(n_in)
    if masked:
        x = form.skip_missing(x)
    memory = form.lstm(x, units, sequences=True)
    decoded = form.lstm(memory[:, -1], units, sequences=True, repeat=n_out)
    return form.network(form.output_per_step(form.attention(decoded, memory)))


def many_to_one(form: Form, n_in: int, n_out: int, units: int) -> Network:
    """Alternate topology: the output is one vector of n_out * width.

    Shapes: [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.lstm(form.input(n_in), units)
    return form.network(form.output_at_once(x, n_out))


def one_to_one(form: Form, n_in: int, n_out: int, units: int) -> Network:
    """Alternate topology: timesteps are features of a single step, the output one vector.

    Shapes: [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.lstm(form.steps_as_features(form.input(n_in)), units)
    return form.network(form.output_at_once(x, n_out))
