"""Malicious model files are refused before Keras opens them, and by Keras itself."""

from __future__ import annotations

import base64
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echobench.errors import UsageError
from echobench.harness import predicting, saved_networks
from echobench.harness.plan import Selection, plan
from echobench.harness.saved_networks import check_archive, read_network
from echobench.plugin.manager import Plugins
from tests.conftest import Command

PROOF = "executed"
"""A file that exists if an attacker's code has run."""
MAKE = """
import keras
x = keras.Input((5, 100))
keras.Model(x, keras.layers.Dense(100, activation="softmax")(x)).save("good.keras")
"""
OWN = """
import keras, numpy as np
from keras import layers
tokens = keras.Input((5,), dtype="int32")
x = layers.Embedding(100, 8)(tokens + 1)[..., 1:]
x = x + layers.Embedding(5, 7)(keras.ops.zeros_like(tokens) + np.arange(5, dtype="int32"))
x = layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
x = layers.LayerNormalization()(layers.Add()([x, layers.GRU(7, return_sequences=True)(x)]))
x = layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True))(x)
x = layers.Conv1D(6, 3, padding="causal", kernel_regularizer="l2", bias_constraint="non_neg")(x)
keras.Model(tokens, layers.Dense(100, activation="softmax")(x)).save("own.keras")
"""
LOAD = """
import sys, keras
for path in sys.argv[1:]:
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        print("loaded", path, [w.shape for w in model.weights])
    except Exception as error:
        print("refused", path, type(error).__name__)
"""
H5 = """
import h5py, shutil, sys
weights, secret = sys.argv[1:]
for kind in ("link", "soft", "external", "vast"):
    shutil.copy(weights, kind + ".h5")
    with h5py.File(kind + ".h5", "r+") as file:
        group = file["layers/dense/vars"]
        del group["0"]
        if kind == "link":
            group["0"] = h5py.ExternalLink(secret, "/x")
        elif kind == "soft":
            group["0"] = h5py.SoftLink("/elsewhere")
        elif kind == "external":
            group.create_dataset("0", (100, 100), "f4", external=[(secret, 0, 40_000)])
        else:
            group.create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip")
"""


def evil(command: str) -> str:
    code = compile(f"lambda x: __import__('os').system({command!r})", "<x>", "eval")
    return base64.b64encode(marshal.dumps(code.co_consts[0])).decode()


TOUCH = f"touch {PROOF}"
LAMBDA: dict[str, Any] = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {
        "name": "evil",
        "function": {
            "class_name": "__lambda__",
            "config": {"code": evil(TOUCH), "defaults": None, "closure": None},
        },
    },
}


