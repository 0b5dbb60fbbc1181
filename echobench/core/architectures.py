"""The echo networks and their alternate topologies, defined once, in Keras 3.

A network is written against a *form*: the same layers, the same weights in the
same order, for different uses. `StatefulForm` is what a reader of the tutorial
would write; `PlainForm` is what is saved (`keras.layers.LSTM`, encoded inputs);
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
import numpy as np

from echobench.core.coding import Coding, OneHot
from echobench.core.layers import Encode, TrackedLSTM, UnrolledLSTM

Tensor = Any
"""A tensor of the backend at hand, or a symbolic Keras tensor."""

LONGEST_UNROLLED = 64
"""Steps up to which the fused engines unroll an LSTM."""


@dataclass
class Network:
    """A built network.

    Attributes:
        model: input x and output y; [x, *states] and [y, *states] where the form
            carries states.
        state_units: widths of the carried states, in order; empty without.
    """

    model: keras.Model
    state_units: list[int] = field(default_factory=list)


class Form(ABC):
    """How the layers of a network are made.

    A network may mix them with layers of Keras' own, as long as it carries no
    other state: `keras.layers.Attention()([queries, values])`, say.

    Args:
        coding: how tokens are represented, in and out.
        carry: whether each recurrent layer's state comes in as an input and
            goes out as an output; without, every call starts at zero.
    """

    def __init__(self, coding: Coding, carry: bool) -> None:
        self.coding = coding
        self.carry = carry
        self._inputs: list[Tensor] = []
        self._states: list[Tensor] = []
        self._masked: Tensor = None
        self._mask: Tensor = None

    @abstractmethod
    def input(self, steps: int) -> Tensor:
        """Return the network's input: `steps` tokens."""

    @abstractmethod
    def masked(self, x: Tensor) -> Tensor:
        """Have the LSTM that follows skip the missing tokens of the input x."""

    @abstractmethod
    def as_features(self, x: Tensor) -> Tensor:
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
    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply one output layer to every step of x [samples, steps, features]."""

    def output_at_once(self, x: Tensor, steps: int) -> Tensor:
        """Take the output for all `steps` as one vector, from x [samples, features]."""
        x = keras.layers.Dense(steps * self.coding.width)(x)
        x = keras.layers.Reshape((steps, self.coding.width))(x)
        return keras.layers.Activation(self.coding.activation)(x)

    def attention(self, queries: Tensor, values: Tensor) -> Tensor:
        """Apply `keras.layers.Attention` over values [samples, steps, units].

        Skipped tokens of the input, to whose steps the values belong, get no attention.
        """
        return keras.layers.Attention()([queries, values], mask=[None, self._mask])

    def network(self, y: Tensor) -> Network:
        """Close the network with its output."""
        if not self._states:
            return Network(keras.Model(self._inputs[0], y))
        model = keras.Model(self._inputs, [y, *self._states])
        return Network(model, [state.shape[-1] for state in self._states])

    def _carried(self, layer: Any, x: Tensor, units: int, **options: Any) -> Tensor:
        """Apply a layer with its state as an input and an output of the network."""
        states = [keras.Input((units,)), keras.Input((units,))]
        y, *new_states = layer(x, initial_state=states, **options)
        self._inputs += states
        self._states += new_states
        return y


def sequence_to_sequence(form: Form, n_in: int, units: int, *, masked: bool = False) -> Network:
    """Whole echo: an LSTM with an output at every step.

    Shapes: [samples, n_in, width] to [samples, n_in, width], where `width` is
    the coding's; with `masked`, missing tokens are skipped.
    """
    x = form.input(n_in)
    if masked:
        x = form.masked(x)
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
        x = form.masked(x)
    x = form.lstm(x, units)
    x = form.lstm(x, units, sequences=True, repeat=n_out)
    return form.network(form.output_per_step(x))


def attention_encoder_decoder(
    form: Form, n_in: int, n_out: int, units: int, *, masked: bool = False
) -> Network:
    """Encoder and decoder, the decoder looking at every state of the encoder.

    Dot-product attention after the decoder (Luong et al. 2015), with Keras' own
    layers. Shapes: [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.input(n_in)
    if masked:
        x = form.masked(x)
    memory = form.lstm(x, units, sequences=True)
    decoded = form.lstm(memory[:, -1], units, sequences=True, repeat=n_out)
    context = form.attention(decoded, memory)
    return form.network(form.output_per_step(keras.layers.Concatenate()([decoded, context])))


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
    x = form.lstm(form.as_features(form.input(n_in)), units)
    return form.network(form.output_at_once(x, n_out))


class PlainForm(Form):
    """Keras' own layers on encoded inputs, nothing else: what `--save-models` writes."""

    def input(self, steps: int) -> Tensor:
        """Return an encoded input [samples, steps, width]."""
        self._inputs = [keras.Input((steps, self.coding.width))]
        return self._inputs[0]

    def masked(self, x: Tensor) -> Tensor:
        """Apply `keras.layers.Masking`, and keep its mask at hand."""
        layer = keras.layers.Masking(self.coding.missing)
        self._mask = layer.compute_mask(x)
        self._masked = layer(x)
        return self._masked

    def as_features(self, x: Tensor) -> Tensor:
        """Apply `keras.layers.Reshape`."""
        return keras.layers.Reshape((1, x.shape[1] * x.shape[2]))(x)

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `keras.layers.LSTM`, after RepeatVector where asked for."""
        if repeat is not None:
            x = keras.layers.RepeatVector(repeat)(x)
        layer = self._layer(units, sequences)
        # Keras hands a mask on by itself, but not past an initial state.
        options = {"mask": self._mask} if x is self._masked else {}
        return self._carried(layer, x, units, **options) if self.carry else layer(x, **options)

    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply TimeDistributed(Dense), as the tutorial does."""
        dense = keras.layers.Dense(self.coding.width, activation=self.coding.activation)
        return keras.layers.TimeDistributed(dense)(x)

    def _layer(self, units: int, sequences: bool) -> Any:
        return keras.layers.LSTM(units, return_sequences=sequences, return_state=self.carry)


class StatefulForm(PlainForm):
    """The tutorial's layers, for a fixed batch: stateful, unless the recipe says otherwise.

    Args:
        coding: how tokens are represented.
        batch: samples of a batch.
        stateful: whether the layers keep their state from batch to batch.
        options: further arguments of `keras.layers.LSTM`.
    """

    def __init__(self, coding: Coding, batch: int, stateful: bool, **options: Any) -> None:
        super().__init__(coding, carry=False)
        self._batch = batch
        self._options = {"stateful": stateful, **options}

    def input(self, steps: int) -> Tensor:
        """Return an encoded input [batch, steps, width]."""
        self._inputs = [keras.Input(batch_shape=(self._batch, steps, self.coding.width))]
        return self._inputs[0]

    def _layer(self, units: int, sequences: bool) -> Any:
        return TrackedLSTM(units, return_sequences=sequences, **self._options)


class FusedForm(Form):
    """Unrolled layers on integers.

    A one-hot token that goes straight into an LSTM stays an integer, to be
    looked up; everywhere else it is encoded. Sequences of more than
    `LONGEST_UNROLLED` steps are left to Keras' own LSTM and its loop: unrolled,
    they would take longer to compile than they save.

    Args:
        coding: how tokens are represented.
        carry: see `Form`.
        missing: whether an input may hold `MISSING`.
    """

    def __init__(self, coding: Coding, carry: bool, missing: bool) -> None:
        super().__init__(coding, carry)
        self._missing = missing
        self._symbols: int | None = None
        self._looked_up: Tensor = None

    def input(self, steps: int) -> Tensor:
        """Return integers [samples, steps], or what encodes them where there is no lookup."""
        tokens = keras.Input((steps,), dtype="int32")
        self._inputs = [tokens]
        if isinstance(self.coding, OneHot):
            self._symbols = self.coding.width
            self._looked_up = tokens
            return tokens
        return Encode(self.coding)(tokens)

    def masked(self, x: Tensor) -> Tensor:
        """Remember which tokens are there, for the LSTM that follows."""
        self._mask = self._inputs[0] >= 0
        self._masked = x
        return x

    def as_features(self, x: Tensor) -> Tensor:
        """Give each step symbols of its own, all of them hot in a single step."""
        steps = self._inputs[0].shape[1]
        if self._symbols is None:
            return keras.layers.Reshape((1, steps * self.coding.width))(x)
        offsets = np.arange(steps, dtype=np.int32) * self._symbols
        if self._missing:
            raise NotImplementedError("timesteps as features, with missing tokens")
        self._looked_up = keras.ops.expand_dims(x + offsets, 1)
        self._symbols *= steps
        return self._looked_up

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `UnrolledLSTM`, or Keras' where the sequence is long."""
        if (repeat or x.shape[1]) > LONGEST_UNROLLED:
            return self._looped_lstm(x, units, sequences, repeat)
        symbols = self._symbols if x is self._looked_up else None
        layer = UnrolledLSTM(
            units,
            return_sequences=sequences,
            symbols=symbols,
            missing=symbols is not None and self._missing,
            repeat=repeat,
        )
        options = {"present": self._mask} if x is self._masked else {}
        return self._carried(layer, x, units, **options) if self.carry else layer(x, **options)

    def _looped_lstm(self, x: Tensor, units: int, sequences: bool, repeat: int | None) -> Tensor:
        layer = keras.layers.LSTM(units, return_sequences=sequences, return_state=self.carry)
        options = {"mask": self._mask} if x is self._masked else {}
        if x is self._looked_up:
            x = Encode(self.coding)(x)
        elif repeat is not None:
            x = keras.layers.RepeatVector(repeat)(x)
        return self._carried(layer, x, units, **options) if self.carry else layer(x, **options)

    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply one Dense to all steps at once: the same function as TimeDistributed."""
        return keras.layers.Dense(self.coding.width, activation=self.coding.activation)(x)
