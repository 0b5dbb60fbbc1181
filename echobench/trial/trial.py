"""A trial: a cell with one seed, and what makes it the same as another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from echobench.core.task import Recipe

ENGINES = ("fused", "fit", "native")

DIVISIONS = ("closed", "open")

SCREEN, CERTIFY = 50, 1000

SUSTAIN = 3

BUDGET = 10
"""Times the recipe's epochs that a trial may take."""

QUICK_EPOCHS, QUICK_CERTIFY = 20, 50

ADDED_LATER = {"repeat": 0, "sustain": 0, "cache": False, "replicates": 0, "devices": 1}
"""Fields of a trial that older records lack, and what they were then: no part of its key."""

FIRST_TUNING_SEED = 1_000_000
"""From here on seeds are those of `echobench tune`, and no other command reaches them: a
recipe must not be chosen by the seeds that it is then reported on."""


class Trial(BaseModel):
    """A cell with one seed: all that a worker is told.

    Attributes:
        task, parameters: the task and the parameters that differ from its defaults.
        label: both, as `--task` takes them.
        plugins: where task and backend come from (`Provided.plugin`).
        max_epochs: budget in epochs.
        timeout_s: limit of the worker's wall time.
        screen, certify: fresh sequences of an evaluation and of a certificate.
        sustain: evaluations after the hit, to see whether it lasts.
        quick: a smoke run, never mixed with real records.
        repeat: 0, or which further run of the same cell and seed it is.
        cache: whether compiled programs may come from an earlier worker's.
        replicates: how many seeds train in one program; 0 for one seed alone.
        devices: over how many of the machine's devices it is trained, each batch in equal parts.
        versions: of echobench, Keras and the framework.
        source: digest of the task's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    parameters: dict[str, Any]
    label: str
    plugins: list[str]
    backend: str
    engine: str
    division: str
    device: str
    threads: int
    seed: int
    recipe: Recipe
    max_epochs: int
    timeout_s: float
    screen: int = SCREEN
    certify: int = CERTIFY
    sustain: int = 0
    quick: bool = False
    repeat: int = 0
    cache: bool = False
    replicates: int = 0
    devices: int = 1
    versions: dict[str, str]
    source: str

    @property
    def key(self) -> str:
        """Return what makes this trial the same as another: a digest of all it is told.

        The time limit is left out: a trial that ended within one limit would
        have ended within a longer one.
        """
        return trial_key(self.model_dump(mode="json"))

    @property
    def name(self) -> str:
        """Return a short name for people."""
        again = f" repeat {self.repeat}" if self.repeat else ""
        spread = f" on {self.devices} devices" if self.devices > 1 else ""
        cell = f"{self.label} {self.backend} {self.engine} {self.division}"
        return f"{cell} seed {self.seed}{again}{spread}"


def trial_key(told: Mapping[str, Any]) -> str:
    """Return the digest of a trial, as JSON has it; older ones have fewer fields."""
    kept = {
        name: value
        for name, value in told.items()
        if name not in {"timeout_s", "plugins"} and not is_usual(name, value)
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def is_usual(name: str, value: Any) -> bool:
    """Return whether a trial's field says what those said that had no such field."""
    return name in ADDED_LATER and (value or ADDED_LATER[name]) == ADDED_LATER[name]
