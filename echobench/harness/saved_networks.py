"""Saved networks: find them, describe them, and check a .keras file before Keras opens it.

Keras' safe mode refuses code. These checks refuse more: layers and classes that no list here
has, such as those that run code or read files, archives with other files, and oversized files.
"""

from __future__ import annotations

import glob
import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from echobench.errors import UsageError
from echobench.plugin.manager import Plugins
from echobench.store.folder import replace_file
from echobench.text import say
from echobench.trial.job import KEY_DIGITS, RESULT
from echobench.trial.record import Record
from echobench.trial.selectors import not_read, recorded_task
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
    "Activation", "ActivityRegularization", "AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D",
    "Add", "AdditiveAttention", "AlphaDropout", "Attention", "Average", "AveragePooling1D",
    "BatchNormalization",
    "Bidirectional", "Concatenate", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose",
    "ConvLSTM1D", "Cropping1D", "Dense", "DepthwiseConv1D", "Dot", "Dropout", "ELU", "EinsumDense",
    "Embedding", "Flatten", "GRU", "GRUCell", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling1D", "GlobalMaxPooling1D", "GroupNormalization", "GroupQueryAttention",
    "Identity", "InputLayer", "LSTM", "LSTMCell", "LayerNormalization", "LeakyReLU", "Masking",
    "MaxPooling1D", "Maximum", "Minimum", "MultiHeadAttention", "Multiply", "PReLU", "Permute",
    "RMSNormalization", "RNN", "ReLU", "RepeatVector", "Rescaling", "Reshape",
    "ReversibleEmbedding", "SeparableConv1D", "SimpleRNN", "SimpleRNNCell", "Softmax",
    "SpatialDropout1D", "SpectralNormalization", "StackedRNNCells", "Subtract", "TimeDistributed",
    "UnitNormalization", "UpSampling1D", "ZeroPadding1D",
}  # fmt: skip # one line reads better
"""The layers of `keras.layers` that compute sequences, and neither run code nor read files."""
VALUES = {
    "__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__",
    "__tuple__",
}  # fmt: skip # one line reads better
"""Values in a configuration that are no objects of a class, and hold no code."""
SAFE_MODULES = ("keras.constraints", "keras.initializers", "keras.regularizers", "keras.src.ops")
"""Modules whose classes all only compute; the last has what indexing and arithmetic make."""
OTHER_CLASSES = {
    ("keras", "DTypePolicy"),
    ("keras", "Sequential"),
    ("keras.src.models.functional", "Functional"),
}
CERTIFIED = "certified"
"""The result of a network whose certificate stands."""
DESCRIPTION = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class SavedNetwork:
    """A network that `run --save-models` wrote.

    Attributes:
        path: the .keras file.
        sha256: its digest.
        trial: that trained it, from the .json file beside it.
        doubt: why it is not certified; None if it is, or if an older version saved it.
    """

    path: Path
    sha256: str
    trial: Trial
    doubt: str | None = None


def networks_at(path: Path) -> list[Path]:
    """Return the saved networks that a path names.

    It is a file, a folder of networks, or a file without the trial's key at the end of its name:
    `whole_jax_fused_open-seed0` names all networks of this cell and seed.

    Raises:
        UsageError: a folder without a network.
    """
    if path.is_dir():
        found = sorted(one for one in path.glob("*.keras") if not one.name.startswith("."))
        if not found:
            raise UsageError(f"{path}: expected networks, as run --save-models writes them")
        return found
    if path.exists():
        return [path]
    name = glob.escape(path.name.removesuffix(".keras"))
    return sorted(path.parent.glob(f"{name}-{'[0-9a-f]' * KEY_DIGITS}.keras")) or [path]


def describe_result(path: Path, record: Record) -> None:
    """Add to the description of a network that a trial has just saved what its record says of it.

    A trial that ended before it saved one has none without a result. That the file cannot be
    written costs no record: it is said, and the network counts as uncertified.
    """
    description = path.with_suffix(".json")
    try:
        fields = DESCRIPTION.validate_json(description.read_bytes())
        if fields.get(RESULT, "") is None:
            result = CERTIFIED if record.status == "reached" else record.status
            why = record.contradiction or record.reason
            fields[RESULT] = f"{result}, but {why}" if why else result
            replace_file(description, json.dumps(fields, indent=2) + "\n")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no description of a network"
        say(f"{description}: the result is not written: {why}")


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
        fields = DESCRIPTION.validate_json(trial_json)
        result = fields.pop(RESULT, CERTIFIED) or "its trial did not end"
        trial = Trial.model_validate(fields)
        if trial.task not in plugins.tasks:
            raise UsageError(
                f"{path}: its task {trial.task!r} is not installed; its trial used the plugins "
                f"{', '.join(trial.plugins)}; name a task's file with --plugin"
            )
        recorded_task(plugins.tasks[trial.task].value, trial.parameters)
    except ValidationError as error:
        if (lacking := not_read(error)) is not None:
            raise UsageError(f"{path}: its task needs its data: {lacking}") from error
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "file"
        raise UsageError(f"{trial_path}: not a trial ({where}: {problem['msg']})") from error
    doubt = None if result == CERTIFIED else f"it is not certified: {result}"
    return SavedNetwork(path, hashlib.sha256(network).hexdigest(), trial, doubt)


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
    return None if unknown is None else f"it holds {unknown}, which is none of the layers it opens"


def _unknown_classes(configuration: Any) -> Iterator[str]:
    """Yield the classes in a Keras configuration that are on no list here."""
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
    if module is None:
        return name in VALUES
    is_safe = any(f"{module}.".startswith(f"{safe}.") for safe in SAFE_MODULES)
    return (module, name) in OTHER_CLASSES or (is_safe and name != "function")
