"""Handmade networks, whose echo and confidence follow from a formula."""

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

from echobench.cli.echo import _show
from echobench.errors import UsageError
from echobench.harness import predicting
from echobench.harness.plan import Selection, plan
from echobench.harness.predicting import EchoedSample
from echobench.harness.saved_networks import read_network
from echobench.plugin.manager import Plugins
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


WORDS = ["12", "7", "93", "4", "55"]
SURE = math.exp(LOGIT) / (math.exp(LOGIT) + 99)


def test_an_error_is_told_and_the_confidence_is_the_softmax(
    models: Path, echobench: Command, tmp_path: Path
) -> None:
    done = echobench("echo", str(models / "whole.keras"), *WORDS, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heard"] == found["expected"] == [12, 7, 93, 4, 55]
    assert found["echoed"] == [12, 9, 93, 4, 55]
    assert found["right"] == [True, False, True, True, True]
    assert (found["called"], found["certainty"]) == ("confidence", pytest.approx([SURE] * 5))
    assert not list(tmp_path.iterdir())  # nothing is kept


def test_for_people_an_error_has_a_sign(capsys: pytest.CaptureFixture[str]) -> None:
    _show(
        EchoedSample([12, 7], [12, 7], [12, 9], [True, False], [1.0, SURE], "confidence"), "a task"
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["echoed", "12", "9"] in lines
    assert ["✓", "✗"] in lines
    assert ["confidence", "100.0%", f"{SURE:.1%}"] in lines
    assert ["1", "of", "2", "right"] in lines
    _show(EchoedSample([1], [None], [2], [None], [0.99999], "confidence"), "a task")
    shown = capsys.readouterr().out
    assert ">99.9%" in shown  # 100% only where it is
    assert "the task does not say what is right: it draws" in shown
    _show(EchoedSample([1], [None], [2], [None], None, None), "a task", has_test_set=True)
    assert "what is right: its data hold no single answer" in capsys.readouterr().out


def echo(model: Path, plugins: Plugins) -> EchoedSample:
    saved = read_network(model, plugins)
    return predicting.echo_words(saved, WORDS, predicting.echo_backend(plugins), plugins)


def foreign(models: Path) -> Path:
    """Return a network of another task than the file beside it says."""
    shutil.copy(models / "regression.json", models / "foreign.json")
    return Path(shutil.copy(models / "whole.keras", models / "foreign.keras"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "expected a network of 'regression', 5 numbers in and 5 out; received one with "
                  "500 numbers in and 500 out"),
        (lambda models: models / "lambda.keras", "it holds keras.layers.Lambda"),
    ],
)  # fmt: skip # one line a case reads better
def test_a_file_that_is_no_such_network_is_named_in_one_line(
    make: Callable[[Path], Path], message: str, models: Path, plugins: Plugins
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        echo(make(models), plugins)
    assert "\n" not in str(caught.value)


def test_what_is_no_token_is_one_line_and_exit_code_2(models: Path, echobench: Command) -> None:
    done = echobench("echo", str(models / "whole.keras"), "1", "2", "-3")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("echobench: expected 5 tokens, integers of 0..99, as in: ")
    assert line.endswith("; received '-3'")


def test_without_a_wish_it_runs_where_nothing_is_compiled(plugins: Plugins) -> None:
    assert predicting.echo_backend(plugins).value.name == "numpy"
