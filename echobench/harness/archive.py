"""What a .keras file may hold: looked at before Keras opens it, and without running any of it.

Keras' safe mode refuses code. This refuses more, since these networks need little: whatever is
no layer that `run --save-models` writes, more files than its three, and what swells.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echobench.errors import UsageError

CONFIGURATION = "config.json"
MEMBERS = {
    "metadata.json": 1_000_000,
    CONFIGURATION: 10_000_000,
    "model.weights.h5": 1_000_000_000,
}
"""Files in the archive, and how many bytes each may have, unpacked."""
LAYERS = {
    "Activation", "Attention", "Concatenate", "Dense", "InputLayer", "LSTM", "Masking",
    "RepeatVector", "Reshape", "TimeDistributed",
}  # fmt: skip # one line reads better
FAMILIES = ("keras.initializers", "keras.src.ops.")
"""Modules of which every class only computes."""
OTHERS = {
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
    (None, "__keras_tensor__"),
    (None, "__tuple__"),
}


def check(path: Path) -> None:
    """Refuse a file that is no network of `run --save-models`.

    Raises:
        UsageError: why it is none, in one line.
    """
    why = _why_not(path)
    if why is not None:
        raise UsageError(f"{path}: expected a network as run --save-models writes it; {why}")


def _why_not(path: Path) -> str | None:
    if path.suffix != ".keras" or not path.is_file() or not zipfile.is_zipfile(path):
        return "this is no .keras file"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(MEMBERS):
                names = ", ".join(repr(member.filename) for member in members[:5])
                return f"expected {', '.join(MEMBERS)} in it; it holds {names}"
            for member in members:
                most = MEMBERS[member.filename]
                if member.file_size > most:
                    return f"{member.filename} has {member.file_size:,} bytes, more than {most:,}"
            strange = next(_strange(json.loads(archive.read(CONFIGURATION))), None)
    except Exception as error:
        # A stranger's file: zipfile and json raise whatever they trip over.
        return f"it cannot be read: {type(error).__name__}: {error}"
    return None if strange is None else f"it holds {strange}, which is none of its layers"


def _strange(told: Any) -> Iterator[str]:
    """Yield what a configuration would have Keras make that is no part of these networks."""
    if isinstance(told, list):
        for item in told:
            yield from _strange(item)
    if isinstance(told, dict):
        if "class_name" in told and not _known(told.get("module"), told["class_name"]):
            yield f"{told.get('module')}.{told['class_name']}"
        for item in told.values():
            yield from _strange(item)


def _known(module: object, name: object) -> bool:
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if module == "keras.layers":
        return name in LAYERS
    return (module, name) in OTHERS or (module or "").startswith(FAMILIES)
