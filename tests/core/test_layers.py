"""Our layers are Keras' own: their outputs and gradients, on every backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.plugins.test_backends import BACKENDS, process

PUBLISHED = (0.6288687, 0.86899155, 0.9460773)
"""From the first case of Keras' own lstm_test.py, for each of three samples."""


@pytest.fixture(scope="module", params=BACKENDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("lstm") / f"{request.param}.npz"
    process(request.param, "-m", "tests.probes.lstm", str(path))
    return np.load(path)


def test_outputs_and_gradients_are_those_of_keras(found: Mapping[str, Any]) -> None:
    ours = [name for name in found if "/ours" in name]
    assert len(ours) >= 3 * 16 * 2
    assert {name.partition("/")[0] for name in ours} >= {"affine 2", "affine 3", "loss", "right"}
    for name in ours:
        case, _, what = name.split("/")
        theirs = found[f"{case}/theirs/{what}"]
        assert found[name].shape == theirs.shape, name
        np.testing.assert_allclose(found[name], theirs, rtol=2e-5, atol=2e-6, err_msg=name)


def test_the_published_example_is_met(found: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(found["published"].T, [PUBLISHED] * 3, rtol=1e-5)


def test_weights_are_drawn_only_where_nobody_assigns_them(found: Mapping[str, Any]) -> None:
    assert len(found["drawn"]) == 7
    assert (found["drawn"] > 0).all()
    assert (found["undrawn"] == 0).all()
    assert (found["constants"] > 0).all()


def test_a_network_that_goes_on_after_its_softmax_keeps_it(found: Mapping[str, Any]) -> None:
    assert [*found["logits"]] == [True, False]
