"""The forms of a network in Keras: `PlainForm` is saved, `FusedForm` is compiled.

Both carry the recurrent state as an explicit input and output, which means the same on
every backend: Keras' stateful layers fail in the backward pass on torch, and lose their
state in compiled steps on JAX. The tutorial's form, with stateful layers, is in `fit.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from echobench.core.architectures import Form, Network
from echobench.core.coding import Coding, Tensor
from echobench.core.layers import Affine, Encode, UnrolledLSTM, zeros
from echobench.errors import NetworkError

LONGEST_UNROLLED = 64
"""The most steps for which the fused engines unroll an LSTM."""


DRAWING = (
    keras.initializers.Orthogonal,
    keras.initializers.RandomNormal,
    keras.initializers.RandomUniform,
    keras.initializers.TruncatedNormal,
    keras.initializers.VarianceScaling,
)
"""Keras' initializers that draw; those for sigmoid and relu derive from them."""


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Let trainable weights that Keras would draw begin as zeros: all of them are assigned later.

    Drawing them takes a second and more of compiling on JAX. What a layer draws that is no
    trainable weight is drawn: nobody assigns it.
    """
    add_weight = keras.layers.Layer.add_weight

    def adds_zeros(layer: Any, *given: Any, **options: Any) -> Any:
        asked = {**dict(zip(("shape", "initializer", "dtype"), given, strict=False)), **options}
        initializer = keras.initializers.get(asked.get("initializer") or "glorot_uniform")
        if asked.get("trainable", True) and isinstance(initializer, DRAWING):
            asked["initializer"] = zeros
        return add_weight(layer, **asked)

    keras.layers.Layer.add_weight = adds_zeros
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


class KerasForm(Form):
    """The parts that Keras' forms share: inputs, states, attention and one of the outputs."""

    def __init__(self, coding: Coding, carry: bool) -> None:
        super().__init__(coding, carry)
        self._inputs: list[Tensor] = []
        self._states: list[Tensor] = []
        self._encoded: Tensor = None
        self._mask: Tensor = None

    def output_at_once(self, x: Tensor, steps: int) -> Tensor:
        x = self._dense(steps * self.coding.width)(x)
        x = keras.layers.Reshape((steps, self.coding.width))(x)
        return self._activated(x)

    def attention(self, queries: Tensor, values: Tensor) -> Tensor:
        attended = keras.layers.Attention()([queries, values], mask=[None, self._mask])
        return keras.layers.Concatenate()([queries, attended])

    def network(self, y: Tensor) -> Network:
        if not self._inputs or not keras.backend.is_keras_tensor(y):
            raise NetworkError(
                "form.network(y): expected the output of a layer that form.input or form.tokens "
                f"leads to; received {type(y).__name__}"
            )
        shape = tuple(y.shape[1:])
        if not self._states:
            return Network(keras.Model(self._inputs[0], y), shape)
        model = keras.Model(self._inputs, [y, *self._states])
        return Network(model, shape, [state.shape[-1] for state in self._states])

    def skip_missing(self, x: Tensor) -> Tensor:
        """Apply `keras.layers.Masking`, whose mask Keras' layers pass on, as `lstm` does."""
        if x is None or x is not self._encoded:
            raise NetworkError(
                "form.skip_missing(x): expected what form.input returned, since only there the "
                "missing tokens are known; call it before all layers"
            )
        masked = keras.layers.Masking(self.coding.missing)(x)
        self._mask = masked._keras_mask
        return masked

    def _enter(self, shape: tuple[int, ...], **options: Any) -> Tensor:
        """Return the network's only input."""
        if self._inputs:
            raise NetworkError("expected one form.input or form.tokens in a network; received two")
        self._inputs = [keras.Input(shape, **options)]
        return self._inputs[0]

    def _keras_lstm(self, x: Tensor, units: int, sequences: bool, repeat: int | None) -> Tensor:
        """Apply `keras.layers.LSTM`, after RepeatVector if `repeat` is given."""
        # Keras passes a mask on by itself, but not to a layer that has an initial state.
        mask = getattr(x, "_keras_mask", None)
        if repeat is not None:
            x = keras.layers.RepeatVector(repeat)(x)
        options = {} if mask is None else {"mask": mask}
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
        self._encoded = self._enter((steps, self.coding.width), batch_size=self._batch)
        return self._encoded

    def tokens(self, steps: int) -> Tensor:
        return self._enter((steps,), batch_size=self._batch, dtype="int32")

    def steps_as_features(self, x: Tensor) -> Tensor:
        return keras.layers.Reshape((1, x.shape[1] * x.shape[2]))(x)

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        return self._keras_lstm(x, units, sequences, repeat)

    def output_per_step(self, x: Tensor) -> Tensor:
        dense = keras.layers.Dense(self.coding.width, activation=self.coding.activation)
        return keras.layers.TimeDistributed(dense)(_unmasked(x))

    def network(self, y: Tensor) -> Network:
        """Return the network that ends with y, without its mask: Keras' loss would apply it."""
        return super().network(_unmasked(y))


