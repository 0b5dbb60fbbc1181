"""Every task's network: the same on all backends and engines, saved or not, and as in NumPy."""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echobench.core.sequences import MISSING
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from echobench.trial.job import PARITY_TOLERANCE
from tests import reference
from tests.plugins.cells import COMPILED, SMALL
from tests.plugins.test_backends import BACKENDS, ROOT, process

pytestmark = pytest.mark.slow

PEERS = {"torch-native": "torch", "flax": "jax", "equinox": "jax", "jax-plain": "jax"}
CHAINS = [s for s in SMALL if not s.startswith(("attention", "reverse", "masked"))]
"""Those without attention and masks, which the peers have not."""
Told = Callable[[str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping[str, Any]]:
    """Return what each backend computed, each in a process of its own."""
    folder = tmp_path_factory.mktemp("small")
    for backend in BACKENDS:
        # Without a C++ compiler torch runs its graphs as they are: that path, and sooner.
        small(backend, folder, *SMALL, path="")
    return {backend: np.load(folder / f"small_{backend}.npz") for backend in BACKENDS}


def small(backend: str, folder: Path, *selectors: str, path: str) -> None:
    cache = str(folder / "inductor")  # nothing that was compiled before
    command = ("-m", "tests.probes.small", backend, str(folder), *selectors)
    process(backend, *command, PATH=path, TORCHINDUCTOR_CACHE_DIR=cache)


@pytest.fixture
def needs_compiler(plugins: Plugins) -> None:
    if compiler(plugins) == "none":
        pytest.skip("no C++ compiler")


def compiler(plugins: Plugins) -> str:
    return str(plugins.backends["torch"].value.versions()["c++"])


def test_what_torch_compiles_is_what_it_traced(
    needs_compiler: None, found: dict[str, Mapping[str, Any]], tmp_path: Path
) -> None:
    number = SMALL.index(COMPILED)
    calls = tmp_path / "calls"
    compiler = tmp_path / "g++"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {shutil.which("g++")} "$@"\n')
    compiler.chmod(0o755)
    small("torch", tmp_path, COMPILED, path=f"{tmp_path}:{os.environ['PATH']}")
    compiled = np.load(tmp_path / "small_torch.npz")["0_fused"]
    traced = found["torch"][f"{number}_fused"]
    np.testing.assert_allclose(compiled, traced, rtol=PARITY_TOLERANCE)
    programs = [line for line in calls.read_text().splitlines() if " -o " in line]
    if platform.machine() == "x86_64":  # elsewhere inductor tries what the compiler knows
        assert len(programs) == 1  # no headers, no second program, no trial of instructions


def test_what_torch_compiles_may_work_in_place() -> None:
    command = [sys.executable, "-m", "tests.probes.inductor"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found.keys() == {"in_place", "handed_on"}
    assert max(d for differences in found.values() for d in differences) < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", range(len(SMALL)), ids=SMALL)
def test_the_first_20_losses_are_the_same_everywhere(
    number: int, backend: str, found: dict[str, Mapping[str, Any]]
) -> None:
    expected = found["jax"][f"{number}_fit"]
    assert len(expected) == 20
    assert np.ptp(expected) > 1e-4  # they do change from update to update
    np.testing.assert_allclose(found[backend][f"{number}_fused"], expected, rtol=PARITY_TOLERANCE)


@pytest.fixture(scope="module")
def told(plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Return a function for what the peers on a framework computed, in a process for all of them.

    The one on torch is compiled as well, if there is a compiler.
    """
    folder = tmp_path_factory.mktemp("peers")
    compiled = ["--", "torch-native:compiled", COMPILED] * (compiler(plugins) != "none")

    @functools.cache
    def of(framework: str) -> Mapping[str, Any]:
        peers = [peer for peer, its in PEERS.items() if its == framework]
        arguments = [word for peer in peers for word in ("--", peer, *CHAINS)]
        more = compiled if framework == "torch" else []
        file = str(folder / f"{framework}.npz")
        process(
            framework,
            *("-m", "tests.probes.native", file, *arguments, *more),
            TORCHINDUCTOR_CACHE_DIR=str(folder),
            # Inductor compiles six programs to see which vector instructions there are.
            TORCHINDUCTOR_VEC_ISA_OK="1",
        )
        return dict(np.load(file))

    return of


def test_what_the_peer_compiles_trains_what_it_trains_eagerly(
    needs_compiler: None, told: Told
) -> None:
    found = told("torch")
    eager, compiled = (
        found[f"{peer}/{COMPILED}/losses"] for peer in ("torch-native", "torch-native:compiled")
    )
    assert np.ptp(eager) > 1e-4
    np.testing.assert_allclose(compiled, eager, rtol=PARITY_TOLERANCE)


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_trains_what_the_tutorials_program_trains(
    peer: str, found: dict[str, Mapping[str, Any]], told: Told
) -> None:
    framework = PEERS[peer]
    its = told(framework)
    assert not its["keras"]
    for selector in CHAINS:
        number = SMALL.index(selector)
        expected = found["jax"][f"{number}_fit"]
        losses = its[f"{peer}/{selector}/losses"]
        np.testing.assert_allclose(losses, expected, rtol=PARITY_TOLERANCE, err_msg=selector)
        answers = found[framework][f"{number}_answers"]
        agree = its[f"{peer}/{selector}/answers"] == answers
        assert agree.mean() > 0.97, selector  # but for ties
        if peer != "torch-native":  # nothing of which is compiled
            # To train, however few, and to answer.
            assert its[f"{peer}/{selector}/traces"] == 2, selector


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", range(len(SMALL)), ids=SMALL)
def test_the_saved_network_answers_as_the_fused_one(
    number: int, backend: str, found: dict[str, Mapping[str, Any]]
) -> None:
    data = found[backend]
    assert (data[f"{number}_saved"] == data[f"{number}_answers"]).mean() > 0.97  # but for ties


@pytest.mark.parametrize("number", range(len(SMALL)), ids=SMALL)
def test_the_first_loss_is_that_of_numpy(
    number: int, plugins: Plugins, found: dict[str, Mapping[str, Any]]
) -> None:
    data = found["jax"]
    _, task, recipe = resolve(SMALL[number], "open", plugins)
    count = sum(name.startswith(f"{number}_w") for name in data)
    weights = [data[f"{number}_w{place}"].astype(np.float64) for place in range(count)]
    losses, counts = [], []
    for row in data[f"{number}_rows"][0]:
        x, y = task.supervised(row)
        x, y = x[: recipe.batch], y[: recipe.batch]
        outputs = forward(task, weights, x, y.shape[1])
        targets = task.coding.encode(y).astype(np.float64)
        if outputs.shape[-1] == 1:
            each = ((outputs - targets) ** 2)[..., 0]
        else:
            each = -(np.log(outputs) * targets).sum(axis=-1)
        losses.append(each[y != MISSING].sum())
        counts.append((y != MISSING).sum())
    assert data[f"{number}_fused"][0] == pytest.approx(sum(losses) / sum(counts), rel=1e-5)


def forward(task: Any, weights: list[Any], x: Any, n_out: int) -> Any:
    """Return NumPy's outputs for the first batch, from a zero state."""
    encoded = task.coding.encode(x).astype(np.float64)
    present = np.ones(x.shape, bool)
    if task.name == "reverse" or getattr(task, "how", None) == "mask":
        present = x != MISSING
    if task.name in {"one-to-one", "many-to-one", "associative-recall"}:
        if task.name == "one-to-one":
            encoded = encoded.reshape(len(x), 1, -1)
        return reference.one_vector(weights, encoded, n_out)
    if task.name == "attention" or getattr(task, "attention", False):
        return reference.attention(weights, encoded, n_out, present)
    states, h = reference.masked_lstm(encoded, weights[:3], present)
    if len(weights) == 8:
        repeated = np.repeat(h[:, np.newaxis], n_out, axis=1)
        states, _ = reference.masked_lstm(repeated, weights[3:6], np.ones(repeated.shape[:2], bool))
    if encoded.shape[-1] == 1:
        return states @ weights[-2] + weights[-1]
    return reference.softmax(states, *weights[-2:])
