"""Networks made by hand, whose echo and confidence follow from a formula."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from echobench.harness import echoing
from echobench.harness.plan import Selection, plan
from echobench.plugins import Plugins
from tests.conftest import Command

LOGIT = 8.0
MAKE = f"""
import keras, numpy as np
def save(name, width, kernel, bias, activation):
    x = keras.Input((5, width))
    layer = keras.layers.Dense(width, activation=activation)
    model = keras.Model(x, layer(x))
    layer.set_weights([kernel.astype("float32"), np.full(width, bias, "float32")])
    model.save(name)
kernel = {LOGIT} * np.eye(100)
kernel[7] = np.roll(kernel[7], 2)  # of 7 it makes 9
save("whole.keras", 100, kernel, 0.0, "softmax")
save("regression.keras", 1, np.ones((1, 1)), 0.3 / 99, "linear")
x = keras.Input((5, 100))
keras.Model(x, keras.layers.Lambda(lambda t: t)(x)).save("lambda.keras")
"""


@pytest.fixture(scope="module")
def models(plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, env=environment, check=True)
    for name in ("whole", "regression"):
        (trial,) = plan(Selection(tasks=[name], backends=["jax"]), plugins)
        (folder / f"{name}.json").write_text(trial.model_dump_json())
    shutil.copy(folder / "whole.json", folder / "lambda.json")
    return folder


def test_an_error_is_marked_and_the_confidence_is_the_softmax(
    models: Path, echobench: Command, tmp_path: Path
) -> None:
    told = (str(models / "whole.keras"), "12", "7", "93", "4", "55")
    done = echobench("echo", *told, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heard"] == found["expected"] == [12, 7, 93, 4, 55]
    assert found["echoed"] == [12, 9, 93, 4, 55]
    assert found["right"] == [True, False, True, True, True]
    sure = math.exp(LOGIT) / (math.exp(LOGIT) + 99)
    assert (found["called"], found["certainty"]) == ("confidence", pytest.approx([sure] * 5))
    lines = [line.split() for line in echobench("echo", *told).stdout.splitlines()]
    assert ["echoed", "12", "9", "93", "4", "55"] in lines
    assert ["✓", "✗", "✓", "✓", "✓"] in lines
    assert ["confidence", *[f"{sure:.1%}"] * 5] in lines
    assert ["4", "of", "5", "right"] in lines
    assert not list(tmp_path.iterdir())  # nothing is kept


def test_a_number_has_a_distance_and_no_probability(models: Path, echobench: Command) -> None:
    done = echobench("echo", str(models / "regression.keras"), *["12", "7", "93", "4", "55"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("0.30") == 5
    assert "no probability" in done.stdout
    assert "%" not in done.stdout


def foreign(models: Path) -> Path:
    shutil.copy(models / "regression.json", models / "foreign.json")
    return Path(shutil.copy(models / "whole.keras", models / "foreign.keras"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "expected a network of 'regression', 5 numbers in and 5 out; received one with "
                  "500 numbers in and 500 out"),
        (lambda models: models / "lambda.keras", "Python lambda"),
    ],
)  # fmt: skip # one line a case reads better
def test_a_file_that_is_no_such_network_is_one_line_and_exit_code_2(
    make: Callable[[Path], Path], message: str, models: Path, echobench: Command
) -> None:
    done = echobench("echo", str(make(models)), "1", "2", "3", "4", "5")
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert message in line


def test_without_a_wish_it_runs_where_nothing_is_compiled(plugins: Plugins) -> None:
    assert echoing.usable(plugins).value.name == "numpy"
