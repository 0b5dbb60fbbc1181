"""The two echo networks, defined once, in Keras 3.

A network is written against a *form*: the same layers, the same weights in the
same order, for different uses. `StatefulForm` is what a reader of the tutorial
would write; `PlainForm` is what is saved (`keras.layers.LSTM`, one-hot inputs);
`FusedForm` is what the fused engines compile. The last two carry the recurrent
state as an explicit input and output, as data, which means the same on every
backend: Keras' stateful layers fail in the backward pass on torch, and lose
their state in compiled steps on JAX.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import keras

from echobench.core.layers import TrackedLSTM, UnrolledLSTM

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
    """How the layers of a network are made.

    Args:
        carry: whether each recurrent layer's state comes in as an input and
            goes out as an output; without, every call starts at zero.
    """

    def __init__(self, carry: bool) -> None:
        self.carry = carry
        self._inputs: list[Tensor] = []
        self._states: list[Tensor] = []

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

    def network(self, y: Tensor) -> Network:
        """Close the network with its output."""
        model = keras.Model(self._inputs, [y, *self._states] if self._states else y)
        return Network(model, [state.shape[-1] for state in self._states])

    def _carried(self, layer: Any, x: Tensor, units: int) -> Tensor:
        """Apply a layer with its state as an input and an output of the network."""
        states = [keras.Input((units,)), keras.Input((units,))]
        y, *new_states = layer(x, initial_state=states)
        self._inputs += states
        self._states += new_states
        return y


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
    """Keras' own layers on one-hot inputs, nothing else: what `--save-models` writes."""

    def input(self, steps: int, symbols: int) -> Tensor:
        """Return a one-hot input [samples, steps, symbols]."""
        self._inputs = [keras.Input((steps, symbols))]
        return self._inputs[0]

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `keras.layers.LSTM`, after RepeatVector where asked for."""
        if repeat is not None:
            x = keras.layers.RepeatVector(repeat)(x)
        layer = self._layer(units, sequences)
        return self._carried(layer, x, units) if self.carry else layer(x)

    def softmax_per_step(self, x: Tensor, symbols: int) -> Tensor:
        """Apply TimeDistributed(Dense), as the tutorial does."""
        return keras.layers.TimeDistributed(keras.layers.Dense(symbols, activation="softmax"))(x)

    def _layer(self, units: int, sequences: bool) -> Any:
        return keras.layers.LSTM(units, return_sequences=sequences, return_state=self.carry)


class StatefulForm(PlainForm):
    """The tutorial's layers: stateful, for a fixed batch.

    Args:
        batch: samples of a batch.
        options: further arguments of `keras.layers.LSTM`.
    """

    def __init__(self, batch: int, **options: Any) -> None:
        super().__init__(carry=False)
        self._batch = batch
        self._options = options

    def input(self, steps: int, symbols: int) -> Tensor:
        """Return a one-hot input [batch, steps, symbols]."""
        self._inputs = [keras.Input(batch_shape=(self._batch, steps, symbols))]
        return self._inputs[0]

    def _layer(self, units: int, sequences: bool) -> Any:
        return TrackedLSTM(units, return_sequences=sequences, stateful=True, **self._options)


class FusedForm(Form):
    """Unrolled layers on integers."""

    def input(self, steps: int, symbols: int) -> Tensor:
        """Return an integer input [samples, steps]."""
        self._symbols = symbols
        self._inputs = [keras.Input((steps,), dtype="int32")]
        return self._inputs[0]

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `UnrolledLSTM`."""
        symbols = self._symbols if x is self._inputs[0] else None
        layer = UnrolledLSTM(units, return_sequences=sequences, symbols=symbols, repeat=repeat)
        return self._carried(layer, x, units) if self.carry else layer(x)

    def softmax_per_step(self, x: Tensor, symbols: int) -> Tensor:
        """Apply one Dense to all steps at once: the same function as TimeDistributed."""
        return keras.layers.Dense(symbols, activation="softmax")(x)
