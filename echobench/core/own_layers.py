"""What a network's layers must be, so that they mean the same on every backend.

Its weights are drawn in NumPy from the distribution of each variable's initializer, in the order
of the model's variables; layers that draw, or that learn outside the gradient, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from echobench.core.experiment import INITIALIZERS, Shapes
from echobench.core.layers import UnrolledLSTM
from echobench.errors import NetworkError

SEED = "seed_generator_state"
"""Name of the variable of a layer that draws, or could."""
KINDS = {
    **{kind: kind for kind in INITIALIZERS},
    "beta": "bias",
    "scale": "gamma",
}
"""The kind of a variable by its name, where its layer keeps no initializer."""


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
    if name == "bias" and (isinstance(layer, UnrolledLSTM) or hasattr(layer, "unit_forget_bias")):
        return "lstm_bias" if getattr(layer, "unit_forget_bias", True) else "bias"
    attribute = (
        f"{name.removesuffix('_kernel') if name == 'recurrent_kernel' else name}_initializer"
    )
    initializer = getattr(layer, attribute, None)
    if not isinstance(initializer, keras.initializers.Initializer):  # ours, or none is kept
        if name in KINDS:
            return KINDS[name]
        raise NetworkError(
            f"layer {type(layer).__name__} {layer.name!r}: no initial values are known for its "
            f"variable {name!r}; give the layer an attribute {attribute}, one of "
            f"{_known()} of keras.initializers"
        )
    described = type(initializer).__name__, initializer.get_config()
    for kind, (class_name, options) in INITIALIZERS.items():
        if described[0] == class_name and options.items() <= described[1].items():
            return _heads(layer) if kind == name == "kernel" else kind
    raise NetworkError(
        f"layer {type(layer).__name__} {layer.name!r}: {attribute}={described[0]} is not drawn "
        f"alike on every backend; expected {_known()}"
    )


def _heads(layer: Any) -> str:
    """Return the kind of a kernel: attention's have several axes of inputs, or of outputs."""
    if not isinstance(layer, keras.layers.EinsumDense) or len(layer.kernel.shape) == 2:
        return "kernel"
    entry, _, rest = layer.equation.partition(",")
    kernel, _, output = rest.partition("->")
    inputs = [axis in entry for axis in kernel if axis in entry or axis in output]
    if inputs == [True] + [False] * (len(kernel) - 1):
        return "kernel_in"
    if inputs == [True] * (len(kernel) - 1) + [False]:
        return "kernel_out"
    raise NetworkError(
        f"layer EinsumDense {layer.name!r}: no initial values are known for a kernel of "
        f"{layer.equation!r}; expected its inputs first, and one axis of inputs or of outputs"
    )


def _known() -> str:
    names = dict.fromkeys(name for name, _ in INITIALIZERS.values())
    return ", ".join(names)
