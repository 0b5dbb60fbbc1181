"""Networks of Keras' own layers: the same on every backend and engine, or refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugins.test_backends import ROOT

HERE = Path(__file__).parent
REFUSED = {
    "nothing": "network() returned None; expected a Network: end it with",
    "bare": "network() returned a KerasTensor; expected a Network: end it with",
    "narrow": "output is [samples, 5, 3]; expected [samples, 5, 100]",
    "twice": "expected one form.input or form.tokens in a network; received two",
    "number": "form.network(y): expected the output of a layer",
    "dropout": "layer Dropout 'dropout' draws random numbers",
    "inner-dropout": "layer GRUCell 'gru_cell' draws random numbers",
    "moving": "layer BatchNormalization 'batch_normalization' has a variable that no gradient",
    "stateful": "a layer is stateful",
    "he": "kernel_initializer=HeNormal is not drawn alike on every backend; expected Glorot",
    "penalty": "has a regularizer of 'kernel', which only Keras' fit applies",
    "own-layer": "layer Scaled 'scaled': no initial values are known for its variable 'factor'",
}
DRAWN = """
import json, keras, numpy as np
from echobench.core.experiment import initial_weights
from echobench.core.own_layers import weight_shapes

layers = keras.layers
x = y = keras.Input((6, 40))
for layer in (
    layers.Conv1D(30, 3), layers.GRU(30, return_sequences=True),
    layers.Bidirectional(layers.LSTM(30, return_sequences=True)), layers.LayerNormalization(),
):
    y = layer(y)
y = layers.MultiHeadAttention(4, 16)(y, y)
model = keras.Model(x, y)
drawn = initial_weights(weight_shapes(model), np.random.default_rng(0))
print(json.dumps([
    [variable.path, [*map(float, (ours.std(), ours.mean()))],
     [*map(float, (theirs.std(), theirs.mean()))]]
    for variable, ours in zip(model.trainable_variables, drawn, strict=True)
    if (theirs := keras.ops.convert_to_numpy(variable)) is not None
]))
"""


PROBE = ("-m", "tests.probes.networks")


def probed(backend: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        # Without a compiler torch runs its graphs as they are, which takes a tenth of the time.
        env={**os.environ, "KERAS_BACKEND": backend, "PATH": "", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_torch() -> Any:
    return probed("torch", *PROBE, "torch", str(HERE / "own_tasks.py"))


def checked(found: Any, expected: Any) -> None:
    assert len(found) == 5
    for name, seen in found.items():
        assert seen["same_answers"], name
        assert np.ptp(seen["fused"]) > 1e-3, name  # it learns, from other sequences
        for engine in ("fused", "fit"):
            np.testing.assert_allclose(seen[engine], expected[name]["fit"], 1e-5, err_msg=name)


def test_both_engines_compute_a_network_of_keras_layers_alike(on_torch: Any) -> None:
    checked(on_torch, on_torch)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_every_backend_computes_it_alike(backend: str, on_torch: Any) -> None:
    checked(probed(backend, *PROBE, backend, str(HERE / "own_tasks.py")), on_torch)


def test_what_would_not_mean_the_same_is_refused_in_a_line_that_names_it() -> None:
    found = probed("jax", *PROBE, "refused", str(HERE / "refused_tasks.py"))
    assert found.keys() == REFUSED.keys()
    for name, message in found.items():
        assert message.startswith("NetworkError: "), name
        assert REFUSED[name] in message
        assert "\n" not in message


def test_weights_are_drawn_as_keras_draws_them_by_default() -> None:
    for path, ours, theirs in probed("torch", "-c", DRAWN):
        assert ours == pytest.approx(theirs, rel=0.1, abs=0.01), path
