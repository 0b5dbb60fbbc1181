"""How much arithmetic an update is: floating-point operations by closed form.

Counted are the matrix products of the network as it is written, forward and backward, a
multiplication and an addition each (Kaplan et al. 2020 do so too): one-hot inputs are
multiplied, even where an engine looks them up, and a zero state is. Left out are
elementwise operations, the optimizer, and the gradients of inputs and of the first
state, which nobody needs.
"""

from __future__ import annotations

import math
from typing import Any


def lstm(steps: int, features: int, units: int, *, first: bool) -> int:
    """Return the operations of an LSTM for one sample.

    Args:
        steps: of the sequence.
        features: of its input.
        units: width of its state.
        first: whether no layer before it has weights.
    """
    recurrent = units * 4 * units
    inputs = _product(steps * features * 4 * units, first)
    # Of the first step's three products, the gradient of the state before it is not needed.
    return inputs + _product(steps * recurrent, False) - 2 * recurrent


def dense(steps: int, features: int, width: int, *, first: bool) -> int:
    """Return the operations of a dense layer at each of `steps`, for one sample."""
    return _product(steps * features * width, first)


def attention(queries: int, steps: int, units: int) -> int:
    """Return the operations of dot-product attention, for one sample."""
    return 2 * _product(queries * steps * units, False)


def _product(multiplications: int, first: bool) -> int:
    """Return the operations of a product: forward, gradient of weights, and of its input."""
    return 2 * multiplications * (2 if first else 3)


def of_model(model: Any, samples: int) -> int | None:
    """Return the operations of one update of a Keras model, in any form.

    Args:
        model: built.
        samples: of an update.

    Returns:
        None where the network has weights in layers that are not known here.
    """
    total, first = 0, True
    for layer in model.layers:
        found = _of_layer(layer, first)
        if found is None:
            return None
        total += found
        first = first and not layer.trainable_variables
    return samples * total


def _of_layer(layer: Any, first: bool) -> int | None:
    import keras

    from echobench.core.layers import UnrolledLSTM

    if isinstance(layer, UnrolledLSTM):
        return lstm(layer.steps, layer.kernel.shape[0], layer.units, first=first)
    if isinstance(layer, keras.layers.LSTM):
        entry = layer.input[0] if isinstance(layer.input, list) else layer.input
        features = layer.cell.kernel.shape[0]
        return lstm(entry.shape[1], features, layer.units, first=first)
    if isinstance(layer, keras.layers.TimeDistributed):
        return dense(layer.output.shape[1], *layer.layer.kernel.shape, first=first)
    if isinstance(layer, keras.layers.Dense):
        return dense(math.prod(layer.output.shape[1:-1]), *layer.kernel.shape, first=first)
    if isinstance(layer, keras.layers.Attention):
        queries, values = (tensor.shape for tensor in layer.input[:2])
        return attention(queries[1], values[1], values[2])
    return None if layer.trainable_variables else 0
