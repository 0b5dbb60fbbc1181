"""Initial weights have the distributions that Keras' defaults have."""

from __future__ import annotations

import numpy as np
import pytest

from echobench.core.experiment import initial_weights


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
