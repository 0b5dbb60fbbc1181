"""Read saved networks: check a .keras file before Keras opens it, without running any of it.

Keras' safe mode refuses code. These checks refuse more, since our networks need little: layers
that `run --save-models` never writes, archives with other files, and oversized files.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from echobench.errors import UsageError
from echobench.plugin.manager import Plugins
from echobench.trial.trial import Trial

CONFIGURATION = "config.json"
MEMBERS = {
    "metadata.json": 1_000_000,
    CONFIGURATION: 10_000_000,
    "model.weights.h5": 1_000_000_000,
}
"""Files in the archive, each with its maximum unpacked size in bytes."""
MAX_NETWORK_BYTES = sum(MEMBERS.values())
MAX_TRIAL_BYTES = 1_000_000
LAYERS = {
    "Activation", "Attention", "Concatenate", "Dense", "InputLayer", "LSTM", "Masking",
    "RepeatVector", "Reshape", "TimeDistributed",
}  # fmt: skip # one line reads better
SAFE_MODULES = ("keras.initializers", "keras.src.ops.")
"""Modules whose classes all only compute."""
OTHER_CLASSES = {
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
    (None, "__keras_tensor__"),
    (None, "__tuple__"),
}


@dataclass(frozen=True)
class SavedNetwork:
    """A network that `run --save-models` wrote.

    Attributes:
        path: the .keras file.
        sha256: its digest.
        trial: that trained it, from the .json file beside it.
    """

    path: Path
    sha256: str
    trial: Trial


def read_network(path: Path, plugins: Plugins) -> SavedNetwork:
    """Check a saved network and read its trial.

    Raises:
        UsageError: a file is missing or damaged, or the network's task is not installed.
    """
    trial_path = path.with_suffix(".json")
    try:
        for file, limit in ((path, MAX_NETWORK_BYTES), (trial_path, MAX_TRIAL_BYTES)):
            if file.stat().st_size > limit:
                raise UsageError(f"{file}: expected at most {limit:,} bytes")
        check_archive(path)
        network, trial_json = path.read_bytes(), trial_path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: expected a network and, beside it, {trial_path.name} with its trial, as "
            f"run --save-models writes them; no such file: {error.filename}"
        ) from error
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}") from error
    try:
        trial = Trial.model_validate_json(trial_json)
        if trial.task not in plugins.tasks:
            raise UsageError(
                f"{path}: its task {trial.task!r} is not installed; it came from "
                f"{', '.join(trial.plugins)}; name a task's file with --plugin"
            )
        plugins.tasks[trial.task].value(**trial.parameters)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "file"
        raise UsageError(f"{trial_path}: not a trial ({where}: {problem['msg']})") from error
    return SavedNetwork(path, hashlib.sha256(network).hexdigest(), trial)


def check_archive(path: Path) -> None:
    """Refuse a file that `run --save-models` cannot have written.

    Raises:
        UsageError: the reason, in one line.
    """
    problem = _archive_problem(path)
    if problem is not None:
        raise UsageError(f"{path}: expected a network as run --save-models writes it; {problem}")


def _archive_problem(path: Path) -> str | None:
    if path.suffix != ".keras" or not path.is_file() or not zipfile.is_zipfile(path):
        return "this is no .keras file"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(MEMBERS):
                names = ", ".join(repr(member.filename) for member in members[:5])
                return f"expected {', '.join(MEMBERS)} in it; it holds {names}"
            for member in members:
                limit = MEMBERS[member.filename]
                if member.file_size > limit:
                    return f"{member.filename} has {member.file_size:,} bytes, more than {limit:,}"
            unknown = next(_unknown_classes(json.loads(archive.read(CONFIGURATION))), None)
    except Exception as error:
        # The file may hold anything, so zipfile and json may raise anything.
        return f"it cannot be read: {type(error).__name__}: {error}"
    return None if unknown is None else f"it holds {unknown}, which is none of its layers"


def _unknown_classes(configuration: Any) -> Iterator[str]:
    """Yield the classes in a Keras configuration that our networks do not use."""
    if isinstance(configuration, list):
        for item in configuration:
            yield from _unknown_classes(item)
    if isinstance(configuration, dict):
        module, name = configuration.get("module"), configuration.get("class_name")
        if "class_name" in configuration and not _is_known(module, name):
            yield f"{module}.{name}"
        for item in configuration.values():
            yield from _unknown_classes(item)


def _is_known(module: object, name: object) -> bool:
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if module == "keras.layers":
        return name in LAYERS
    return (module, name) in OTHER_CLASSES or (module or "").startswith(SAFE_MODULES)
