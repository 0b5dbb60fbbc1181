"""Saved networks on every backend: real training, real files, real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echobench.core.sequences import MISSING
from echobench.errors import UsageError
from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.harness.predicting import Setting
from echobench.harness.saved_networks import read_network
from echobench.plugin.manager import Plugins
from echobench.store.reading import decoded_prediction
from echobench.trial.job import Job
from echobench.trial.record import Prediction
from tests.conftest import Command, paths
from tests.plugins.cells import ECHO
from tests.plugins.test_backends import ROOT
from tests.test_docs import DATA, DOCS, blocks, commands

pytestmark = pytest.mark.slow

GUIDE = DOCS / "writing-a-task.md"

MASKED = "masked[length=8,symbols=8,units=24,sequences=8]"

FAULTY = """
import os
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.numpy import Numpy

class Wrong(Numpy):
    "Answers backwards."
    name: ClassVar[str] = "wrong"

    def configure(self, device, threads):
        import keras
        predict_on_batch = keras.Model.predict_on_batch
        keras.Model.predict_on_batch = lambda model, x: predict_on_batch(model, x)[:, ::-1]

class Dying(Numpy):
    name: ClassVar[str] = "dying"

    def configure(self, device, threads):
        os.abort()

class Absent(Numpy):
    name: ClassVar[str] = "absent"
    requires: ClassVar[tuple] = ("no_such_framework",)

@hookimpl
def echobench_backends():
    return [Wrong(), Dying(), Absent()]
"""

# Keras on OpenVINO has no singular values.
NUCLEAR = """
import keras
x = keras.Input((5, 100))
size = keras.ops.norm(x, ord="nuc", axis=(1, 2), keepdims=True)
keras.Model(x, keras.layers.Dense(100)(x) * size).save("nuclear.keras")
"""


def trained(plugins: Plugins, folder: Path, task: str, division: str, bound: float = 0.003) -> Path:
    """Train a network on JAX until it is certified, and save it."""
    path = folder / f"{task.partition('[')[0]}_{division}.keras"
    selection = Selection(tasks=[task], backends=["jax"], divisions=[division], threads=1)
    (trial,) = plan(selection, plugins)
    trial = trial.model_copy(update={"bound": bound})
    job = Job(trials=[trial], save_models=folder)
    (record,) = launch.run_job(job, plugins.backends["jax"].value, folder / "log")
    assert record.status == "reached"
    saved = job.model_path(trial)
    assert saved is not None
    for suffix in (".keras", ".json"):
        saved.with_suffix(suffix).rename(path.with_suffix(suffix))
    return path


@pytest.fixture(scope="session")
def whole(plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(plugins, tmp_path_factory.mktemp("models"), "whole", "open")


def predictions(folder: Path) -> dict[tuple[str, str], Prediction]:
    """Return the recorded predictions by model and backend."""
    (file,) = folder.glob("results/predictions-*.jsonl")
    found = [decoded_prediction(line) for line in file.read_bytes().splitlines()]
    return {(prediction.model, prediction.backend): prediction for prediction in found}


def test_five_backends_give_the_same_answers(
    whole: Path, echobench: Command, tensorflow_beside: None, tmp_path: Path
) -> None:
    options = ("--batch", "1", "--batch", "21", "--threads", "1", "--format", "json")
    done = echobench("predict", str(whole), *options)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    names = ["jax", "numpy", "openvino", "tensorflow", "torch"]
    assert [row["backend"] for row in rows] == [name for name in names for _ in range(2)]
    for row in rows:
        assert row["status"] == "measured", row["reason"]
        assert (row["accuracy"], row["tokens"]) == (1.0, 1000 * 21 * 5)
        assert row["differing_tokens"] == (None if row["backend"] == "jax" else 0)
        assert 0 < row["quartiles_s"][0] <= row["median_s"] <= row["quartiles_s"][1]
        assert row["samples_per_s"] == pytest.approx(row["batch"] / row["median_s"])
    kept = predictions(tmp_path)
    assert len({prediction.answers_sha256 for prediction in kept.values()}) == 1
    openvino = kept[whole.name, "openvino"]
    assert openvino.execution["INFERENCE_PRECISION_HINT"] == "f32"
    assert "openvino" in (openvino.provenance.versions or {})
    assert openvino.trial.backend == "jax"


def test_states_and_masks_go_with_the_model(
    plugins: Plugins, echobench: Command, tmp_path: Path
) -> None:
    # The first carries its state from batch to batch, the second skips what is missing.
    models = [trained(plugins, tmp_path, cell, "open", bound=0.04) for cell in (ECHO, MASKED)]
    backends = ("--backend", "numpy", "--backend", "openvino")
    done = echobench("predict", *map(str, models), *backends, "--batch", "7", "--threads", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("100%") == 4
    for (_, backend), prediction in predictions(tmp_path).items():
        assert prediction.accuracy == 1.0
        assert prediction.differing_tokens == (0 if backend == "openvino" else None)
    masked = 1000 * (8 * 5 - 4 - 3 - 2 - 1)  # without what the first windows lack
    assert predictions(tmp_path)["masked_open.keras", "numpy"].tokens == masked


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the guide's tasks, and `models/` with a network of each."""
    folder = tmp_path_factory.mktemp("guide")
    files = [text for text in blocks(GUIDE, "python") if "def echobench_tasks" in text]
    assert len(files) > 4
    for language, name in DATA.items():
        for text in blocks(GUIDE, language):
            (folder / name).write_text(text)
    for text in files:
        (folder / text.split()[1]).write_text(text)
    selectors = [word for words in commands(GUIDE) for word in words if word.endswith("]")]
    probe("jax", folder, "saving", *plugin_files(folder), *selectors)
    assert len([*(folder / "models").glob("*.keras")]) == len(files)
    return folder


