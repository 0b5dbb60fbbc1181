"""How much arithmetic an update is: floating-point operations by closed form."""

from __future__ import annotations

import math
from typing import Any

import keras

from echobench.core.layers import UnrolledLSTM


def update_flops(model: keras.Model, samples: int) -> int | None:
    """Return the floating-point operations of one update: forward and backward pass.

    The matrix products of the network as it is written, a multiplication and an
    addition each counted (Kaplan et al. 2020 do so too): one-hot inputs are
    multiplied, even where an engine looks them up, and a zero state is. Left out are
    elementwise operations, the optimizer, and the gradients of inputs and of the first
    state, which nobody needs.

    Args:
        model: built, in any of the forms of `architectures`.
        samples: of an update.

    Returns:
        None where the network has weights in layers that are not known here.
    """
    total, is_first = 0, True
    for layer in model.layers:
        found = _layer_flops(layer, is_first)
        if found is None:
            return None
        total += found
        is_first = is_first and not layer.trainable_variables
    return samples * total


def _layer_flops(layer: Any, is_first: bool) -> int | None:
    """Return the operations of a layer for one sample, forward and backward.

    Args:
        layer: of the model.
        is_first: whether no layer before it has weights.
    """
    if isinstance(layer, UnrolledLSTM | keras.layers.LSTM):
        return _lstm_flops(layer, is_first)
    if isinstance(layer, keras.layers.TimeDistributed):
        dense, steps = layer.layer, layer.output.shape[1]
        return _product(steps * math.prod(dense.kernel.shape), is_first)
    if isinstance(layer, keras.layers.Dense):
        steps = math.prod(layer.output.shape[1:-1])
        return _product(steps * math.prod(layer.kernel.shape), is_first)
    if isinstance(layer, keras.layers.Attention):
        queries, values = (tensor.shape for tensor in layer.input[:2])
        return 2 * _product(queries[1] * values[1] * values[2], False)
    return None if layer.trainable_variables else 0


def _lstm_flops(layer: Any, is_first: bool) -> int:
    cell = layer if isinstance(layer, UnrolledLSTM) else layer.cell
    entry = layer.input[0] if isinstance(layer.input, list) else layer.input
    steps = layer.steps if cell is layer else entry.shape[1]
    recurrent: int = math.prod(cell.recurrent_kernel.shape)
    inputs = _product(steps * math.prod(cell.kernel.shape), is_first)
    # Of the first step's three products, the gradient of the state before it is not needed.
    return inputs + _product(steps * recurrent, False) - 2 * recurrent


def _product(multiplications: int, is_first: bool) -> int:
    """Return the operations of a product: forward, gradient of weights, and of its input."""
    return 2 * multiplications * (2 if is_first else 3)