def layer(module: str | None, name: str, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": {"name": "evil", **config}}


def function(module: str, name: str) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


CONFIGURATIONS: dict[str, Any] = {
    "a lambda's code": LAMBDA,
    "a lambda within a legacy configuration": {"class_name": "Lambda", "config": LAMBDA["config"]},
    "a wrapped lambda": layer("keras.layers", "TimeDistributed", layer=LAMBDA),
    "os.system": layer("os", "system", command=TOUCH),
    "subprocess.run": layer("subprocess", "run", args=["touch", PROOF]),
    "builtins.eval": layer("builtins", "eval", source=TOUCH),
    # CVE-2025-1550
    "a function of any module": layer(
        "keras.layers", "Lambda", function=function("subprocess", "run"), arguments={"args": TOUCH}
    ),
    # CVE-2025-8747
    "get_file": layer(
        "keras.layers",
        "Lambda",
        function=function("keras.src.utils.file_utils", "get_file"),
        arguments={"origin": "file:///etc/passwd", "fname": PROOF, "cache_dir": "."},
    ),
    "an activation that is get_file": layer(
        "keras.layers", "Dense", units=1, activation=function("keras.utils", "get_file")
    ),
    # CVE-2025-9906
    "safe mode turned off": function("keras.config", "enable_unsafe_deserialization"),
    # CVE-2025-12058
    "a vocabulary read from a file": layer(
        "keras.layers", "StringLookup", vocabulary="/etc/passwd"
    ),
    # CVE-2025-49655
    "a pickled torch module": layer("keras.layers", "TorchModuleWrapper", state="gASV"),
    # CVE-2026-1462
    "a SavedModel elsewhere": layer("keras.layers", "TFSMLayer", filepath="/tmp/evil"),
    # A function among the operations that indexing and arithmetic make.
    "a function of an operation's module": function("keras.src.ops.numpy", "load"),
    "a class outside the operations": layer("keras.src.utils.file_utils", "File"),
    "a type of TensorFlow": {"class_name": "__typespec__", "spec_name": "x", "config": []},
    "a bare lambda": LAMBDA["config"]["function"],
    "a module whose name starts as a known one": layer("keras.initializersX.evil", "Zeros"),
    "an unknown class": layer("evil_module", "Layer"),
    "a registered name": {**layer("builtins", "Evil"), "registered_name": "evil>Evil"},
    "a module that is no text": {"module": ["os"], "class_name": "system", "config": {}},
}


@pytest.fixture(scope="module")
def good(plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    run(MAKE, folder)
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"]), plugins)
    (folder / "good.json").write_text(trial.model_dump_json())
    return folder / "good.keras"


def run(code: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def configured(path: Path, good: Path, told: Any) -> Path:
    """Write a network with another object among its layers."""
    content = members(good)
    config = json.loads(content["config.json"])
    config["config"]["layers"].insert(1, told)
    return packed(path, {**content, "config.json": json.dumps(config).encode()})


@pytest.fixture(scope="module")
def crafted(good: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return networks whose configuration would make Keras create foreign objects."""
    folder = tmp_path_factory.mktemp("crafted")
    return {
        name: configured(folder / f"{number}.keras", good, told)
        for number, (name, told) in enumerate(CONFIGURATIONS.items())
    }


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_keras_would_make_of_a_configuration_is_refused_before(
    name: str, crafted: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match="which is none of the layers it opens") as caught:
        check_archive(crafted[name])
    assert "\n" not in str(caught.value)


def test_keras_in_safe_mode_refuses_them_too_and_runs_nothing(
    crafted: dict[str, Path], good: Path
) -> None:
    folder = good.parent
    paths = [str(path) for path in crafted.values()]
    said = run(LOAD, folder, *paths, str(good)).splitlines()
    loaded = [line for line in said if line.startswith("loaded")]
    assert len(said) == len(paths) + 1
    assert [line.split()[1] for line in loaded] == [str(good)]
    assert not list(folder.rglob(PROOF))


NO_SEQUENCE = [
    "AugMix",
    "AutoContrast",
    "CenterCrop",
    "Contrast",
    "CutMix",
    "Equalization",
    "MaxNumBoundingBoxes",
    "MelSpectrogram",
    "MixUp",
    "Pipeline",
    "RandAugment",
    "Random",
    "Resizing",
    "STFTSpectrogram",
    "Solarization",
]
"""Layers for images and sound: beginnings of their names, or whole names."""
TABLES = [
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "Normalization",
    "StringLookup",
    "TextVectorization",
]
"""Layers that keep, or may read, a table."""
CODE = ["FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"]
ABSTRACT = ["InputSpec", "Layer", "Wrapper"]
LISTED = """
import inspect, json
import keras
kinds = {name: kind for name, kind in vars(keras.layers).items() if inspect.isclass(kind)}
print(json.dumps({name: kind.__name__ for name, kind in kinds.items()}))
"""


def test_of_keras_layers_those_are_opened_that_compute_sequences_and_no_other(
    tmp_path: Path,
) -> None:
    listed = json.loads(run(LISTED, tmp_path))
    assert {*saved_networks.LAYERS} <= {*listed}
    # No alias, but for one that Keras saves by a name that its class has not.
    aliases = {name for name in saved_networks.LAYERS if listed[name] != name}
    assert aliases == {"GroupQueryAttention"}
    # What is new in Keras is in neither list, and somebody has to decide.
    left = [name for name, real in listed.items() if name == real]
    left = [name for name in left if name not in saved_networks.LAYERS]
    left = [name for name in left if not re.search("[23]D(Transpose)?$", name)]
    left = [name for name in left if not name.startswith(tuple(NO_SEQUENCE))]
    assert sorted(left) == sorted([*TABLES, *CODE, *ABSTRACT])


def test_values_and_operations_of_a_network_of_ones_own_are_opened(
    good: Path, tmp_path: Path
) -> None:
    content = members(good)
    run(OWN, tmp_path)
    (opened,) = run(LOAD, tmp_path, "own.keras").splitlines()
    assert opened.startswith("loaded")
    check_archive(tmp_path / "own.keras")
    assert {*members(tmp_path / "own.keras")} == {*content}


def traversal(path: Path, content: dict[str, bytes]) -> None:
    packed(path, {**content, "../../escaped": b"x"})


def asset(path: Path, content: dict[str, bytes]) -> None:
    packed(path, {**content, "assets/evil.pkl": b"\x80\x04."})


def bomb(path: Path, content: dict[str, bytes]) -> None:
    packed(path, {**content, "config.json": bytes(20_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000


def twice(path: Path, content: dict[str, bytes]) -> None:
    packed(path, content)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", b"{}")


def deep(path: Path, content: dict[str, bytes]) -> None:
    packed(path, {**content, "config.json": b"[" * 100_000})


def cut(path: Path, content: dict[str, bytes]) -> None:
    whole = packed(path, content).read_bytes()
    path.write_bytes(whole[len(whole) // 2 :])


def encrypted(path: Path, content: dict[str, bytes]) -> None:
    data = bytearray(packed(path, content).read_bytes())
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(mark)
        while at >= 0:
            data[at + place] |= 1
            at = data.find(mark, at + 1)
    path.write_bytes(data)


def other(start: bytes) -> Callable[[Path, dict[str, bytes]], None]:
    def write(path: Path, content: dict[str, bytes]) -> None:
        path.write_bytes(start + bytes(100))

    return write


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (traversal, "it holds .*escaped"),
        (asset, "it holds "),
        (bomb, "20,000,000 bytes, more than"),
        (twice, "it holds "),
        (deep, "cannot be read: RecursionError"),
        (cut, "cannot be read|no .keras file"),
        (encrypted, "cannot be read"),
        (other(b"\x89HDF\r\n\x1a\n"), "no .keras file"),
        (other(b"\x80\x04\x95"), "no .keras file"),
        (other(b"\x93NUMPY"), "no .keras file"),
        (lambda path, _: path.mkdir(), "no .keras file"),
        (lambda path, _: os.mkfifo(path), "no .keras file"),
        (lambda path, _: packed(path, {"a.npy": b"\x93NUMPY"}), "it holds 'a.npy'"),
        (lambda path, content: packed(path, {**content, "config.json": b"\xff"}), "cannot be read"),
    ],
)  # fmt: skip # one line a case reads better
def test_a_file_that_is_another_or_swells_is_refused_in_one_line(
    make: Any, why: str, good: Path, plugins: Plugins, tmp_path: Path
) -> None:
    path = tmp_path / "inner" / "evil.keras"
    path.parent.mkdir()
    shutil.copy(good.with_suffix(".json"), path.with_suffix(".json"))
    make(path, members(good))
    with pytest.raises(UsageError, match=why) as caught:
        read_network(path, plugins)
    assert "\n" not in str(caught.value)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["evil.json", "evil.keras", "inner"]


def test_weights_that_lie_elsewhere_or_nowhere_are_refused_by_keras(
    good: Path, plugins: Plugins, tmp_path: Path
) -> None:
    content = members(good)
    weights, secret = tmp_path / "good.h5", tmp_path / "secret"
    weights.write_bytes(content["model.weights.h5"])
    secret.write_bytes(b"secret" * 10_000)
    run(H5, tmp_path, str(weights), str(secret))
    paths = [
        packed(tmp_path / f"{kind}.keras", {**content, "model.weights.h5": made.read_bytes()})
        for kind in ("link", "soft", "external", "vast")
        if (made := tmp_path / f"{kind}.h5")
    ]
    said = run(LOAD, tmp_path, *map(str, paths)).splitlines()
    assert [line.split()[:2] for line in said] == [["refused", str(path)] for path in paths]
    shutil.copy(good.with_suffix(".json"), paths[2].with_suffix(".json"))
    saved = read_network(paths[2], plugins)
    with pytest.raises(UsageError, match=r"safe mode; .* H5 file with external") as caught:
        predicting.echo_words(saved, ["1", "2", "3", "4", "5"], plugins.backends["numpy"], plugins)
    assert "\n" not in str(caught.value)
    assert "secretsecret" not in str(caught.value)


@pytest.mark.parametrize("verb", ["echo", "predict"])
def test_the_command_is_one_line_and_exit_code_2(
    verb: str, crafted: dict[str, Path], good: Path, echobench: Command, tmp_path: Path
) -> None:
    path = Path(shutil.copy(crafted["a lambda's code"], tmp_path / "evil.keras"))
    shutil.copy(good.with_suffix(".json"), path.with_suffix(".json"))
    done = echobench(verb, str(path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "it holds keras.layers.Lambda" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"evil.keras", "evil.json"}


def test_no_plugin_is_loaded_because_a_file_beside_a_network_names_it(
    good: Path, plugins: Plugins, tmp_path: Path
) -> None:
    code = tmp_path / "evil.py"
    code.write_text(f"open({str(tmp_path / PROOF)!r}, 'w')\n")
    path = Path(shutil.copy(good, tmp_path / "evil.keras"))
    told = json.loads(good.with_suffix(".json").read_text())
    told["plugins"] = [f"file:{code}", "evil", "whole"]
    path.with_suffix(".json").write_text(json.dumps(told))
    saved = read_network(path, plugins)
    found = predicting.echo_words(
        saved, ["1", "2", "3", "4", "5"], plugins.backends["numpy"], plugins
    )
    assert len(found.echoed) == 5
    assert not (tmp_path / PROOF).exists()
    told["task"] = "evil"
    path.with_suffix(".json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="'evil' is not installed"):
        read_network(path, plugins)
    assert not (tmp_path / PROOF).exists()


def test_what_is_too_large_is_not_read(good: Path, plugins: Plugins, tmp_path: Path) -> None:
    path = Path(shutil.copy(good, tmp_path / "large.keras"))
    with path.with_suffix(".json").open("wb") as file:
        file.truncate(saved_networks.MAX_TRIAL_BYTES + 1)
    with pytest.raises(UsageError, match=r"large.json: expected at most 1,000,000 bytes"):
        read_network(path, plugins)
    with path.open("wb") as file:
        file.truncate(saved_networks.MAX_NETWORK_BYTES + 1)
    with pytest.raises(UsageError, match=r"large.keras: expected at most"):
        read_network(path, plugins)
