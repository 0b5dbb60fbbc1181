"""The two echo networks, defined once, in Keras 3.

A network is written against a *form*: the same layers, the same weights in the
same order, for different uses. `PlainForm` is what a reader of the tutorial
would write and what is saved (`keras.layers.LSTM`, one-hot inputs); `FusedForm`
is what the fused engines compile: integers in, the recurrent state an explicit
input and output, so that it is carried as data on every backend (stateful
layers fail in Keras-torch's backward pass).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import keras

from echobench.core.layers import UnrolledLSTM

Tensor = Any
"""A tensor of the backend at hand, or a symbolic Keras tensor."""


@dataclass
class Network:
    """A built network.

    Attributes:
        model: inputs [x, *states] and outputs [y, *states], states only where
            the form carries them.
        state_units: widths of the carried states, in order; empty without.
    """

    model: keras.Model
    state_units: list[int] = field(default_factory=list)


class Form(ABC):
    """How the layers of a network are made."""

    @abstractmethod
    def input(self, steps: int, symbols: int) -> Tensor:
        """Return the network's input: `steps` symbols."""

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
    def softmax_per_step(self, x: Tensor, symbols: int) -> Tensor:
        """Apply one softmax layer to every step of x [samples, steps, features]."""

    @abstractmethod
    def network(self, y: Tensor) -> Network:
        """Close the network with its output."""


def sequence_to_sequence(form: Form, n_in: int, symbols: int, units: int) -> Network:
    """Whole echo: an LSTM with an output at every step.

    Shapes: [samples, n_in, symbols] to [samples, n_in, symbols].
    """
    x = form.input(n_in, symbols)
    x = form.lstm(x, units, sequences=True)
    return form.network(form.softmax_per_step(x, symbols))


def encoder_decoder(form: Form, n_in: int, n_out: int, symbols: int, units: int) -> Network:
    """Partial echo: the encoder's last state is all that the decoder sees.

    Shapes: [samples, n_in, symbols] to [samples, n_out, symbols].
    """
    x = form.input(n_in, symbols)
    x = form.lstm(x, units)
    x = form.lstm(x, units, sequences=True, repeat=n_out)
    return form.network(form.softmax_per_step(x, symbols))


class PlainForm(Form):
    """Keras' own layers, nothing else: what `--save-models` writes.

    Args:
        batch: samples of a batch, for layers that keep their state between
            calls; None for stateless layers and any batch.
        options: further arguments of `keras.layers.LSTM`.
    """

    def __init__(self, batch: int | None = None, **options: Any) -> None:
        self._batch = batch
        self._options = options
        self._input: Tensor = None

    def input(self, steps: int, symbols: int) -> Tensor:
        """Return a one-hot input [batch, steps, symbols]."""
        self._input = keras.Input(batch_shape=(self._batch, steps, symbols))
        return self._input

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `keras.layers.LSTM`, after RepeatVector where asked for."""
        if repeat is not None:
            x = keras.layers.RepeatVector(repeat)(x)
        stateful = self._batch is not None
        layer = keras.layers.LSTM(
            units, return_sequences=sequences, stateful=stateful, **self._options
        )
        return layer(x)

    def softmax_per_step(self, x: Tensor, symbols: int) -> Tensor:
        """Apply TimeDistributed(Dense), as the tutorial does."""
        return keras.layers.TimeDistributed(keras.layers.Dense(symbols, activation="softmax"))(x)

    def network(self, y: Tensor) -> Network:
        """Return the model from one-hot input to probabilities."""
        return Network(keras.Model(self._input, y))


class FusedForm(Form):
    """Unrolled layers on integers, with the state as data.

    Args:
        carry: whether states come in and go out; without, each call starts at zero.
    """

    def __init__(self, carry: bool) -> None:
        self._carry = carry
        self._symbols = 0
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []

    def input(self, steps: int, symbols: int) -> Tensor:
        """Return an integer input [samples, steps]."""
        self._symbols = symbols
        self._inputs = [keras.Input((steps,), dtype="int32")]
        return self._inputs[0]

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `UnrolledLSTM`; its state joins the model's inputs and outputs."""
        symbols = self._symbols if x is self._inputs[0] else None
        layer = UnrolledLSTM(units, return_sequences=sequences, symbols=symbols, repeat=repeat)
        if not self._carry:
            return layer(x)
        states = [keras.Input((units,)), keras.Input((units,))]
        y, *new_states = layer(x, initial_state=states)
        self._inputs += states
        self._outputs += new_states
        return y

    def softmax_per_step(self, x: Tensor, symbols: int) -> Tensor:
        """Apply one Dense to all steps at once: the same function as TimeDistributed."""
        return keras.layers.Dense(symbols, activation="softmax")(x)

    def network(self, y: Tensor) -> Network:
        """Return the model [tokens, *states] -> [probabilities, *states]."""
        model = keras.Model(self._inputs, [y, *self._outputs])
        return Network(model, [state.shape[-1] for state in self._outputs])
