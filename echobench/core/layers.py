"""The layers of the fused engines: an unrolled LSTM with its gradient, and an encoder.

Automatic differentiation of unrolled steps computes the gradient of the recurrent kernel
with one product a step, and handles every gate apart. The custom gradient computes it in
one product over all steps, and the gates of a step in one pass. The equations are those
of Hochreiter and Schmidhuber (1997) with a forget gate, gates in Keras' order: input,
forget, cell, output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from echobench.core.coding import Coding, Tensor

LARGE = 2048
"""Numbers in a state, samples times units, from which an operation costs more than its start."""
MANY = 128
"""Samples from which a product over them is as fast for one step as for all steps together."""


def zeros(shape: Any, dtype: Any = None) -> Any:
    """Initialize a weight with zeros in NumPy: the real values are assigned later.

    Drawing them in the framework would take compiling.
    """
    return np.zeros(shape, dtype)


class Encode(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
    """Encodes integers [samples, steps] as vectors [samples, steps, width]."""

    def __init__(self, coding: Coding) -> None:
        super().__init__()
        self.coding = coding

    def compute_output_spec(self, tokens: Tensor) -> Tensor:
        """Return the shape, without tracing the coding."""
        return keras.KerasTensor((*tokens.shape, self.coding.width), "float32")

    def call(self, tokens: Tensor) -> Tensor:
        """Encode with the coding."""
        return self.coding.encode_tensor(tokens)


class Affine(keras.layers.Dense):  # type: ignore[misc] # Keras is untyped
    """A Dense layer without an activation, with a gradient that is made of products alone.

    Compilers sum a bias' gradient column by column, and transpose the output's gradient for that
    of the kernel; for small layers both take longer than the products.

    Args:
        units: width of the output.
        custom_gradient: whether to use this gradient instead of automatic differentiation.
        options: those of `keras.layers.Dense`.
    """

    def __init__(self, units: int, *, custom_gradient: bool = True, **options: Any) -> None:
        super().__init__(units, **options)
        self.custom_gradient = custom_gradient

    def call(self, x: Tensor) -> Tensor:
        """Return x [samples, ..., features] times the kernel plus bias."""
        if not self.custom_gradient:
            return super().call(x)
        rows = ops.reshape(x, (-1, x.shape[-1]))
        # As tensors: TensorFlow's custom gradients take no variables as arguments.
        kernel, bias = ops.reshape(self.kernel, self.kernel.shape), ops.reshape(self.bias, (-1,))
        y = _affine(rows, kernel, bias)
        return ops.reshape(y, (-1, *x.shape[1:-1], self.units))


@ops.custom_gradient  # type: ignore[untyped-decorator] # Keras is untyped
def _affine(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Callable[..., Any]]:
    def gradient(*args: Tensor, upstream: Tensor = None) -> tuple[Tensor, Tensor, Tensor]:
        dy = args[0] if upstream is None else upstream  # as the backend passes it
        dx = ops.matmul(dy, ops.transpose(kernel))
        dkernel = ops.matmul(ops.transpose(x), dy)
        dbias = ops.matmul(ops.ones((1, x.shape[0])), dy)[0]
        return dx, dkernel, dbias

    return ops.matmul(x, kernel) + bias, gradient


class UnrolledLSTM(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
    """An LSTM with its steps unrolled, so that a compiler can optimise across them.

    It has the weights of `keras.layers.LSTM` (kernel [features, 4 units], recurrent
    kernel [units, 4 units], bias [4 units]), in that order, and computes the same
    function with less work: the inputs of all steps are projected in one product,
    one-hot inputs arrive as integers and are looked up instead of multiplied, a repeated
    input is projected once, a zero state is not multiplied, and the steps may use a
    custom gradient (`recurrence`).

    Args:
        units: width of the state.
        return_sequences: return [samples, steps, units] instead of [samples, units].
        symbols: if given, the input is integers below this number instead of their
            one-hot encoding: [samples, steps], or [samples, steps, k] if k of them are hot
            at once.
        missing: whether such an integer may be negative, for a vector of zeros.
        repeat: if given, the input is one vector [samples, features], fed this many times.
        custom_gradient: whether to use the hand-written gradient instead of automatic
            differentiation; it does not apply if steps may be skipped.

    Called with `initial_state` [h, c] the layer returns (y, h, c), else y. Where
    `present` [samples, steps] is false, the step changes neither state nor output, as
    with Keras' Masking.
    """

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        symbols: int | None = None,
        missing: bool = False,
        repeat: int | None = None,
        custom_gradient: bool = True,
    ) -> None:
        super().__init__()
        self.supports_masking = True  # `present` is the mask, and FusedForm passes it on
        self.custom_gradient = custom_gradient
        self.units = units
        self.return_sequences = return_sequences
        self.symbols = symbols
        self.missing = missing
        self.repeat = repeat

    def build(
        self, x_shape: Any, initial_state_shape: Any = None, present_shape: Any = None
    ) -> None:
        """Create the weights, with Keras' names."""
        self.steps: int = self.repeat or x_shape[1]
        features = self.symbols or x_shape[-1]
        width = 4 * self.units
        self.kernel = self.add_weight((features, width), zeros, name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, width), zeros, name="recurrent_kernel")
        self.bias = self.add_weight((width,), zeros, name="bias")

    def compute_output_shape(
        self, x_shape: Any, initial_state_shape: Any = None, present_shape: Any = None
    ) -> Any:
        """Return the shape of y, and of h and c if there is an initial state."""
        steps = self.repeat or x_shape[1]
        state = (x_shape[0], self.units)
        y = (x_shape[0], steps, self.units) if self.return_sequences else state
        return y if initial_state_shape is None else (y, state, state)

    def compute_mask(self, x: Tensor, previous_mask: Tensor = None) -> None:
        """Return no mask."""

    def call(
        self, x: Tensor, initial_state: list[Tensor] | None = None, present: Tensor = None
    ) -> Tensor:
        """Run all steps; see the class."""
        inputs = self._project(x)
        if self.custom_gradient and present is None:
            y, h, c = self._recurrent(inputs, initial_state)
        else:
            y, h, c = self._unrolled(inputs, initial_state, present)
        return y if initial_state is None else (y, h, c)

    def _project(self, x: Tensor) -> Tensor:
        """Return x times the kernel plus bias, for all steps."""
        if not self.symbols:
            return ops.matmul(x, self.kernel) + self.bias
        if self.missing:
            present = ops.cast(ops.expand_dims(x >= 0, -1), "float32")
            rows = ops.take(self.kernel, ops.maximum(x, 0), axis=0) * present
        else:
            rows = ops.take(self.kernel, x, axis=0)
        if len(x.shape) == 3:
            rows = ops.sum(rows, axis=2)
        return rows + self.bias

    def _recurrent(self, inputs: Tensor, initial_state: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, and the last h and c; c is None without an initial state."""
        run = recurrence(
            repeat=self.repeat,
            sequences=self.return_sequences,
            carried=initial_state is not None,
        )
        steps_first = inputs if self.repeat else ops.transpose(inputs, (1, 0, 2))
        # As a tensor: TensorFlow's custom gradients take no variables as arguments.
        kernel = ops.reshape(self.recurrent_kernel, (self.units, -1))
        found = run(steps_first, kernel, *(initial_state or []))
        count = found.shape[0] - (initial_state is not None)
        h, c = found[count - 1], found[count] if initial_state else None
        return ops.transpose(found[:count], (1, 0, 2)) if self.return_sequences else h, h, c

    def _unrolled(
        self, inputs: Tensor, initial_state: Any, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do as `_recurrent`, for automatic differentiation; steps may be skipped."""
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
        """Return h and c after a step with projected input z; None stands for a zero state."""
        before = h, c
        if h is not None:
            z = z + ops.matmul(h, self.recurrent_kernel)
        i, f, g, o = ops.split(z, 4, axis=-1)
        update = ops.sigmoid(i) * ops.tanh(g)
        c = update if c is None else ops.sigmoid(f) * c + update
        h = ops.sigmoid(o) * ops.tanh(c)
        if present is None:
            return h, c
        mask = ops.expand_dims(present, -1)
        return ops.where(mask, h, before[0]), ops.where(mask, c, before[1])


class _Step(NamedTuple):
    """A step's values for the backward pass: its gates, c before it, and tanh of c after it."""

    gates: Tensor
    before: Tensor
    tanh: Tensor


def recurrence(*, repeat: int | None, sequences: bool, carried: bool) -> Callable[..., Tensor]:
    """Return a function that runs an LSTM's steps, with a custom gradient.

    It takes the projected inputs, [steps, samples, 4 units], or [samples, 4 units] to be
    fed `repeat` times; the recurrent kernel [units, 4 units]; and, if the state is
    `carried`, the initial h and c, [samples, units] each. Without these the state is zero
    and is not multiplied. It returns one tensor [n, samples, units], since Keras'
    custom_gradient takes no more on torch: the output of every step with `sequences`, else
    of the last; and after these the last c, if it is carried.
    """
    return ops.custom_gradient(_steps(repeat, sequences, carried))  # type: ignore[no-any-return]


def _steps(repeat: int | None, sequences: bool, carried: bool) -> Callable[..., Any]:
    def run(inputs: Tensor, kernel: Tensor, *state: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        h_before, c = state or (None, None)
        h, hs, steps = h_before, [], []
        for number in range(repeat or inputs.shape[0]):
            z = inputs if repeat else inputs[number]
            if h is not None:
                z = z + ops.matmul(h, kernel)
            gates = _activate(z)
            i, f, g, o = _split_gates(gates)
            before = c
            c = i * g if c is None else f * c + i * g
            tanh = ops.tanh(c)
            h = o * tanh
            hs.append(h)
            steps.append(_Step(gates, before, tanh))
        outputs = hs if sequences else hs[-1:]
        y = ops.stack([*outputs, c] if carried else outputs, axis=0)

        def gradient(*args: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
            dy = args[0] if upstream is None else upstream  # as the backend passes it
            douts = list(ops.unstack(dy, dy.shape[0], axis=0))
            dhs = [None] * (len(hs) - len(outputs)) + douts[: len(outputs)]
            dzs, dh, dc = _backward(kernel, h_before, steps, dhs, douts[-1] if carried else None)
            dinputs = sum(dzs[1:], dzs[0]) if repeat else ops.stack(dzs, axis=0)
            dkernel = _kernel_gradient(kernel, h_before, hs, dzs)
            return (dinputs, dkernel, dh, dc) if state else (dinputs, dkernel)

        return y, gradient

    return run


def _backward(
    kernel: Tensor, h_before: Tensor, steps: list[_Step], dhs: list[Tensor], dc: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the gradients of each step's z, and of the first h and c; None for a zero state."""
    units, samples = kernel.shape[0], steps[0].gates.shape[0]
    # The derivative of a sigmoid a is (1 - a) a, that of a tanh a is (1 - a) (a + 1).
    shift = ops.convert_to_tensor(_by_gate(units, 0.0, 1.0))
    transposed = ops.transpose(kernel)
    dzs: list[Tensor] = []
    dh = None
    for step, dout in reversed(list(zip(steps, dhs, strict=True))):
        i, f, g, o = _split_gates(step.gates)
        dh = _sum(dh, dout)
        dc = _sum(dc, dh * o * (1.0 - step.tanh * step.tanh))
        before = ops.zeros_like(dc) if step.before is None else step.before
        slopes = (1.0 - step.gates) * (step.gates + shift)
        if samples * units < LARGE:
            joined = ops.concatenate([dc * g, dc * before, dc * i, dh * step.tanh], axis=-1)
        else:
            # A compiler that fuses dc into each of these products computes it there anew, and all
            # the steps after it as well. Joined as it is, it is computed once.
            joined = ops.concatenate([dc, dc, dc, dh], axis=-1)
            slopes = slopes * ops.concatenate([g, before, i, step.tanh], axis=-1)
        dzs.insert(0, joined * slopes)
        has_before = len(dzs) < len(steps) or h_before is not None
        dh = ops.matmul(dzs[0], transposed) if has_before else None
        dc = dc * f if has_before else None
    return dzs, dh, dc


def _kernel_gradient(kernel: Tensor, h_before: Tensor, hs: list[Tensor], dzs: list[Tensor]) -> Any:
    """Return the recurrent kernel's gradient: one product over all steps with a state.

    With many samples it is a product a step: they need not be copied together, and each can run
    beside the steps before it.
    """
    if h_before is not None:
        before, after = [h_before, *hs[:-1]], dzs
    else:
        before, after = hs[:-1], dzs[1:]
    if not before:
        return ops.zeros_like(kernel)
    if before[0].shape[0] >= MANY:
        products = [ops.matmul(ops.transpose(h), dz) for h, dz in zip(before, after, strict=True)]
        return sum(products[1:], products[0])
    return ops.matmul(ops.transpose(ops.concatenate(before)), ops.concatenate(after))


def _activate(z: Tensor) -> Tensor:
    """Return all gates [samples, 4 units] in one pass: sigmoid(z) = tanh(z / 2) / 2 + 1/2."""
    units = z.shape[-1] // 4
    # As tensors: traced on torch, the product of a tensor and an array becomes a constant.
    scale = ops.convert_to_tensor(_by_gate(units, 0.5, 1.0))
    shift = ops.convert_to_tensor(_by_gate(units, 0.5, 0.0))
    return ops.tanh(z * scale) * scale + shift


def _by_gate(units: int, sigmoid: float, tanh: float) -> Any:
    """Return a value for each column of z: one for sigmoid gates, one for the tanh gate."""
    return np.repeat(np.array([sigmoid, sigmoid, tanh, sigmoid], np.float32), units)


def _split_gates(gates: Tensor) -> list[Tensor]:
    units = gates.shape[-1] // 4
    return [gates[:, i * units : (i + 1) * units] for i in range(4)]


def _sum(a: Tensor, b: Tensor) -> Tensor:
    if a is None or b is None:
        return b if a is None else a
    return a + b
