"""Run in a process of its own: our layers beside Keras' own, with the same weights.

Saves, for every way that `UnrolledLSTM` is used, the outputs of both, and on JAX the gradients
of a function of these outputs: by weights, input and state. So it does for `Affine`, and for the
loss of logits beside that of probabilities.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
from keras import ops

from echobench.core import layers as core_layers
from echobench.core.coding import OneHot
from echobench.core.forms import FusedForm, undrawn
from echobench.core.layers import Affine, UnrolledLSTM
from echobench.core.program import losses_of_logits

SAMPLES, STEPS, FEATURES, UNITS = 3, 4, 6, 5
LARGE, MANY = core_layers.LARGE, core_layers.MANY
CASES = {
    f"{'sequences' if sequences else 'last'} {'carried' if carried else 'zero'} {kind}": (
        sequences,
        carried,
        kind,
    )
    for sequences in (True, False)
    for carried in (True, False)
    for kind in ("vectors", "tokens", "missing", "repeated")
}


def main(path: str) -> None:
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name, (sequences, carried, kind) in CASES.items():
        ours, theirs = layers(sequences, carried, kind)
        x, encoded = inputs(rng, kind)
        state = [rng.standard_normal((SAMPLES, UNITS)).astype(np.float32) for _ in range(2)]
        weights = [
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((FEATURES, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,))
        ]
        options = {"initial_state": [*map(ops.convert_to_tensor, state)]} if carried else {}
        custom_gradient, left_alone = ours
        for label, layer, given in (
            ("ours by hand", custom_gradient, x),
            ("ours by hand as if large", custom_gradient, x),
            ("ours left alone", left_alone, x),
            ("theirs", theirs, encoded),
        ):
            if label.endswith("large"):
                core_layers.LARGE = core_layers.MANY = 0
            else:
                core_layers.LARGE, core_layers.MANY = LARGE, MANY
            layer(ops.convert_to_tensor(given), **options)  # builds it
            for variable, value in zip(layer.trainable_variables, weights, strict=True):
                variable.assign(value)
            outputs = layer(ops.convert_to_tensor(given), **options)
            for place, y in enumerate(outputs if carried else [outputs]):
                found[f"{name}/{label}/{place}"] = ops.convert_to_numpy(y)
            if keras.backend.backend() == "jax":
                slopes = gradients(layer, weights, given, state if carried else [])
                for place, slope in enumerate(slopes):
                    found[f"{name}/{label}/gradient {place}"] = np.asarray(slope)
    found.update(affine(rng))
    found.update(losses())
    found["logits"] = logits()
    found["published"] = published()
    with undrawn():
        found["undrawn"] = kernels()
        found["constants"] = constants()
    found["drawn"] = kernels()
    np.savez(path, **found)


def layers(sequences: bool, carried: bool, kind: str) -> tuple[list[Any], Any]:
    symbols = FEATURES if kind in {"tokens", "missing"} else None
    repeat = STEPS if kind == "repeated" else None
    ours = [
        UnrolledLSTM(
            UNITS,
            return_sequences=sequences,
            symbols=symbols,
            missing=kind == "missing",
            repeat=repeat,
            custom_gradient=custom_gradient,
        )
        for custom_gradient in (True, False)
    ]
    theirs = keras.layers.LSTM(UNITS, return_sequences=sequences, return_state=carried)
    return ours, theirs


def inputs(rng: np.random.Generator, kind: str) -> tuple[Any, Any]:
    """Return what our layer takes, and the same for Keras'."""
    if kind in {"tokens", "missing"}:
        tokens = rng.integers(-1 if kind == "missing" else 0, FEATURES, (SAMPLES, STEPS))
        one_hot = (tokens[..., None] == np.arange(FEATURES)).astype(np.float32)
        return tokens.astype(np.int32), one_hot
    x = rng.standard_normal((SAMPLES, STEPS, FEATURES)).astype(np.float32)
    if kind == "repeated":
        return x[:, 0], np.repeat(x[:, :1], STEPS, axis=1)
    return x, x


def gradients(layer: Any, weights: list[Any], x: Any, state: list[Any]) -> list[Any]:
    import jax

    def score(weights: Any, state: Any) -> Any:
        options = {"initial_state": state} if state else {}
        others = [variable.value for variable in layer.non_trainable_variables]
        outputs, _ = layer.stateless_call(weights, others, x, **options)
        parts = outputs if state else [outputs]
        return sum(ops.sum(ops.sin(y * (place + 1))) for place, y in enumerate(parts))

    by_weights, by_state = jax.grad(score, argnums=(0, 1))(weights, state)
    return [*by_weights, *by_state]


