"""The forms of a network in Keras: `PlainForm` is saved, `FusedForm` is compiled.

Both carry the recurrent state as an explicit input and output, which means the same on
every backend: Keras' stateful layers fail in the backward pass on torch, and lose their
state in compiled steps on JAX. The tutorial's form, with stateful layers, is in `fit.py`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from echobench.core.architectures import Form, Network
from echobench.core.coding import Coding, OneHot, Tensor
from echobench.core.layers import Affine, Encode, UnrolledLSTM, zeros

LONGEST_UNROLLED = 64
"""The most steps for which the fused engines unroll an LSTM."""


class KerasForm(Form):
    """The parts that Keras' forms share: inputs, states, attention and one of the outputs."""

    def __init__(self, coding: Coding, carry: bool) -> None:
        super().__init__(coding, carry)
        self._inputs: list[Tensor] = []
        self._states: list[Tensor] = []
        self._masked: Tensor = None
        self._mask: Tensor = None

    def output_at_once(self, x: Tensor, steps: int) -> Tensor:
        x = self._dense(steps * self.coding.width)(x)
        x = keras.layers.Reshape((steps, self.coding.width))(x)
        return self._activated(x)

    def attention(self, queries: Tensor, values: Tensor) -> Tensor:
        attended = keras.layers.Attention()([queries, values], mask=[None, self._mask])
        return keras.layers.Concatenate()([queries, attended])

    def network(self, y: Tensor) -> Network:
        if not self._states:
            return Network(keras.Model(self._inputs[0], y))
        model = keras.Model(self._inputs, [y, *self._states])
        return Network(model, [state.shape[-1] for state in self._states])

    def _keras_lstm(
        self, x: Tensor, units: int, sequences: bool, repeat: int | None, masked: bool
    ) -> Tensor:
        """Apply `keras.layers.LSTM`, after RepeatVector if `repeat` is given."""
        if repeat is not None:
            x = keras.layers.RepeatVector(repeat)(x)
        # Keras passes a mask on by itself, but not to a layer that has an initial state.
        options = {"mask": self._mask} if masked else {}
        return self._recurrent(self._layer(units, sequences), x, units, **options)

    def _dense(self, units: int) -> Any:
        """Return a Dense layer without an activation."""
        return keras.layers.Dense(units)

    def _activated(self, x: Tensor) -> Tensor:
        return keras.layers.Activation(self.coding.activation)(x)

    def _layer(self, units: int, sequences: bool) -> Any:
        return keras.layers.LSTM(units, return_sequences=sequences, return_state=self.carry)

    def _recurrent(self, layer: Any, x: Tensor, units: int, **options: Any) -> Tensor:
        """Apply an LSTM; where states are carried, as an input and output of the network."""
        if not self.carry:
            return layer(x, **options)
        states = [keras.Input((units,)), keras.Input((units,))]
        y, *new_states = layer(x, initial_state=states, **options)
        self._inputs += states
        self._states += new_states
        return y


class PlainForm(KerasForm):
    """Only Keras' own layers, on encoded inputs: the network that `--save-models` writes."""

    _batch: int | None = None

    def input(self, steps: int) -> Tensor:
        self._inputs = [keras.Input((steps, self.coding.width), batch_size=self._batch)]
        return self._inputs[0]

    def skip_missing(self, x: Tensor) -> Tensor:
        """Apply `keras.layers.Masking`, and keep its mask for the layers that need it."""
        layer = keras.layers.Masking(self.coding.missing)
        self._mask = layer.compute_mask(x)
        self._masked = layer(x)
        return self._masked

    def steps_as_features(self, x: Tensor) -> Tensor:
        return keras.layers.Reshape((1, x.shape[1] * x.shape[2]))(x)

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        return self._keras_lstm(x, units, sequences, repeat, masked=x is self._masked)

    def output_per_step(self, x: Tensor) -> Tensor:
        dense = keras.layers.Dense(self.coding.width, activation=self.coding.activation)
        return keras.layers.TimeDistributed(dense)(x)


class FusedForm(KerasForm):
    """Unrolled layers on integers.

    A one-hot token that goes straight into an LSTM stays an integer, for a lookup;
    everywhere else it is encoded. Sequences of more than `LONGEST_UNROLLED` steps use
    Keras' own LSTM and its loop: unrolled, they would take longer to compile than they
    save.

    Args:
        coding, carry: see `Form`.
        missing: whether an input may hold `MISSING`.
        custom_gradient: see `UnrolledLSTM`.

    Attributes:
        logits: whether the network, once built, returns logits: where it ends with a softmax,
            this is left to the loss.
    """

    def __init__(
        self, coding: Coding, carry: bool, missing: bool, *, custom_gradient: bool = True
    ) -> None:
        super().__init__(coding, carry)
        self._custom_gradient = custom_gradient
        self._missing = missing
        self._symbols: int | None = None
        self._looked_up: Tensor = None
        self._softmax: Tensor = None
        self._logits: Tensor = None
        self.logits = False

    def input(self, steps: int) -> Tensor:
        """Return integers [samples, steps] for a lookup, or their encoding if it is not one-hot."""
        tokens = keras.Input((steps,), dtype="int32")
        self._inputs = [tokens]
        if isinstance(self.coding, OneHot):
            self._symbols = self.coding.width
            self._looked_up = tokens
            return tokens
        return Encode(self.coding)(tokens)

    def skip_missing(self, x: Tensor) -> Tensor:
        """Keep which tokens are present for the layers that need it."""
        self._mask = self._inputs[0] >= 0
        self._masked = x
        return x

    def steps_as_features(self, x: Tensor) -> Tensor:
        """Give each step symbols of its own, and make all of them hot in a single step."""
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
        """Apply `UnrolledLSTM`, or Keras' own LSTM if the sequence is long."""
        if (repeat or x.shape[1]) > LONGEST_UNROLLED:
            encoded = Encode(self.coding)(x) if x is self._looked_up else x
            return self._keras_lstm(encoded, units, sequences, repeat, masked=x is self._masked)
        symbols = self._symbols if x is self._looked_up else None
        layer = UnrolledLSTM(
            units,
            return_sequences=sequences,
            symbols=symbols,
            missing=symbols is not None and self._missing,
            repeat=repeat,
            custom_gradient=self._custom_gradient,
        )
        options = {"present": self._mask} if x is self._masked else {}
        return self._recurrent(layer, x, units, **options)

    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply one Dense layer to all steps at once: the same function as TimeDistributed."""
        return self._activated(self._dense(self.coding.width)(x))

    def network(self, y: Tensor) -> Network:
        """Return the network that ends with y, or with its logits."""
        self.logits = y is self._softmax and isinstance(self.coding, OneHot)
        return super().network(self._logits if self.logits else y)

    def _dense(self, units: int) -> Any:
        return Affine(units, custom_gradient=self._custom_gradient, kernel_initializer=zeros)

    def _activated(self, x: Tensor) -> Tensor:
        self._logits = x
        self._softmax = super()._activated(x)
        return self._softmax
