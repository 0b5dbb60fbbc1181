"""Run in a process of its own: count the operations of an update as a framework does.

Prints a line of JSON: by selector, the closed form of the plain and of the fused
network, and what torch's counter found in the plain one, or XLA in the fused one. With
`outlines` as the first argument: by selector, whether the outline draws the weights that
Keras' form draws, and both operation counts. With `multiplied`: as at first, with the products of
the plain network as JAX writes them down.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from echobench.core.flops import model_flops
from echobench.core.forms import FusedForm, PlainForm
from echobench.core.outline import NativeProgram
from echobench.core.program import Program
from echobench.core.sequences import stream
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins

SAMPLES = 64
OWN = Path(__file__).parent.parent / "core" / "own_tasks.py"


def main(selectors: list[str]) -> None:
    found, plugins = {}, Plugins([OWN])
    for selector in selectors:
        _, task, recipe = resolve(selector, "open" if "[" in selector else "closed", plugins)
        plain = task.network(PlainForm(task.coding, carry=False), recipe.units).model
        fused = task.network(FusedForm(task.coding, False, task.has_missing), recipe.units).model
        forms = [model_flops(model, SAMPLES) for model in (plain, fused)]
        torch = keras.backend.backend() == "torch"
        found[selector] = [*forms, by_torch(plain) if torch else by_xla(fused)]
    print(json.dumps(found))


def outlines(selectors: list[str]) -> None:
    found, plugins = {}, Plugins()
    for selector in selectors:
        _, task, recipe = resolve(selector, "open", plugins)
        programs = Program(task, recipe), NativeProgram(task, recipe)
        drawn = [program.initial_weights(stream(3, "weights")) for program in programs]
        same = len(drawn[0]) == len(drawn[1]) and all(map(np.array_equal, *drawn))
        found[selector] = [same, *(program.update_flops() for program in programs)]
    print(json.dumps(found))


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


def multiplied(selectors: list[str]) -> None:
    found, plugins = {}, Plugins([OWN])
    for selector in selectors:
        _, task, recipe = resolve(selector, "closed", plugins)
        plain = task.network(PlainForm(task.coding, carry=False), recipe.units).model
        fused = task.network(FusedForm(task.coding, False, task.has_missing), recipe.units).model
        forms = [model_flops(model, SAMPLES) for model in (plain, fused)]
        found[selector] = [*forms, by_jax(plain)]
    print(json.dumps(found))


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


if __name__ == "__main__":
    if sys.argv[1] == "multiplied":
        multiplied(sys.argv[2:])
    elif sys.argv[1] == "outlines":
        outlines(sys.argv[2:])
    else:
        main(sys.argv[1:])
