"""Two LSTM layers with Keras' weights and function, one mended, one for compilers; an encoder."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from echobench.core.coding import Coding
from echobench.core.recurrence import recurrence

Tensor = Any


class TrackedLSTM(keras.layers.LSTM):  # type: ignore[misc] # Keras is untyped
    """`keras.layers.LSTM` whose stateful variables the model knows about.

    Keras (3.15) keeps them out of the model's variables. A compiled step on JAX
    then has nowhere to return them, and `stateful=True` silently starts every
    batch at zero.

    Attributes:
        stepped: whether it ran its cell step by step: Keras tries the backend's fused
            kernel first, and tells nobody which one it took.
        calls: how often Python ran it: where it is compiled, once for each program.
    """

    stepped = False
    calls = 0

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build as Keras does, track the state, and watch the cell."""
        super().build(sequences_shape, initial_state_shape)
        self.tracked_states = list(self.states or [])  # none where it is stateless
        call = self.cell.call

        @functools.wraps(call)
        def watched(*inputs: Any, **options: Any) -> Any:
            self.stepped = True
            return call(*inputs, **options)

        self.cell.call = watched

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor = None,
        training: Any = None,
    ) -> Any:
        """Do as Keras does, and count."""
        self.calls += 1
        return super().call(sequences, initial_state, mask, training)


def nothing(shape: Any, dtype: Any = None) -> Any:
    """Initialize a weight with zeros, without a framework's help."""
    return np.zeros(shape, dtype)


class Encode(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
    """Integers [samples, steps] as vectors [samples, steps, width].

    Args:
        coding: how.
    """

    def __init__(self, coding: Coding) -> None:
        super().__init__()
        self.coding = coding

    def call(self, tokens: Tensor) -> Tensor:
        """Encode."""
        return self.coding.encode_tensor(tokens)


class UnrolledLSTM(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
    """An LSTM whose steps lie in the open, so that a compiler can see through them.

    It holds the weights of `keras.layers.LSTM` (kernel [features, 4 units],
    recurrent kernel [units, 4 units], bias [4 units], gates in the order input,
    forget, cell, output), in that order, and computes the same function
    (Hochreiter and Schmidhuber 1997, with a forget gate). It differs in work:
    the inputs of all steps are projected in one product, one-hot inputs arrive
    as integers and are looked up instead of multiplied, a repeated input is
    projected once, nothing is multiplied by a state that is zero, and the steps may
    have a gradient of their own (`recurrence`).

    Args:
        units: width of the state.
        return_sequences: return [samples, steps, units] instead of [samples, units].
        symbols: the input is integers below this number, in place of their
            one-hot encoding: [samples, steps], or [samples, steps, k] where k
            of them are hot at once.
        missing: such an integer may be negative, for a vector of zeros.
        repeat: the input is one vector [samples, features], fed this many times.
        by_hand: whether the steps have a gradient of their own, where none is skipped.

    Called with `initial_state` [h, c] it returns (y, h, c), else y. Where
    `present` [samples, steps] is false, the step leaves state and output as
    they are, as with Keras' Masking.
    """

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        symbols: int | None = None,
        missing: bool = False,
        repeat: int | None = None,
        by_hand: bool = True,
    ) -> None:
        super().__init__()
        self.by_hand = by_hand
        self.units = units
        self.return_sequences = return_sequences
        self.symbols = symbols
        self.missing = missing
        self.repeat = repeat

    def build(
        self, x_shape: Any, initial_state_shape: Any = None, present_shape: Any = None
    ) -> None:
        """Create the weights, by the names that Keras gives them."""
        self.steps: int = self.repeat or x_shape[1]
        features = self.symbols or x_shape[-1]
        width = 4 * self.units
        # What they are at first comes from outside; to draw it here would take compiling.
        self.kernel = self.add_weight((features, width), nothing, name="kernel")
        self.recurrent_kernel = self.add_weight(
            (self.units, width), nothing, name="recurrent_kernel"
        )
        self.bias = self.add_weight((width,), nothing, name="bias")

    def compute_output_shape(
        self, x_shape: Any, initial_state_shape: Any = None, present_shape: Any = None
    ) -> Any:
        """Return the shape of y, and of h and c where the state is carried."""
        steps = self.repeat or x_shape[1]
        state = (x_shape[0], self.units)
        y = (x_shape[0], steps, self.units) if self.return_sequences else state
        return y if initial_state_shape is None else (y, state, state)

    def call(
        self, x: Tensor, initial_state: list[Tensor] | None = None, present: Tensor = None
    ) -> Tensor:
        """Run all steps; see the class."""
        inputs = self._projected(x)
        if self.by_hand and present is None:
            y, h, c = self._recurrent(inputs, initial_state)
        else:
            y, h, c = self._unrolled(inputs, initial_state, present)
        return y if initial_state is None else (y, h, c)

    def _projected(self, x: Tensor) -> Tensor:
        """Return x times the kernel plus bias, for all steps."""
        if not self.symbols:
            return ops.matmul(x, self.kernel) + self.bias
        if self.missing:
            there = ops.cast(ops.expand_dims(x >= 0, -1), "float32")
            rows = ops.take(self.kernel, ops.maximum(x, 0), axis=0) * there
        else:
            rows = ops.take(self.kernel, x, axis=0)
        if len(x.shape) == 3:
            rows = ops.sum(rows, axis=2)
        return rows + self.bias

    def _recurrent(self, inputs: Tensor, initial_state: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, and the last h and c (None where it is not carried)."""
        run = recurrence(
            repeat=self.repeat,
            sequences=self.return_sequences,
            carried=initial_state is not None,
        )
        steps_first = inputs if self.repeat else ops.transpose(inputs, (1, 0, 2))
        # A tensor: TensorFlow takes no variable for an argument with a gradient by hand.
        kernel = ops.reshape(self.recurrent_kernel, (self.units, -1))
        outputs, c = run(steps_first, kernel, *(initial_state or []))
        h = outputs[-1]
        return ops.stack(outputs, axis=1) if self.return_sequences else h, h, c

    def _unrolled(
        self, inputs: Tensor, initial_state: Any, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do as `_recurrent`, left to differentiation; steps may be skipped."""
        h, c = initial_state or (None, None)
        if present is not None and h is None:
            h = c = ops.zeros((inputs.shape[0], self.units))
        outputs = []
        for step in range(self.steps):
            z = inputs if self.repeat else inputs[:, step]
            h, c = self._step(z, h, c, None if present is None else present[:, step])
            outputs.append(h)
        return ops.stack(outputs, axis=1) if self.return_sequences else h, h, c

    def _step(self, z: Tensor, h: Tensor, c: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Make one step from the projected input z; h and c are None at zero."""
        before = h, c
        if h is not None:
            z = z + ops.matmul(h, self.recurrent_kernel)
        i, f, g, o = ops.split(z, 4, axis=-1)
        update = ops.sigmoid(i) * ops.tanh(g)
        c = update if c is None else ops.sigmoid(f) * c + update
        h = ops.sigmoid(o) * ops.tanh(c)
        if present is None:
            return h, c
        there = ops.expand_dims(present, -1)
        return ops.where(there, h, before[0]), ops.where(there, c, before[1])