class _Lookup(NamedTuple):
    """What an encoded tensor is the one-hot encoding of: integers below `symbols`."""

    encoded: Tensor
    tokens: Tensor
    symbols: int


class FusedForm(KerasForm):
    """Unrolled layers; its model's input is integers.

    A layer gets them encoded, but `lstm` looks one-hot tokens up: it takes the integers of
    which its input is the encoding, which nothing then computes. Sequences of more than
    `LONGEST_UNROLLED` steps use Keras' own LSTM and its loop: unrolled, they would take
    longer to compile than they save.

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
        self._lookup: _Lookup | None = None
        self._softmax: Tensor = None
        self._logits: Tensor = None
        self.logits = False

    def input(self, steps: int) -> Tensor:
        tokens = self.tokens(steps)
        self._encoded = encoded = Encode(self.coding)(tokens)
        if self.coding.is_one_hot:
            self._lookup = _Lookup(encoded, tokens, self.coding.width)
        return encoded

    def tokens(self, steps: int) -> Tensor:
        return self._enter((steps,), dtype="int32")

    def skip_missing(self, x: Tensor) -> Tensor:
        """Mask as Keras does, by tokens; a lookup does without the masked input."""
        masked = super().skip_missing(x)
        masked._keras_mask = self._mask = self._inputs[0] >= 0
        if self._lookup is not None:
            self._lookup = self._lookup._replace(encoded=masked)
        return masked

    def steps_as_features(self, x: Tensor) -> Tensor:
        """Join the steps; for a lookup each gets symbols of its own, all hot in a single step."""
        _, steps, width = x.shape
        joined = keras.layers.Reshape((1, steps * width))(x)
        if self._lookup is not None and x is self._lookup.encoded and not self._missing:
            offsets = np.arange(steps, dtype=np.int32) * width
            tokens = keras.ops.expand_dims(self._lookup.tokens + offsets, 1)
            self._lookup = _Lookup(joined, tokens, steps * width)
        return joined

    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply `UnrolledLSTM`, or Keras' own LSTM if the sequence is long."""
        if (repeat or x.shape[1]) > LONGEST_UNROLLED:
            return self._keras_lstm(x, units, sequences, repeat)
        known = self._lookup is not None and x is self._lookup.encoded and repeat is None
        lookup = self._lookup if known else None
        layer = UnrolledLSTM(
            units,
            return_sequences=sequences,
            symbols=lookup and lookup.symbols,
            missing=lookup is not None and self._missing,
            repeat=repeat,
            custom_gradient=self._custom_gradient,
        )
        mask = getattr(x, "_keras_mask", None) if repeat is None else None
        options = {} if mask is None else {"present": mask}
        y = self._recurrent(layer, lookup.tokens if lookup else x, units, **options)
        if mask is not None and sequences:
            y._keras_mask = mask  # for the layers after it, as Keras' LSTM passes it on
        return y

    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply one Dense layer to all steps at once: the same function as TimeDistributed."""
        return self._activated(self._dense(self.coding.width)(x))

    def network(self, y: Tensor) -> Network:
        """Return the network that ends with y, or with its logits."""
        self.logits = y is not None and y is self._softmax and self.coding.has_logits
        return super().network(self._logits if self.logits else y)

    def _dense(self, units: int) -> Any:
        return Affine(units, custom_gradient=self._custom_gradient, kernel_initializer=zeros)

    def _activated(self, x: Tensor) -> Tensor:
        self._logits = x
        self._softmax = super()._activated(x)
        return self._softmax


def _unmasked(x: Tensor) -> Tensor:
    """Return x without Keras' mask, by an operation: none passes a mask on."""
    return x if getattr(x, "_keras_mask", None) is None else x * 1.0


def takes_tokens(model: Any) -> bool:
    """Return whether a network's input is tokens themselves; if not, they are encoded."""
    return str(model.inputs[0].dtype).startswith("int")
