"""What a worker is told and given, and trials for which none is started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.trial import Trial
from tests.harness.faulty import run


def test_a_backend_that_is_not_installed_is_unavailable(tmp_path: Path) -> None:
    record = run(tmp_path, "pass", requires=("no_such_framework",))
    assert record.status == "unavailable"
    assert record.reason == "no_such_framework not installed; run: pip install no_such_framework"


def test_the_environment_is_an_allow_list(
    monkeypatch: pytest.MonkeyPatch, plugins: Plugins
) -> None:
    monkeypatch.setenv("KERAS_TORCH_COMPILE", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"], threads=3), plugins)
    built = launch.environment(plugins.backend("jax").value, trial, "/private")
    assert built["KERAS_BACKEND"] == "jax"
    assert built["KERAS_HOME"] == "/private"
    assert built["OMP_NUM_THREADS"] == "3"
    assert not {"KERAS_TORCH_COMPILE", "XLA_FLAGS"} & set(built)


def test_what_a_worker_is_told_survives_the_trip(plugins: Plugins) -> None:
    (trial,) = plan(Selection(tasks=["partial[symbols=10]"], backends=["jax"]), plugins)
    assert Trial.model_validate_json(trial.model_dump_json()) == trial


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_a_device_that_is_not_there_is_a_row_that_says_so(plugins: Plugins, tmp_path: Path) -> None:
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"], device="gpu"), plugins)
    backend = plugins.backend("jax").value
    record = launch.run_trial(trial, backend, command=["test"], log=tmp_path / "log")
    assert (record.status, record.reason) == ("unavailable", "expected a gpu; jax sees none")
