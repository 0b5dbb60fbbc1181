"""The closed form against torch's own counter and against XLA's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.plugins.test_backends import ROOT

NARROW = [
    f"{task},symbols=10,units=6]"
    for task in (
        "whole[length=8",
        "partial[length=8",
        "attention[n_in=4,length=8",
        "regression[length=8",
        "one-to-one[length=8",
        "many-to-one[n_out=2,length=8",
        "copy[items=2,blanks=70",  # more steps than are unrolled
    )
]
WIDE = "regression[n_in=3,length=6,units=256]"

UNCOUNTED = """
import json, keras
from echobench.core.flops import UncountedError, model_flops
layers, ops = keras.layers, keras.ops

def alike(q):
    return ops.matmul(q, ops.transpose(q, (0, 2, 1)))

class Alike(layers.Layer):
    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-2])
    def call(self, q):
        return alike(q)

class Cell(layers.Layer):
    state_size = output_size = 4
    def call(self, x, states):
        return states[0] * ops.sum(x), states

inner = keras.Input((6, 4))
found = {}
for name, through in {
    "Alike": Alike(), "TimeDistributed": layers.TimeDistributed(Alike()),
    "Lambda": layers.Lambda(alike, output_shape=(6, 6)),
    "Functional": keras.Model(inner, alike(inner)),
    "RNN": layers.RNN(Cell()), "StopGradient": ops.stop_gradient, "counted": layers.Softmax(),
}.items():
    x = keras.Input((2, 6, 4) if name == "TimeDistributed" else (6, 4))
    try:
        y = layers.Dense(3)(through(layers.Dense(4)(x)))
        found[name] = str(model_flops(keras.Model(x, y), 1))
    except UncountedError as error:
        found[name] = f"uncounted: {error}"
print(json.dumps(found))
"""


def counted(backend: str, *selectors: str) -> dict[str, list[int]]:
    return run(backend, "-m", "tests.probes.flops", *selectors)


def run(backend: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_closed_form_is_what_torch_counts() -> None:
    found = counted("torch", *NARROW)
    assert len(found) == len(NARROW)
    for selector, (plain, fused, by_torch) in found.items():
        assert plain == fused == by_torch, selector


def test_torch_counts_more_only_where_keras_runs_the_first_step_twice() -> None:
    """Keras does so in its own loop: for a mask, SimpleRNN, and GRU with reset_after=False."""
    step = {  # width of the kernels, features and units of each such layer
        "recurrent": [(4, 4, 4), (12, 4, 4)],
        "beside": [],
        "masks": [(16, 6, 4), (16, 4, 4)],
        "masked[length=8,symbols=10,units=6]": [(24, 10, 6)],
        "masked[how=value,length=8,symbols=10,units=6]": [],
        "masked[n_out=2,length=8,symbols=10,units=6]": [(24, 10, 6)],
    }
    for selector, (plain, fused, by_torch) in counted("torch", *step).items():
        again = sum(2 * width * (features + units) for width, features, units in step[selector])
        assert plain == fused, selector
        assert by_torch == plain + 64 * again, selector


def test_a_transformer_counts_what_jax_multiplies() -> None:
    ((plain, fused, by_jax),) = counted("jax", "multiplied", "small-transformer").values()
    assert plain == fused == by_jax


def test_an_outline_draws_and_counts_what_keras_form_does() -> None:
    chains = [s for s in NARROW if not s.startswith("attention")]
    for selector, (same, by_keras, by_outline) in counted("jax", "outlines", *chains).items():
        assert same, selector
        assert by_keras == by_outline, selector


def test_xla_counts_nearly_the_same_in_an_unrolled_program() -> None:
    ((plain, fused, by_xla),) = counted("jax", WIDE).values()
    assert plain == fused
    # XLA leaves out the product with the zero state and its gradient, and counts
    # elementwise operations, which are few in a wide network.
    skipped = 2 * 2 * 64 * 256 * 4 * 256
    assert by_xla == pytest.approx(fused - skipped, rel=0.05)


def test_what_runs_inside_an_unknown_layer_is_not_counted_as_nothing() -> None:
    found = run("jax", "-c", UNCOUNTED)
    products = 2 * 6 * (4 * 4 * 2 + 4 * 3 * 3)  # the first layer's input needs no gradient
    assert found.pop("counted") == str(products)
    for name, why in found.items():
        assert why.startswith("uncounted: "), name
        assert name in why or name == "TimeDistributed"
