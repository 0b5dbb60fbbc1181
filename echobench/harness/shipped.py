"""References as they are kept: beside records, and shipped beside the module of a task's plugin.

A plugin may bring the references of its tasks along, in `references.json` beside the task's
module: `python -m echobench.testing.references` makes it. What it lacks, and what does not hold its
own digest, is computed in a worker.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from echobench.core.task import Task
from echobench.core.training import TakenFingerprint
from echobench.plugin.catalog import Provided
from echobench.trial.trial import Trial

FILE = "references.json"
DIGITS = 9
"""Significant digits of a shipped loss: as many as tell two float32 numbers apart."""


class Kept(BaseModel):
    """A file of `reference/`: the first losses, and fingerprints by `run_of`.

    A fingerprint is None where the reference has none to compare with: its loss is not finite.
    Those of the squeezed recipe are None where no trial needed them, empty if not finite.
    """

    name: str
    losses: list[float]
    squeezed: list[float] | None = None
    fingerprints: dict[str, TakenFingerprint | None] = {}


class Shipped(Kept):
    """A reference that a plugin brings along.

    Attributes:
        cell: for who reads the file.
        digest: of all that it says, and of its key.
    """

    cell: str
    digest: str

    @classmethod
    def of(cls, shared: Trial, kept: Kept) -> Shipped:
        """Return what is kept of a trial's reference, with its digest."""
        cell = f"{shared.label} {shared.division}"
        values = _rounded(kept.model_dump(mode="json", include={*Kept.model_fields}))
        made = cls(**values, cell=cell, digest="")
        return made.model_copy(update={"digest": made.signature(shipped_key(shared))})

    def signature(self, key: str) -> str:
        """Return the digest that it must have under a key."""
        said = json.dumps([key, self.model_dump(mode="json", exclude={"digest"})], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def holds(self, key: str) -> bool:
        """Return whether it is undamaged, and has losses to compare with."""
        losses = [*self.losses, *(self.squeezed or [])]
        return (
            self.digest == self.signature(key)
            and bool(self.losses)
            and all(map(math.isfinite, losses))
        )


def read(path: Path) -> Kept | None:
    """Return the reference in a file; None where it is missing or damaged, to be computed again."""
    try:
        return Kept.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def path_of(provided: Provided[type[Task]]) -> Path | None:
    """Return where a task's plugin has its references; None where it has no folder of its own."""
    module = provided.sources.module
    return None if module is None else module.with_name(FILE)


def read_shipped(path: Path | None) -> dict[str, Shipped]:
    """Return the references in a plugin's file, by key; none where it is missing or damaged."""
    try:
        found = {} if path is None else json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    read = {key: entry for key, value in entries if (entry := _entry(value)) is not None}
    return {key: shipped for key, shipped in read.items() if shipped.holds(key)}


def is_ours(path: Path) -> bool:
    """Return whether a file holds references and nothing else, or is not there."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and None not in map(_entry, found.values())


def _entry(value: Any) -> Shipped | None:
    try:
        return Shipped.model_validate(value)
    except ValidationError:
        return None


def shipped_key(shared: Trial) -> str:
    """Return the key of a cell's reference: a digest of all that determines its losses.

    The versions of the frameworks, the number of threads and the source of the reference backend
    change them by rounding alone. What echobench itself draws and computes is known by its version.
    """
    determining = {
        "threads": 1,
        "smt": False,
        "timeout_s": 0.0,
        "versions": {"echobench": shared.versions["echobench"]},
        "backend_source": "",
    }
    return shared.model_copy(update=determining).key


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [*map(_rounded, value)] if isinstance(value, list) else value
