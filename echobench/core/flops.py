"""The operations of a Keras network, layer by layer, by closed form; see `outline`.

A framework's own counter would not do: XLA's counts what its program does after its lookups and
fusions, and a loop's steps once; torch's runs only on torch. The tests compare with both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from echobench.core.layers import Affine, Encode, UnrolledLSTM
from echobench.core.outline import lstm_flops, product_flops, recurrent_flops

ELEMENTWISE = (
    keras.layers.Embedding,  # a lookup
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.PReLU,
    keras.layers.RMSNormalization,
)
"""Layers with weights and without products."""
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
PRODUCTS = {
    "Conv", "ConvTranspose", "DepthwiseConv", "Dot", "DotProductAttention", "Einsum", "Inner",
    "SeparableConv", "Tensordot", "Vdot",
}  # fmt: skip # one line reads better
"""Keras' operations, and a layer without weights, that are products and are not counted."""


class UncountedError(Exception):
    """The operations of a layer are not known; the message names it."""


class _Entry(NamedTuple):
    """A layer's input or output: its shape, samples included, and whether it needs a gradient."""

    shape: tuple[Any, ...]
    needs: bool


def model_flops(model: Any, samples: int) -> int:
    """Return the operations of one update of a Keras model, in any form.

    Raises:
        UncountedError: a layer's operations are not known.
    """
    total = 0
    needs: dict[int, bool] = {}
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):  # inputs come first
        for node in nodes:
            layer = node.operation
            inputs = [_Entry(tuple(x.shape), needs.get(id(x), False)) for x in node.input_tensors]
            learns = any(entry.needs for entry in inputs) or bool(_weights(layer))
            if inputs:
                total += _flops(layer, inputs, tuple(node.outputs[0].shape))
            for output in node.outputs:
                needs[id(output)] = learns and "float" in str(output.dtype)
    return samples * total


def _weights(layer: Any) -> list[Any]:
    return getattr(layer, "trainable_variables", [])  # an operation has none


def _flops(layer: Any, inputs: Sequence[_Entry], output: tuple[Any, ...]) -> int:
    """Return the operations of a layer, or of one of Keras' operations, for one sample."""
    x, first = inputs[0], not inputs[0].needs
    if isinstance(layer, UnrolledLSTM):
        return lstm_flops(layer.steps, layer.kernel.shape[0], layer.units, first=first)
    if isinstance(layer, keras.layers.LSTM | keras.layers.GRU | keras.layers.SimpleRNN):
        features, width = layer.cell.kernel.shape
        needed = 0  # of the gradient of the first state
        if any(state.needs for state in inputs[1:]):
            needed = width
        elif not getattr(layer, "reset_after", True):
            needed = layer.units  # the candidate's product is with another gate's
        counted = recurrent_flops(x.shape[1], features, layer.units, width, first=first)
        return int(counted + 2 * layer.units * needed)
    if isinstance(layer, keras.layers.Bidirectional):
        both = (layer.forward_layer, layer.backward_layer)
        return sum(_flops(one, inputs, output) for one in both)
    if isinstance(layer, keras.layers.TimeDistributed):
        step = _Entry((x.shape[0], *x.shape[2:]), x.needs)
        return int(x.shape[1] * _flops(layer.layer, [step], (output[0], *output[2:])))
    if isinstance(layer, keras.layers.Dense):
        return product_flops(math.prod(output[1:-1]) * math.prod(layer.kernel.shape), first=first)
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum(layer, x)
    if isinstance(layer, CONVOLUTIONS):
        places = math.prod(output[1:]) // layer.filters
        return product_flops(places * math.prod(layer.kernel.shape), first=first)
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _multi_head(layer, inputs)
    if type(layer) is keras.layers.Attention and layer.score_mode == "dot":
        return _attention(inputs, scaled=layer.use_scale)
    if type(layer).__name__ == "Matmul" and not _weights(layer):
        inner = math.prod(output[1:]) * x.shape[-1]
        return int(2 * inner * (1 + sum(entry.needs for entry in inputs)))
    if type(layer).__name__ == "StopGradient":
        raise UncountedError("how far the gradient goes before a StopGradient is not known")
    if isinstance(layer, keras.layers.Layer) and not _known(layer):
        raise UncountedError(
            f"the operations inside the layer {type(layer).__name__} are not known"
        )
    if type(layer).__name__ in PRODUCTS or (_weights(layer) and not isinstance(layer, ELEMENTWISE)):
        raise UncountedError(f"the operations of the layer {type(layer).__name__} are not known")
    return 0


def _known(layer: Any) -> bool:
    """Return whether a layer is one of Keras' own, or ours, and runs no code of somebody else's."""
    kind = type(layer)
    own = getattr(keras.layers, kind.__name__, None) is kind or kind in (Affine, Encode)
    inner = keras.layers.Lambda | keras.layers.RNN | keras.layers.Wrapper
    return own and not isinstance(layer, inner)


def _einsum(layer: Any, x: _Entry) -> int:
    """Count an EinsumDense: a multiplication for each combination of its equation's indices."""
    entry, kernel = layer.equation.partition("->")[0].split(",")
    if "..." in entry[1:]:
        raise UncountedError(f"the operations of EinsumDense {layer.equation!r} are not known")
    letters = entry.removeprefix("...")
    before = len(x.shape) - len(letters)  # the axes of the ellipsis
    sizes = dict(zip(letters, x.shape[before:], strict=True))
    sizes |= dict(zip(kernel, layer.kernel.shape, strict=True))
    dimensions = [size for size in (*x.shape[:before], *sizes.values()) if size is not None]
    return product_flops(math.prod(dimensions), first=not x.needs)


def _multi_head(layer: Any, inputs: Sequence[_Entry]) -> int:
    """Count four projections, and each head's two products of all queries with all values."""
    query, value = inputs[:2]
    key = inputs[2] if len(inputs) > 2 and len(inputs[2].shape) == len(value.shape) else value
    rank = len(query.shape)
    if rank != 3:
        raise UncountedError(f"the operations of MultiHeadAttention of {rank} axes are not known")
    projections = ((layer.query_dense, query), (layer.key_dense, key), (layer.value_dense, value))
    heads, value_width = layer.num_heads, layer.value_dense.kernel.shape[-1]
    pairs = heads * query.shape[1] * value.shape[1]
    attended = _Entry((None, query.shape[1], heads, value_width), needs=True)
    return (
        sum(_einsum(dense, entry) for dense, entry in projections)
        + product_flops(pairs * layer.key_dim, first=False)
        + product_flops(pairs * value_width, first=False)
        + _einsum(layer.output_dense, attended)
    )


def _attention(inputs: Sequence[_Entry], *, scaled: bool) -> int:
    """Count dot-product attention: two products, each with a gradient of both factors."""
    query, value = inputs[:2]
    key = inputs[2] if len(inputs) > 2 and len(inputs[2].shape) == len(value.shape) else value
    pairs = query.shape[1] * value.shape[1]
    scores = 2 * pairs * key.shape[-1] * (1 + query.needs + key.needs)
    weighs = query.needs or key.needs or scaled
    return int(scores + 2 * pairs * value.shape[-1] * (1 + weighs + value.needs))
