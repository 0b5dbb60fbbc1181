"""Outlines: the networks of tasks written down as layers, or refused with a reason."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from echobench.core.outline import LSTMLayer, NativeProgram, OutputLayer
from echobench.errors import UnsupportedError
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.test_backends import ROOT

LACKING = """
from pathlib import Path
from echobench.errors import EchobenchError
from echobench.plugin.manager import Plugins

plugins = Plugins([Path("tests/core/own_tasks.py"), Path("tests/core/refused_tasks.py")])
for name in ("recurrent", "small-transformer", "subclassed", "bare"):
    task = plugins.tasks[name].value()
    try:
        plugins.backends["torch-native"].value.program(task, task.recipes["closed"])
    except EchobenchError as error:
        print(f"{name}: {error}")
"""


def outlined(selector: str, plugins: Plugins) -> NativeProgram:
    _, task, recipe = resolve(selector, "closed", plugins)
    return NativeProgram(task, recipe)


def test_the_partial_echo_is_two_lstms_and_an_output(plugins: Plugins) -> None:
    assert outlined("partial", plugins).layers == [
        LSTMLayer(steps=5, features=100, units=150, sequences=False, repeat=False),
        LSTMLayer(steps=2, features=150, units=150, sequences=True, repeat=True),
        OutputLayer(steps=2, features=150, width=100, at_once=False),
    ]


def test_timesteps_as_features_are_one_step(plugins: Plugins) -> None:
    assert outlined("one-to-one", plugins).layers == [
        LSTMLayer(steps=1, features=500, units=20, sequences=False, repeat=False),
        OutputLayer(steps=5, features=20, width=100, at_once=True),
    ]


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        ("attention", "a chain of LSTMs and an output"),
        ("masked", "without missing tokens"),
    ],
)
def test_what_is_no_chain_is_refused_with_a_reason(
    selector: str, reason: str, plugins: Plugins
) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        outlined(selector, plugins)


def test_a_peer_names_the_layers_that_it_lacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LACKING],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "recurrent: torch-native has no Bidirectional, Conv1D, SimpleRNN, GRU: written for a chain "
        "of LSTMs and an output layer",
        "small-transformer: written for encoded inputs, not for a network that takes tokens",
        "subclassed: written for one-hot and linear coding, not Reversed(width=6)",
        "bare: task 'bare': network() returned a SymbolicOutput; expected a Network: end it with "
        "`return form.network(y)`",
    ]


def test_with_its_epsilon_another_adam_makes_keras_updates() -> None:
    gradients = np.array([1e-9, 1e-7, 1e-3])
    first = second = np.zeros(3)
    for step in range(1, 30):
        first = 0.9 * first + 0.1 * gradients
        second = 0.999 * second + 0.001 * gradients**2
        corrections = 1 - 0.9**step, 1 - 0.999**step
        keras = np.sqrt(corrections[1]) / corrections[0] * first / (np.sqrt(second) + 1e-7)
        root = np.sqrt(second / corrections[1])
        other = first / corrections[0] / (root + NativeProgram.adam_epsilon(step))
        np.testing.assert_allclose(other, keras, rtol=1e-12)


def test_the_rate_rises_and_falls(plugins: Plugins) -> None:
    recipe = resolve("partial", "open", plugins)[2]
    rates = [recipe.rate(step) for step in (0, 25, 50, 325, 600, 10_000)]
    np.testing.assert_allclose(rates, [0, 0.015, 0.03, 0.015, 0, 0], atol=1e-12)
    closed = resolve("partial", "closed", plugins)[2]
    assert {closed.rate(step) for step in (0, 1, 10_000)} == {0.001}
