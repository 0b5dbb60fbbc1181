"""What a worker does before its trial."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
from pathlib import Path

import pytest

from echobench.core.backend import hidden
from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job
from echobench.worker.job import OPTIONAL, uncollected
from tests.harness.faulty import run
from tests.plugins.cells import ECHO


@pytest.mark.parametrize(
    ("keras", "requires", "comes"),
    [("jax", (), ["jax"]), ("numpy", ("jax",), ["jax"]), ("openvino", (), [])],
)
def test_keras_comes_without_what_else_is_installed(
    keras: str, requires: tuple[str, ...], comes: list[str], tmp_path: Path
) -> None:
    fault = f"import keras; raise ValueError([n for n in {OPTIONAL} if sys.modules.get(n)])"
    record = run(tmp_path, fault, uses_keras=True, keras=keras, requires=requires)
    assert (record.reason or "").endswith(f": ValueError: {comes}")
    for name in ("jax", "matplotlib", "pandas"):  # Keras would find them
        assert importlib.util.find_spec(name) is not None


def test_garbage_is_collected_again_after_an_import_that_fails() -> None:
    within = []
    with contextlib.suppress(ImportError), uncollected():
        within.append(gc.isenabled())
        raise ImportError
    assert within == [False]
    assert gc.isenabled()


def test_what_is_hidden_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "afterwards.py").touch()
    (tmp_path / "before.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = importlib.import_module("before")
    with hidden("before", "afterwards", "never"):
        assert importlib.import_module("before") is before
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("afterwards")
    importlib.import_module("afterwards")
    assert "never" not in sys.modules
    for name in ("before", "afterwards"):
        monkeypatch.delitem(sys.modules, name)


def test_trials_in_turn_are_those_of_a_process_each(plugins: Plugins, tmp_path: Path) -> None:
    selection = Selection(tasks=[ECHO], backends=["jax"], divisions=["open"], seeds=2, threads=1)
    trials = plan(selection, plugins)
    backend = plugins.backends["jax"].value
    in_turn = launch.run_job(Job(trials=trials), backend, tmp_path / "log")
    (alone,) = launch.run_job(Job(trials=trials[1:]), backend, tmp_path / "log")
    assert [record.seed for record in in_turn] == [trial.seed for trial in trials]
    second = in_turn[1]
    assert second.status == alone.status == "reached"
    assert second.epochs_to_target == alone.epochs_to_target
    assert [p.loss for p in second.evaluations] == [p.loss for p in alone.evaluations]
    assert second.import_s is None  # the framework was there already
    assert (alone.import_s or 0.0) > 0
