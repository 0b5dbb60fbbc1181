"""The same experiment on every backend and engine, against NumPy and against each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echobench.core.coding import OneHot
from echobench.trial.job import PARITY_TOLERANCE
from tests import reference
from tests.conftest import Command

pytestmark = pytest.mark.slow

BACKENDS = ("jax", "tensorflow", "torch")
CELLS = ("whole_closed", "whole_open", "partial_closed")
ROOT = Path(__file__).parents[2]


def process(backend: str, *arguments: str, cwd: Path = ROOT, **variables: str) -> str:
    """Run Python with Keras on a backend, on the CPU; return what it prints."""
    environment = {
        **os.environ,
        **variables,
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def answer(backend: str, probe: str, *arguments: str, **variables: str) -> Any:
    """Return what a probe prints last, which is a line of JSON."""
    printed = process(backend, "-m", probe, *arguments, cwd=ROOT, **variables)
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(scope="session")
def found(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return what each backend computed, each in a process of its own."""
    for backend in BACKENDS:
        # Without a C++ compiler torch runs its graphs as they are: that path, and sooner.
        # What it compiles is tested in test_topologies.py, on a small network.
        process(backend, "-m", "tests.probes.network", backend, str(folder), PATH="")
    return {backend: np.load(folder / f"{backend}.npz") for backend in BACKENDS}


def weights(data: Mapping[str, Any], cell: str) -> list[Any]:
    count = 5 if cell.startswith("whole") else 8
    return [data[f"{cell}_w{number}"].astype(np.float64) for number in range(count)]


def forward(data: Mapping[str, Any], cell: str, row: Any) -> Any:
    """Return NumPy's probabilities for the samples of one sequence."""
    windows = np.lib.stride_tricks.sliding_window_view(row, 5)
    x = OneHot(100).encode(windows).astype(np.float64)
    if cell.startswith("partial"):
        return reference.partial(weights(data, cell), x, 2)
    return reference.whole(weights(data, cell), x, 7 if cell == "whole_closed" else 21)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", CELLS)
def test_predictions_are_those_of_numpy(
    cell: str, backend: str, found: dict[str, Mapping[str, Any]]
) -> None:
    data = found[backend]
    expected = np.stack([forward(data, cell, row) for row in data[f"{cell}_asked"]])
    answers = data[f"{cell}_answers"]
    assert answers.shape == expected.shape[:-1]
    best = np.sort(expected, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-6  # where rounding cannot turn the argmax
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(answers[clear], expected.argmax(axis=-1)[clear])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ["fused", "fit"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_first_loss_is_that_of_numpy(
    cell: str, engine: str, backend: str, found: dict[str, Mapping[str, Any]]
) -> None:
    data = found[backend]
    batch = 7 if cell == "whole_closed" else 21
    n_out = 5 if cell.startswith("whole") else 2
    losses = []
    for row in data[f"{cell}_rows"][0]:
        windows = np.lib.stride_tricks.sliding_window_view(row, 5)
        probabilities = forward(data, cell, row)
        losses.append(reference.cross_entropy(probabilities[:batch], windows[:batch, :n_out]))
    assert data[f"{cell}_{engine}_losses"][0] == pytest.approx(np.mean(losses), rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ["fused", "fit"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_first_20_losses_are_the_same_everywhere(
    cell: str, engine: str, backend: str, found: dict[str, Mapping[str, Any]]
) -> None:
    ours = found[backend][f"{cell}_{engine}_losses"]
    expected = found["jax"][f"{cell}_fit_losses"]
    assert len(ours) == 20
    np.testing.assert_allclose(ours, expected, rtol=PARITY_TOLERANCE)
    assert np.ptp(expected) > 1e-3  # they do change from update to update


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", CELLS)
def test_both_engines_end_at_the_same_weights(
    cell: str, backend: str, found: dict[str, Mapping[str, Any]]
) -> None:
    fused = found[backend][f"{cell}_fused_moved"]
    fit = found[backend][f"{cell}_fit_moved"]
    start = np.concatenate([w.ravel() for w in weights(found[backend], cell)])
    # Adam divides by the gradient's size, so rounding shows in weights that hardly move.
    assert np.abs(fused - fit).mean() < 1e-3 * np.abs(fused - start).mean()


@pytest.mark.parametrize("backend", BACKENDS)
def test_saved_networks_run_in_plain_keras_on_any_backend(
    backend: str, found: dict[str, Mapping[str, Any]], folder: Path, tmp_path: Path
) -> None:
    data = found[backend]
    other = BACKENDS[(BACKENDS.index(backend) + 1) % 3]
    batches = {"whole_closed": 7, "partial_closed": 21}
    for cell, batch in batches.items():
        windows = np.lib.stride_tricks.sliding_window_view(data[f"{cell}_asked"][0], 5)
        np.save(tmp_path / f"{backend}_{cell}.tokens.npy", windows.reshape(-1, batch, 5))
    # From a folder of its own: neither the checkout nor its tests are on the path.
    script = str(ROOT / "tests" / "probes" / "plain.py")
    models = [str(folder / f"{backend}_{cell}.keras") for cell in batches]
    process(other, script, *models, cwd=tmp_path)
    for cell in batches:
        output = np.load(tmp_path / f"{backend}_{cell}.output.npy")
        answers = output.argmax(axis=-1).reshape(21, -1)
        assert (answers == data[f"{cell}_after_answers"][0]).mean() > 0.98, cell


def test_replicates_learn_what_they_learn_alone(echobench: Command, tmp_path: Path) -> None:
    cell = "whole[length=12,symbols=10,units=12,batch=4,sequences=3,evaluate_every=5]"
    arguments = ("run", "--backend", "jax", "--task", cell, "--max-epochs", "120")
    for more in (("--replicates", "3"), ("--seeds", "3")):
        done = echobench(*arguments, *more)
        assert done.returncode == 0, done.stderr
    told: dict[tuple[int, bool], Any] = {}
    for file in (tmp_path / "results").glob("*.jsonl"):
        for record in map(json.loads, file.read_text().splitlines()):
            told[record["seed"], bool(record["trial"].get("replicates"))] = record
    assert len(told) == 6
    for seed in range(3):
        together, alone = told[seed, True], told[seed, False]
        assert together["parity"]["passed"] is True
        assert together["time_to_target_s"] is None
        for name in ("status", "updates_to_target", "epochs", "first_lucky_epoch", "accuracy"):
            assert together[name] == alone[name], name
        ours, theirs = ([p["loss"] for p in r["evaluations"]] for r in (together, alone))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)  # rounding, over a hundred updates
    assert echobench("validate", "results").returncode == 0
    again = echobench(*arguments, "--replicates", "3")
    assert "3 of 3 trials are done" in again.stderr
