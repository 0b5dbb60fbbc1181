"""Codings: what a token looks like, and back, on the host and with tensors."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.core.coding import Coding, Linear, OneHot, Tensor
from echobench.core.sequences import MISSING, Floats

TENSORS = """
import json
import numpy as np
from echobench.core.coding import Linear, OneHot

tokens = np.array([[0, 3, 6, -1], [5, 1, 2, 4]], np.int32)
found = {}
for coding in (OneHot(7), Linear(7)):
    encoded = np.asarray(coding.encode_tensor(tokens))
    decoded = np.asarray(coding.decode(encoded))
    loss = coding.loss(reduction="mean_with_sample_weight")
    outputs = np.full_like(encoded, 0.25)
    weights = (tokens >= 0).astype("float32")
    found[type(coding).__name__] = {
        "encoded": encoded.tolist(),
        "decoded": decoded.tolist(),
        "loss": float(loss(encoded, outputs, sample_weight=weights)),
    }
print(json.dumps(found))
"""

SYMBOLIC = """
import keras
import numpy as np
from echobench.core.coding import Linear, OneHot

tokens = np.array([[0, 3, 6, -1], [5, 1, 2, 4]], np.int32)
for coding in (OneHot(7), Linear(7)):
    x = keras.Input((4,), dtype="int32")
    model = keras.Model(x, coding.encode_tensor(x))
    print(type(coding).__name__, np.array_equal(model(tokens), coding.encode(tokens)))
"""


@given(st.integers(2, 300), st.integers(0, 2**32))
def test_one_hot_has_a_single_one_at_the_token(symbols: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, symbols, (3, 4))
    encoded = OneHot(symbols).encode(tokens)
    np.testing.assert_array_equal(encoded, np.eye(symbols, dtype=np.float32)[tokens])


@given(st.integers(2, 1000), st.integers(0, 2**32))
def test_linear_is_the_token_over_the_largest(symbols: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, symbols, (3, 4))
    encoded = Linear(symbols).encode(tokens)
    assert encoded.shape == (3, 4, 1)
    np.testing.assert_allclose(encoded[..., 0], tokens / (symbols - 1), rtol=1e-6)
    np.testing.assert_array_equal(np.rint(encoded[..., 0] * (symbols - 1)), tokens)


@pytest.mark.parametrize(("coding", "code"), [(OneHot(4), [0.0] * 4), (Linear(4), [-1.0])])
def test_a_missing_token_has_a_code_of_its_own(coding: Coding, code: list[float]) -> None:
    assert coding.encode(np.array([MISSING])).tolist() == [code]
    assert code == [coding.missing] * coding.width


def test_tensors_are_coded_as_on_the_host_and_missing_targets_do_not_count() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TENSORS],
        env={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    tokens = np.array([[0, 3, 6, -1], [5, 1, 2, 4]])
    there = tokens >= 0
    for coding in (OneHot(7), Linear(7)):
        seen = found[type(coding).__name__]
        np.testing.assert_array_equal(np.float32(seen["encoded"]), coding.encode(tokens))
        np.testing.assert_array_equal(np.array(seen["decoded"])[there], tokens[there])
    # Outputs that all are a quarter, normalised to a seventh each.
    assert found["OneHot"]["loss"] == pytest.approx(np.log(7), rel=1e-5)
    squares = (tokens[there] / 6 - 0.25) ** 2
    assert found["Linear"]["loss"] == pytest.approx(squares.mean(), rel=1e-5)


def test_a_softmax_has_a_probability_and_a_number_a_distance() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 5.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    called, sure = OneHot(3).certainty(softmax.astype(np.float32)) or ("", np.empty(0))
    assert called == "confidence"
    np.testing.assert_allclose(sure, [softmax[0, 1], softmax[1, 2]], rtol=1e-6)
    outputs = np.array([[12.3], [6.75], [-2.0], [101.0]], np.float32) / np.float32(99)
    called, off = Linear(100).certainty(outputs) or ("", np.empty(0))
    assert called == "distance"
    np.testing.assert_allclose(off, [0.3, 0.25, 2.0, 2.0], rtol=1e-4)  # of 0..99


def test_a_subclass_claims_nothing_that_rests_on_what_it_overrides() -> None:
    class Named(OneHot):
        """Overrides nothing that matters."""

        def certainty(self, outputs: Floats) -> None:
            return None

    class Encoded(OneHot):
        def encode_tensor(self, tokens: Tensor) -> Tensor:
            return 2.0 * super().encode_tensor(tokens)

    class Mixed:
        def losses(self, tokens: Tensor, outputs: Tensor) -> Tensor:
            return outputs[..., 0]

    class Lost(Mixed, OneHot):
        """Gets another loss from beside `OneHot`."""

    claims = {kind: (kind(3).is_one_hot, kind(3).has_logits) for kind in (Named, Encoded, Lost)}
    assert claims == {Named: (True, True), Encoded: (False, False), Lost: (True, False)}
    assert not Linear(3).is_one_hot
    assert not Linear(3).has_logits


def test_symbolic_tensors_are_coded_as_values_are() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SYMBOLIC],
        env={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["OneHot", "True", "Linear", "True"]
