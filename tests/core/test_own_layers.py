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
    "late-mask": "form.skip_missing(x): expected what form.input returned",
    "embedded-mask": "form.skip_missing(x): expected what form.input returned",
    "penalty": "has a regularizer of 'kernel', which only Keras' fit applies",
    "own-kernel": "layer Wide 'wide': no initial values are known for its variable 'kernel'",
    "function": "kernel_initializer=function is not drawn alike on every backend; expected Glorot",
    "lecun": "bias_initializer=LecunNormal is not drawn alike",
    "own-layer": "layer Scaled 'scaled': no initial values are known for its variable 'factor'",
}
DRAWN = """
import json, keras, numpy as np
from echobench.core.experiment import initial_weights
from echobench.core.own_layers import weight_shapes
from echobench.errors import NetworkError
from echobench.harness.saved_networks import LAYERS

layers = keras.layers
keras.utils.set_random_seed(0)
MADE = {
    "AdditiveAttention": lambda L: lambda x: L()([x, x]),
    "Attention": lambda L: lambda x: L(use_scale=True, score_mode="concat")([x, x]),
    "Bidirectional": lambda L: L(layers.LSTM(30)),
    "Conv2D": lambda L: lambda x: L(30, 3)(layers.Reshape((6, 10, 4))(x)),
    "Conv2DTranspose": lambda L: lambda x: L(30, 3)(layers.Reshape((6, 10, 4))(x)),
    "ConvLSTM1D": lambda L: lambda x: L(30, 3)(layers.Reshape((6, 10, 4))(x)),
    "DepthwiseConv1D": lambda L: L(3, depth_multiplier=20),
    "EinsumDense": lambda L: L("abc,bcd->abd", (6, 64)),
    "Embedding": lambda L: L(50, 30),
    "GroupNormalization": lambda L: L(5),
    "GroupQueryAttention": lambda L: lambda x: L(16, 4, 2)(x, x),
    "MultiHeadAttention": lambda L: lambda x: L(4, 16)(x, x),
    "PReLU": lambda L: L(),
    "RNN": lambda L: L([layers.LSTMCell(30), layers.GRUCell(30), layers.SimpleRNNCell(30)]),
    "ReversibleEmbedding": lambda L: L(50, 30, tie_weights=False),
    "TimeDistributed": lambda L: L(layers.Dense(30)),
    **{name: lambda L: L(30, 3) for name in ("Conv1D", "Conv1DTranspose", "SeparableConv1D")},
    **{name: lambda L: L(30) for name in ("Dense", "GRU", "LSTM", "SimpleRNN")},
    **{name: lambda L: L() for name in ("LayerNormalization", "RMSNormalization")},
}
OPTIONS = {  # beside the defaults
    "no forgetting": layers.LSTM(30, unit_forget_bias=False),
    "ones": layers.LSTM(30, bias_initializer="ones"),
    "only ones": layers.LSTM(30, bias_initializer="ones", unit_forget_bias=False),
    "gru": layers.GRU(30, bias_initializer="ones", recurrent_initializer="glorot_uniform"),
    "dense": layers.Dense(30, "tanh", kernel_initializer="orthogonal", bias_initializer="ones"),
    "inner": layers.EinsumDense("abc,cde->abde", (None, 8, 16)),
    "outer": layers.EinsumDense("abc,bcd->ad", (64,)),
    "turned": layers.EinsumDense("abc,dc->abd", (None, 64)),
}
found = {}
made = {name: make(getattr(layers, name)) for name, make in MADE.items()}
for name, layer in {**made, **OPTIONS}.items():
    x = keras.Input((6, 40), dtype="int32" if "Embedding" in name else "float32")
    y = layer(x)
    if name == "ReversibleEmbedding":
        y = layer(y, reverse=True)
    model = keras.Model(x, y)
    drawn = initial_weights(weight_shapes(model), np.random.default_rng(0))
    found[name] = [
        [variable.path, [*map(float, (ours.std(), ours.mean(), ours.max()))],
         [*map(float, (theirs.std(), theirs.mean(), theirs.max()))]]
        for variable, ours in zip(model.trainable_variables, drawn, strict=True)
        if (theirs := keras.ops.convert_to_numpy(variable)) is not None
    ]
plain = []  # the layers without weights
for name in LAYERS - MADE.keys():
    try:
        layer = getattr(layers, name)()
        layer.build((None, 6, 40))
        plain += [name] * bool(layer.trainable_variables)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        pass
print(json.dumps([found, plain]))
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
    assert len(found) == 7
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


def test_weights_are_drawn_as_keras_draws_those_of_each_of_its_layers() -> None:
    found, missing = probed("torch", "-c", DRAWN)
    # Of one that learns beside the gradient nothing is drawn; the others are cases above.
    assert missing == ["BatchNormalization"]
    for name, variables in found.items():
        assert variables, name
        for path, ours, theirs in variables:
            assert ours[0] == pytest.approx(theirs[0], rel=0.15), (name, path)
            assert ours[1] == pytest.approx(theirs[1], abs=0.5 * theirs[0] + 1e-6), (name, path)
            assert ours[2] == pytest.approx(theirs[2], rel=0.35), (name, path)
