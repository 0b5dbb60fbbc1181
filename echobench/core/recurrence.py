"""The steps of an LSTM as one function with a gradient of its own.

What differentiation makes of unrolled steps multiplies once a step for the gradient of the
recurrent kernel, and keeps every gate apart. Written by hand, that gradient is one product
over all steps, and the gates of a step are one pass. The equations are those of Hochreiter
and Schmidhuber (1997) with a forget gate, gates in Keras' order: input, forget, cell, output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

Tensor = Any


class _Step(NamedTuple):
    """What the backward pass needs of a step: its gates, the c before it, tanh of the c after."""

    gates: Tensor
    before: Tensor
    tanh: Tensor


def recurrence(
    *, repeat: int | None, sequences: bool, carried: bool
) -> Callable[..., tuple[list[Tensor], Tensor]]:
    """Return the function that makes an LSTM's steps.

    It takes the projected inputs, [steps, samples, 4 units], or [samples, 4 units] to be
    fed `repeat` times; the recurrent kernel [units, 4 units]; and, where the state is
    `carried`, h and c before, [samples, units] each. Nothing is multiplied by a state that
    is not given. It returns the outputs, [samples, units] each: of every step with
    `sequences`, else of the last; and c after it, None where it is not carried.
    """
    # One tensor comes out of it: Keras' custom_gradient on torch takes no more.
    stacked = ops.custom_gradient(_steps(repeat, sequences, carried))

    def run(inputs: Tensor, kernel: Tensor, *state: Tensor) -> tuple[list[Tensor], Tensor]:
        y = stacked(inputs, kernel, *state)
        *outputs, last = ops.unstack(y, y.shape[0], axis=0)
        return (outputs, last) if carried else ([*outputs, last], None)

    return run


def _steps(repeat: int | None, sequences: bool, carried: bool) -> Callable[..., Any]:
    def run(inputs: Tensor, kernel: Tensor, *state: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        h_before, c = state or (None, None)
        h, hs, steps = h_before, [], []
        for place in range(repeat or inputs.shape[0]):
            z = inputs if repeat else inputs[place]
            if h is not None:
                z = z + ops.matmul(h, kernel)
            gates = _activated(z)
            i, f, g, o = _quarters(gates)
            before = c
            c = i * g if c is None else f * c + i * g
            tanh = ops.tanh(c)
            h = o * tanh
            hs.append(h)
            steps.append(_Step(gates, before, tanh))
        asked = hs if sequences else hs[-1:]
        y = ops.stack([*asked, c] if carried else asked, axis=0)

        def gradient(*given: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
            up = given[0] if upstream is None else upstream
            wanted = list(ops.unstack(up, up.shape[0], axis=0))
            dhs = [None] * (len(hs) - len(asked)) + wanted[: len(asked)]
            dzs, dh, dc = _backward(kernel, h_before, steps, dhs, wanted[-1] if carried else None)
            dinputs = sum(dzs[1:], dzs[0]) if repeat else ops.stack(dzs, axis=0)
            dkernel = _kernel_gradient(kernel, h_before, hs, dzs)
            return (dinputs, dkernel, dh, dc) if state else (dinputs, dkernel)

        return y, gradient

    return run


def _backward(
    kernel: Tensor, h_before: Tensor, steps: list[_Step], dhs: list[Tensor], dc: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the gradients of each step's z, and of h and c before the first; None at zero."""
    units = kernel.shape[0]
    # A sigmoid's slope is a (1 - a), a tanh's 1 - a^2: (1 - a) times a, or times a + 1.
    shift = ops.convert_to_tensor(_by_gate(units, 0.0, 1.0))
    transposed = ops.transpose(kernel)
    dzs: list[Tensor] = []
    dh = None
    for step, asked in reversed(list(zip(steps, dhs, strict=True))):
        i, f, g, o = _quarters(step.gates)
        dh = _sum(dh, asked)
        dc = _sum(dc, dh * o * (1.0 - step.tanh * step.tanh))
        dforget = ops.zeros_like(dc) if step.before is None else dc * step.before
        dgates = ops.concatenate([dc * g, dforget, dc * i, dh * step.tanh], axis=-1)
        dzs.insert(0, dgates * (1.0 - step.gates) * (step.gates + shift))
        has_before = len(dzs) < len(steps) or h_before is not None
        dh = ops.matmul(dzs[0], transposed) if has_before else None
        dc = dc * f if has_before else None
    return dzs, dh, dc


def _kernel_gradient(kernel: Tensor, h_before: Tensor, hs: list[Tensor], dzs: list[Tensor]) -> Any:
    """Return the recurrent kernel's gradient: one product over all steps after a state."""
    if h_before is not None:
        before, after = [h_before, *hs[:-1]], dzs
    else:
        before, after = hs[:-1], dzs[1:]
    if not before:
        return ops.zeros_like(kernel)
    return ops.matmul(ops.transpose(ops.concatenate(before)), ops.concatenate(after))


def _activated(z: Tensor) -> Tensor:
    """Return all gates [samples, 4 units] in one pass; a sigmoid is tanh(z / 2) / 2 + 1/2."""
    units = z.shape[-1] // 4
    # As tensors: in a trace on torch, a tensor times an array would become a constant.
    scale = ops.convert_to_tensor(_by_gate(units, 0.5, 1.0))
    shift = ops.convert_to_tensor(_by_gate(units, 0.5, 0.0))
    return ops.tanh(z * scale) * scale + shift


def _by_gate(units: int, sigmoid: float, tanh: float) -> Any:
    """Return a value for each column of z: one for the sigmoids, one for the tanh."""
    return np.repeat(np.array([sigmoid, sigmoid, tanh, sigmoid], np.float32), units)


def _quarters(gates: Tensor) -> list[Tensor]:
    units = gates.shape[-1] // 4
    return [gates[:, place * units : (place + 1) * units] for place in range(4)]


def _sum(a: Tensor, b: Tensor) -> Tensor:
    if a is None or b is None:
        return b if a is None else a
    return a + b