def affine(rng: np.random.Generator) -> dict[str, Any]:
    found = {}
    for shape in ((SAMPLES, FEATURES), (SAMPLES, STEPS, FEATURES)):
        x = rng.standard_normal(shape).astype(np.float32)
        weights = [rng.standard_normal(s).astype(np.float32) for s in ((FEATURES, UNITS), (UNITS,))]
        for label, layer in (("ours", Affine(UNITS)), ("theirs", keras.layers.Dense(UNITS))):
            layer(ops.convert_to_tensor(x))
            for variable, value in zip(layer.trainable_variables, weights, strict=True):
                variable.assign(value)
            case = f"affine {len(shape)}/{label}"
            found[f"{case}/0"] = ops.convert_to_numpy(layer(ops.convert_to_tensor(x)))
            if keras.backend.backend() == "jax":
                for place, slope in enumerate(gradients(layer, weights, x, [])):
                    found[f"{case}/gradient {place}"] = np.asarray(slope)
    return found


def losses() -> dict[str, Any]:
    """Return the losses of logits near and far from each other, with missing tokens, and slopes."""
    logits = np.array([[0.1, -0.3, 2.0], [90.0, -90.0, 0.0], [-99.0, -99.5, -98.0]], np.float32)
    logits = np.concatenate([logits] * 4)
    tokens = np.repeat(np.array([0, 1, 2, -1], np.int32), 3)
    coding, found = OneHot(3), {}

    def ours(values: Any) -> Any:
        return losses_of_logits(coding, tokens, values)[0]

    def theirs(values: Any) -> Any:
        return coding.losses(tokens, ops.softmax(values))

    for label, loss in (("ours", ours), ("theirs", theirs)):
        found[f"loss/{label}/0"] = ops.convert_to_numpy(loss(ops.convert_to_tensor(logits)))
        if keras.backend.backend() == "jax":
            import jax

            _, back = jax.vjp(loss, logits)
            found[f"loss/{label}/gradient"] = np.asarray(back(np.ones(len(logits), np.float32))[0])
    right = losses_of_logits(coding, tokens, ops.convert_to_tensor(logits))[1]
    found["right/ours/0"] = ops.convert_to_numpy(right)
    found["right/theirs/0"] = logits.argmax(axis=-1) == tokens
    return found


def logits() -> Any:
    """Return whether a network returns logits that ends with a softmax, and one that goes on."""
    ends = []
    for more in (lambda y: y, keras.layers.Reshape((STEPS, FEATURES))):
        form = FusedForm(OneHot(FEATURES), carry=False, missing=False)
        form.network(
            more(form.output_per_step(form.lstm(form.input(STEPS), UNITS, sequences=True)))
        )
        ends.append(form.logits)
    return np.array(ends)


def published() -> Any:
    """Return our layer's output for the first case of Keras' own lstm_test.py."""
    x = np.arange(72).reshape((3, 6, 4)).astype(np.float32)
    layer = UnrolledLSTM(3)
    layer(ops.convert_to_tensor(x))
    for variable, value in zip(layer.trainable_variables, (0.01, 0.02, 0.03), strict=True):
        start = np.full(variable.shape, value, np.float32)
        if len(variable.shape) == 1:
            start[3:6] = 1.0  # Keras' unit_forget_bias
        variable.assign(start)
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(x)))


def kernels() -> Any:
    """Return the largest weight, by its size, of each kernel of new layers of Keras' own."""
    layers = [
        keras.layers.GRU(UNITS),
        keras.layers.SimpleRNN(UNITS, kernel_initializer="he_normal"),
        keras.layers.Embedding(UNITS, FEATURES),
        keras.layers.Dense(UNITS, kernel_initializer="truncated_normal"),
        keras.layers.Conv1D(UNITS, 2, kernel_initializer="random_normal"),
    ]
    for layer in layers:
        layer.build((SAMPLES, STEPS, FEATURES))
    return np.array(
        [
            np.abs(ops.convert_to_numpy(weight)).max()
            for layer in layers
            for weight in layer.trainable_variables
            if weight.name != "bias"
        ]
    )


def constants() -> Any:
    """Return the largest number of each constant that a layer draws, which nobody assigns."""

    class Projects(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
        def build(self, shape: Any) -> None:
            self.fixed = keras.initializers.Orthogonal(seed=1)((UNITS, UNITS))
            self.kept = self.add_weight((UNITS, UNITS), "glorot_uniform", trainable=False)

    layer = Projects()
    layer.build((SAMPLES, UNITS))
    return np.array([np.abs(ops.convert_to_numpy(c)).max() for c in (layer.fixed, layer.kept)])


if __name__ == "__main__":
    main(sys.argv[1])
