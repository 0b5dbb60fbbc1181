"""The pytest plugin, run by the real pytest and pytest-benchmark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echobench.core.task import Recipe
from echobench.core.training import warm_up_epochs
from tests.test_docs import FENCED
from tests.test_public import FRAMEWORKS, imported_by

pytestmark = pytest.mark.usefixtures("optimized")

TASK = """
from pydantic import PositiveInt
from echobench import EchoTask, Recipe, hookimpl

class Short(EchoTask):
    name = "short"
    n_in: PositiveInt = 3
    recipes = {
        "closed": Recipe(units=16, batch=23, learning_rate=0.01, epochs=200, evaluate_every=20)
    }

@hookimpl
def echobench_tasks():
    return [Short]
"""
BACKEND = """
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.jax import Jax

class Absent(Jax):
    name: ClassVar[str] = "absent"
    reference: ClassVar[bool] = False
    requires: ClassVar[tuple] = ("no_such_framework",)

@hookimpl
def echobench_backends():
    return [Absent()]
"""
PAGE = (Path(__file__).parents[2] / "docs" / "pytest-benchmark.md").read_text()
(EXAMPLE,) = [text for language, text in FENCED.findall(PAGE) if language == "python"]
KEPT = """    from pathlib import Path
    Path("record.json").write_text(record.to_json())
"""
OTHERS = """
def test_absent(echo_benchmark):
    echo_benchmark("short", backend="absent", plugin=["short.py", "absent.py"])

def test_mistyped(echo_benchmark):
    echo_benchmark("shrot", backend="jax", plugin="short.py")

def test_few(echo_benchmark):
    echo_benchmark("short", backend="jax", plugin="short.py", epochs=20)

def test_of_something_else():
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "short.py").write_text(TASK)
    (tmp_path / "absent.py").write_text(BACKEND)
    (tmp_path / "test_short.py").write_text(EXAMPLE + KEPT + OTHERS)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        # Not one of the workers that run these tests: there nothing is timed.
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_trial_is_a_benchmark(folder: Path) -> None:
    save = ("--benchmark-autosave", "--benchmark-save-data")
    done = run(folder, "pytest", "-rs", "--benchmark-only", *save)
    assert "2 failed, 1 passed, 2 skipped" in done.stdout, done.stdout + done.stderr
    assert "no_such_framework not installed" in done.stdout
    assert "echo_benchmark: unknown task 'shrot'; did you mean 'short'?" in done.stdout
    assert (
        "echo_benchmark: too short to be timed: expected epochs=21 or more, since the first 2 "
        "dispatches, to epoch 20, are the warm-up; received epochs=20"
    ) in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout
    (saved,) = folder.glob(".benchmarks/*/0001_*.json")
    (benchmark,) = json.loads(saved.read_text())["benchmarks"]
    record = json.loads((folder / "record.json").read_text())
    assert (record["epochs"], record["status"]) == (70, "missed")
    assert record["parity"]["passed"]
    # Epochs 1, 19, 20, 20 and 10: the first two dispatches warm up.
    found = benchmark["stats"]
    assert (found["rounds"], found["iterations"]) == (3, 10 * record["updates"] // 70)
    assert found["median"] == pytest.approx(record["seconds_per_update"])
    quartiles = np.percentile(found["data"], [25, 75])
    assert quartiles == pytest.approx(record["seconds_per_update_quartiles"])
    assert benchmark["options"]["timer"] == "worker_clock"
    assert benchmark["group"] == "short closed"
    beside = benchmark["extra_info"]
    assert (beside["success"], beside["statuses"]) == ("0/1", {"missed": 1})
    for name in ("accuracy", "exact_match", "limit_fraction", "wall_s", "seconds_per_update"):
        assert beside[name] == pytest.approx(record[name])
    assert "test_short" in run(folder, "pytest_benchmark", "compare").stdout


EASY = """
def test_easy(echo_benchmark):
    easy = "short[n_in=1,symbols=10,evaluate_every=2]"
    record = echo_benchmark(easy, backend="jax", plugin="short.py", epochs=5000)
    assert record.status == "reached"
"""


def test_a_trial_that_is_certified_says_that_it_ended_there(folder: Path) -> None:
    (folder / "test_short.py").write_text(EASY)
    done = run(folder, "pytest", "--benchmark-only", "--benchmark-json", "saved.json")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    (benchmark,) = json.loads((folder / "saved.json").read_text())["benchmarks"]
    ended = benchmark["extra_info"]["ended"]
    (text,) = re.findall(r"^certified in epoch (\d+), and timed up to there, of the 5,000", ended)
    epoch = int(text)
    assert f"test_short.py::test_easy: {ended}" in " ".join(done.stdout.split())
    assert benchmark["stats"]["rounds"] == epoch // 2 - 1  # epochs 1 and 2 warm up


@pytest.mark.parametrize(
    ("every", "epochs", "dispatch", "warm_up"),
    [(20, 200, 20, 20), (1, 200, 1, 2), (500, 200, 100, 101), (500, 50, 100, 50), (500, 9, 10, 9)],
)
def test_the_warm_up_is_what_training_leaves_out(
    every: int, epochs: int, dispatch: int, warm_up: int
) -> None:
    recipe = Recipe(units=1, batch=1, epochs=epochs, evaluate_every=every)
    assert warm_up_epochs(recipe, dispatch) == warm_up


def test_pytest_does_without_pytest_benchmark_and_without_the_plugin(folder: Path) -> None:
    done = run(folder, "pytest", "-W", "error", "--strict-markers", "-p", "no:benchmark")
    assert "1 passed, 4 errors" in done.stdout, done.stdout + done.stderr
    assert "pip install 'echobench[benchmark]'" in done.stdout
    done = run(folder, "pytest", "-W", "error", "-p", "no:echobench")
    assert "1 passed, 4 errors" in done.stdout
    assert "fixture 'echo_benchmark' not found" in done.stdout


def test_loading_it_is_light() -> None:
    heavy = FRAMEWORKS | {"numpy", "pandas", "pydantic", "scipy", "typer", "pytest_benchmark"}
    assert not imported_by("import echobench.testing.pytest_plugin") & heavy
