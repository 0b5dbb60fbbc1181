"""Run in a process of its own: count the operations of an update as a framework does.

Prints a line of JSON, a list of what each argument asks for, `WAY:SELECTOR;SELECTOR...`.
`counted`: by selector, the closed form of the plain and of the fused network, and what torch's
counter found in the plain one, or XLA in the fused one. `multiplied`: the same, with the products
of the plain network as JAX writes them down. `outlines`: by selector, whether the outline draws the
weights that Keras' form draws, and both operation counts. `unknown`: by layer, what is counted of
networks with something inside that is not known.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from echobench.core.flops import UncountedError, model_flops
from echobench.core.forms import FusedForm, PlainForm
from echobench.core.outline import NativeProgram
from echobench.core.program import Program
from echobench.core.sequences import stream
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins

SAMPLES = 64
OWN = Path(__file__).parent.parent / "core" / "own_tasks.py"


def main(*asked: str) -> None:
    """Answer each in turn."""
    plugins, ways = Plugins([OWN]), {"outlines": outlines, "unknown": unknown}
    found = []
    for each in asked:
        way, _, names = each.partition(":")
        found.append(ways.get(way, counts)(way, names.split(";"), plugins))
    print(json.dumps(found))


def counts(way: str, selectors: list[str], plugins: Plugins) -> dict[str, Any]:
    found = {}
    for selector in selectors:
        _, task, recipe = resolve(selector, "open" if "[" in selector else "closed", plugins)
        plain = task.network(PlainForm(task.coding, carry=False), recipe.units).model
        fused = task.network(FusedForm(task.coding, False, task.has_missing), recipe.units).model
        forms = [model_flops(model, SAMPLES) for model in (plain, fused)]
        if way == "multiplied":
            found[selector] = [*forms, by_jax(plain)]
        else:
            torch = keras.backend.backend() == "torch"
            found[selector] = [*forms, by_torch(plain) if torch else by_xla(fused)]
    return found


def outlines(way: str, selectors: list[str], plugins: Plugins) -> dict[str, Any]:
    found = {}
    for selector in selectors:
        _, task, recipe = resolve(selector, "open", plugins)
        programs = Program(task, recipe), NativeProgram(task, recipe)
        drawn = [program.initial_weights(stream(3, "weights")) for program in programs]
        same = len(drawn[0]) == len(drawn[1]) and all(map(np.array_equal, *drawn))
        found[selector] = [same, *(program.update_flops() for program in programs)]
    return found


def by_torch(model: Any) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    dtype = getattr(torch, model.inputs[0].dtype)
    x = torch.zeros((SAMPLES, *model.input_shape[1:]), dtype=dtype)
    with FlopCounterMode(display=False) as counter:
        keras.ops.sum(model(x, training=True) ** 2).backward()
    return int(counter.get_total_flops())


def by_xla(model: Any) -> int:
    import jax

    x = jax.numpy.zeros((SAMPLES, *model.input_shape[1:]), "int32")
    constants = [v.value for v in model.non_trainable_variables]

    def loss(weights: Any) -> Any:
        return (model.stateless_call(weights, constants, x)[0] ** 2).sum()

    weights = [v.value for v in model.trainable_variables]
    compiled = jax.jit(jax.grad(loss)).lower(weights).compile()
    return int(compiled.cost_analysis()["flops"])


def by_jax(model: Any) -> int:
    """Count the matrix products that JAX writes down for a gradient."""
    import jax

    x = jax.numpy.zeros((SAMPLES, *model.input_shape[1:]), model.inputs[0].dtype)
    constants = [v.value for v in model.non_trainable_variables]

    def loss(weights: Any) -> Any:
        return (model.stateless_call(weights, constants, x)[0] ** 2).sum()

    written = jax.make_jaxpr(jax.grad(loss))([v.value for v in model.trainable_variables])
    return products(written.jaxpr)


def products(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = math.prod(shape[axis] for axis in contracted)
            total += 2 * math.prod(equation.outvars[0].aval.shape) * inner
        for value in equation.params.values():
            inside = getattr(value, "jaxpr", value)
            if hasattr(inside, "eqns"):
                total += products(inside)
    return total


def unknown(way: str, selectors: list[str], plugins: Plugins) -> dict[str, Any]:
    layers, ops = keras.layers, keras.ops

    def alike(q: Any) -> Any:
        return ops.matmul(q, ops.transpose(q, (0, 2, 1)))

    class Alike(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
        def compute_output_shape(self, shape: Any) -> Any:
            return (*shape[:-1], shape[-2])

        def call(self, q: Any) -> Any:
            return alike(q)

    class Cell(keras.layers.Layer):  # type: ignore[misc] # Keras is untyped
        state_size = output_size = 4

        def call(self, x: Any, states: Any) -> Any:
            return states[0] * ops.sum(x), states

    inner = keras.Input((6, 4))
    found = {}
    for name, through in {
        "Alike": Alike(),
        "TimeDistributed": layers.TimeDistributed(Alike()),
        "Lambda": layers.Lambda(alike, output_shape=(6, 6)),
        "Functional": keras.Model(inner, alike(inner)),
        "RNN": layers.RNN(Cell()),
        "StopGradient": ops.stop_gradient,
        "counted": layers.Softmax(),
    }.items():
        x = keras.Input((2, 6, 4) if name == "TimeDistributed" else (6, 4))
        try:
            y = layers.Dense(3)(through(layers.Dense(4)(x)))
            found[name] = str(model_flops(keras.Model(x, y), 1))
        except UncountedError as error:
            found[name] = f"uncounted: {error}"
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
