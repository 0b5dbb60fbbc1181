"""What a network's layers must be, so that they mean the same on every backend.

Its weights are drawn in NumPy from the distribution of each variable's initializer, in the order
of the model's variables; layers that draw, or that learn outside the gradient, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from echobench.core.experiment import INITIALIZERS, Shapes
from echobench.core.layers import Affine, UnrolledLSTM
from echobench.errors import NetworkError

SEED = "seed_generator_state"
"""Name of the variable of a layer that draws, or could."""
ATTRIBUTES = {
    "recurrent_kernel": "recurrent", "reverse_embeddings": "embeddings",
    "depthwise_kernel": "depthwise", "pointwise_kernel": "pointwise",
}  # fmt: skip # one line reads better
"""What Keras calls the initializers of variables with another name."""
FORGETTING = {"bias": "lstm_bias", "gamma": "gamma"}
"""The kind of an LSTM's bias whose forget gate is one, by that of the other gates."""
UNNAMED: dict[Any, dict[str, str]] = {
    keras.layers.AdditiveAttention: {"scale": "kernel"},
    keras.layers.Attention: {"scale": "gamma", "concat_score_weight": "gamma"},
    keras.layers.RMSNormalization: {"scale": "gamma"},
    Affine: {"kernel": "kernel"},
    UnrolledLSTM: {
        "kernel": "kernel", "recurrent_kernel": "recurrent_kernel", "bias": "lstm_bias"
    },
}  # fmt: skip # one line reads better
"""The kinds of the variables for which Keras' layers, and ours, keep no initializer."""


def weight_shapes(model: Any) -> Shapes:
    """Return kind and shape of each trainable variable, in the model's order.

    Raises:
        NetworkError: a layer does not mean the same on every backend, or the distribution of a
            variable is not known.
    """
    owners = {}
    for layer in layers_within(model):
        _check(layer)
        owners.update({id(variable): layer for variable in layer.variables})  # the innermost
    return [
        (_kind(variable, owners[id(variable)]), tuple(variable.shape))
        for variable in model.trainable_variables
    ]


def layers_within(model: Any) -> Iterator[Any]:
    """Yield a model's layers, each before the layers inside it."""
    for layer in model.layers:
        yield from layer._flatten_layers()  # Keras has no public way


def _check(layer: Any) -> None:
    """Raise NetworkError where a layer of Keras' own is not what this suite can compare."""
    name = f"{type(layer).__name__} {layer.name!r}"
    own = {id(v) for inner in layer._flatten_layers(include_self=False) for v in inner.variables}
    for variable in layer.non_trainable_variables:
        if variable.name == SEED and id(variable) not in own and _draws(layer):
            raise NetworkError(
                f"layer {name} draws random numbers, which differ on every backend; leave it, or "
                "its dropout, out"
            )
        if variable.name != SEED and id(variable) not in own:
            raise NetworkError(
                f"layer {name} has a variable that no gradient trains, {variable.name!r}, which "
                "the compiled engines do not keep; expected layers with trained variables alone, "
                "such as LayerNormalization in place of BatchNormalization"
            )
    for variable in layer.trainable_variables:
        more = [kind for kind in ("regularizer", "constraint") if getattr(variable, kind, None)]
        if more and id(variable) not in own:
            raise NetworkError(
                f"layer {name} has a {more[0]} of {variable.name!r}, which only Keras' fit "
                "applies; leave it out"
            )
    if getattr(layer, "activity_regularizer", None) is not None:
        raise NetworkError(
            f"layer {name} has an activity_regularizer, which only Keras' fit applies; leave it out"
        )


def _draws(layer: Any) -> bool:
    """Return whether a layer with a seed draws; a recurrent cell has one even without dropout."""
    rates = [getattr(layer, rate, None) for rate in ("dropout", "recurrent_dropout")]
    return any(rates) if any(rate is not None for rate in rates) else True


def _kind(variable: Any, layer: Any) -> str:
    """Return the kind of a variable's distribution, as `initial_weights` takes it."""
    name = variable.name
    if name in UNNAMED.get(type(layer), {}):
        return UNNAMED[type(layer)][name]
    attribute = f"{_named(name, layer)}_initializer"
    initializer = getattr(layer, attribute, None)
    where = f"layer {type(layer).__name__} {layer.name!r}"
    if initializer is None:
        raise NetworkError(
            f"{where}: no initial values are known for its variable {name!r}; give the layer an "
            f"attribute {attribute}, one of {_known()} of keras.initializers"
        )
    kind = _drawn(initializer)
    if kind is not None and name == "bias" and getattr(layer, "unit_forget_bias", False):
        kind = FORGETTING.get(kind)
    if kind is None:
        called = initializer if isinstance(initializer, type) else type(initializer)
        raise NetworkError(
            f"{where}: {attribute}={called.__name__} is not drawn alike on every backend; "
            f"expected {_known()}"
        )
    return _einsum(layer) if kind == name == "kernel" else kind


def _named(name: str, layer: Any) -> str:
    """Return how the attribute starts that keeps a variable's initializer, as Keras names it."""
    depthwise = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    if name == "kernel" and isinstance(layer, depthwise):
        return "depthwise"
    return ATTRIBUTES.get(name, name)


def _drawn(initializer: Any) -> str | None:
    """Return the kind that is drawn as one of Keras' initializers draws; None if none is."""
    for kind, (class_name, options) in INITIALIZERS.items():
        if type(initializer) is getattr(keras.initializers, class_name):
            return kind if options.items() <= initializer.get_config().items() else None
    return None


def _einsum(layer: Any) -> str:
    """Return the kind of a kernel; that of an EinsumDense says which of its axes are inputs."""
    if not isinstance(layer, keras.layers.EinsumDense):
        return "kernel"
    rest = layer.equation.partition(",")[2]
    kernel, _, output = rest.partition("->")
    return "kernel_" + "".join("o" if axis in output else "i" for axis in kernel)


def _known() -> str:
    names = dict.fromkeys(name for name, _ in INITIALIZERS.values())
    return ", ".join(names)
