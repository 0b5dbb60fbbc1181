"""Initial weights have the distributions that Keras' defaults have."""

from __future__ import annotations

import numpy as np
import pytest

from echobench.core.experiment import initial_weights, updates_per_epoch
from echobench.core.task import Recipe
from echobench.errors import UsageError


def test_the_kinds_of_weights() -> None:
    shapes = [("kernel", (100, 600)), ("recurrent_kernel", (150, 600)), ("lstm_bias", (600,))]
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = initial_weights(shapes, rng)
    limit = np.sqrt(6 / 700)
    assert abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(150), atol=1e-5)
    assert bias[150:300].tolist() == [1.0] * 150
    assert bias.sum() == 150
    assert {w.dtype for w in (kernel, recurrent, bias)} == {np.dtype(np.float32)}


def test_a_name_without_a_known_distribution_is_an_error() -> None:
    with pytest.raises(ValueError, match="'delta'"):
        initial_weights([("delta", (3,))], np.random.default_rng(0))


def test_a_batch_divides_the_samples() -> None:
    recipe = Recipe(units=1, batch=6, epochs=1, evaluate_every=1)
    assert updates_per_epoch(24, recipe) == 4
    for samples in (23, 5):
        with pytest.raises(UsageError, match=f"divides the {samples} samples .*; received batch=6"):
            updates_per_epoch(samples, recipe)