def plugin_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.py"))


def probe(backend: str, folder: Path, name: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.probes.{name}", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "CUDA_VISIBLE_DEVICES": "-1",
            "PYTHONPATH": paths(ROOT, os.environ["PYTHONPATH"]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def answers(guide: Path) -> Mapping[str, Any]:
    """Return what each network of the guide answers in Keras on NumPy."""
    return answered("numpy", guide)


def answered(backend: str, guide: Path) -> Mapping[str, Any]:
    probe(backend, guide, "predicting", backend, "models", *plugin_files(guide))
    return dict(np.load(guide / "models" / f"{backend}.npz"))


@pytest.mark.parametrize("backend", ["jax", "openvino", "tensorflow", "torch"])
def test_every_network_of_the_guide_predicts_alike_on_every_backend(
    backend: str, guide: Path, answers: Mapping[str, Any]
) -> None:
    found = answered(backend, guide)
    assert found.keys() == answers.keys() == {p.stem for p in (guide / "models").glob("*.keras")}
    assert max(len(np.unique(expected)) for expected in answers.values()) > 50
    for name, expected in answers.items():
        # A network that is not trained has outputs that are nearly equal.
        few = (expected != MISSING).sum() / 1000
        assert (found[name] != expected).sum() <= few, name


def test_a_file_that_is_no_network_costs_the_others_nothing(
    guide: Path, echobench: Command, tmp_path: Path
) -> None:
    models = shutil.copytree(guide / "models", tmp_path / "models")
    first, second, *others = sorted(models.glob("*.keras"))
    for each in others:
        each.unlink()
    (models / "none.keras").write_text("none")
    shutil.copy(first.with_suffix(".json"), models / "none.json")
    plugins = [word for name in plugin_files(guide) for word in ("--plugin", str(guide / name))]
    options = ("--backend", "numpy", "--batch", "1", "--threads", "1", *plugins)
    done = echobench("predict", "models", *options)
    assert done.returncode == 1
    assert "none.keras: expected a network" in done.stderr
    made = predictions(tmp_path)
    assert {*made} == {(first.name, "numpy"), (second.name, "numpy")}
    assert {prediction.status for prediction in made.values()} == {"measured"}


def test_failures_and_differences_are_rows_and_exit_code_1(
    whole: Path, echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    names = ("numpy", "wrong", "dying")
    backends = [word for name in names for word in ("--backend", name)]
    options = ("--batch", "1", "--threads", "1", "--plugin", "faulty.py")
    done = echobench("predict", str(whole), *backends, *options)
    assert done.returncode == 1
    found = {backend: made for (_, backend), made in predictions(tmp_path).items()}
    assert found["wrong"].differs_from == "numpy"
    assert (found["wrong"].differing_tokens or 0) > 50_000
    assert "differ" in done.stdout
    assert (found["dying"].status, found["dying"].reason) == (
        "failed", "the worker was ended by SIGABRT"
    )  # fmt: skip # one line reads better
    done = echobench("predict", str(whole), *backends, "--backend", "absent", *options)
    assert done.returncode == 2
    assert done.stderr == (
        "echobench: --backend absent: it cannot run here: no_such_framework not installed; run: "
        "pip install no_such_framework\n"
    )


def test_a_layer_that_a_backend_lacks_is_unsupported(
    whole: Path, echobench: Command, tmp_path: Path
) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    subprocess.run([sys.executable, "-c", NUCLEAR], cwd=tmp_path, env=environment, check=True)
    shutil.copy(whole.with_suffix(".json"), tmp_path / "nuclear.json")
    done = echobench("predict", "nuclear.keras", "--backend", "openvino")
    assert done.returncode == 1  # nothing was measured
    assert done.stderr.splitlines()[-1] == "no backend ran a network"
    (prediction,) = predictions(tmp_path).values()
    assert prediction.status == "unsupported"
    assert re.fullmatch("not implemented in Keras on openvino: .*", prediction.reason or "")


def test_training_where_nothing_trains_is_unsupported(plugins: Plugins, tmp_path: Path) -> None:
    (trial,) = plan(Selection(tasks=["whole"], backends=["numpy"]), plugins)
    backend = plugins.backends["numpy"].value
    (record,) = launch.run_job(Job(trials=[trial]), backend, tmp_path / "log")
    assert record.status == "unsupported"
    assert record.reason == "numpy only predicts; use echobench predict"


def test_all_backends_to_train_on_are_those_that_train(plugins: Plugins) -> None:
    trials = plan(Selection(tasks=["whole"]), plugins)
    ours = {"jax", "tensorflow", "torch", "torch-native", "flax", "equinox", "jax-plain"}
    assert {trial.backend for trial in trials} == ours


def test_a_peer_runs_no_saved_network(whole: Path, echobench: Command) -> None:
    done = echobench("predict", str(whole), "--backend", "flax", "--format", "json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "echobench: --backend flax: it cannot run here: flax does without Keras, which saved them\n"
    )


Damage = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: model.unlink(), "no such file"),
        (lambda model: model.write_text("{}"), "this is no .keras file"),
        (lambda model: model.with_suffix(".json").unlink(), "no such file: .*copy.json"),
        (lambda model: model.with_suffix(".json").write_bytes(b"\xff{"), "not a trial"),
        (lambda model: model.with_suffix(".json").write_text("{}"), "not a trial .task: Field"),
        (
            lambda model: edit(model, task="nowhere"),
            "'nowhere' is not installed; its trial used the plugins",
        ),
        (lambda model: edit(model, parameters={"n_in": 0}), "not a trial .n_in: Input should"),
    ],
)
def test_bad_input_is_named(
    damage: Damage, message: str, whole: Path, plugins: Plugins, tmp_path: Path
) -> None:
    model = tmp_path / "copy.keras"
    for suffix in (".keras", ".json"):
        shutil.copy(whole.with_suffix(suffix), model.with_suffix(suffix))
    assert read_network(model, plugins).trial.task == "whole"
    damage(model)
    with pytest.raises(UsageError, match=message) as caught:
        read_network(model, plugins)
    assert "\n" not in str(caught.value)


def edit(model: Path, **changes: Any) -> None:
    told = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps({**told, **changes}))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "tpu"}, "--device: expected cpu or gpu; received 'tpu'"),
        ({"threads": 0}, "--threads: expected 1 or more; received 0"),
        ({"batches": [1, 0]}, "--batch: expected 1 or more; received 0"),
    ],
)
def test_bad_settings_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Setting(**{"device": "cpu", "threads": 1, "timeout_s": 60.0, **setting})


def test_bad_input_is_one_line_and_exit_code_2(echobench: Command, tmp_path: Path) -> None:
    done = echobench("predict", "absent.keras")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("no such file: absent.keras")
    assert not (tmp_path / "results").exists()
