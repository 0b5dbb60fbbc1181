"""A trial: a cell with one seed, and the key by which it is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from echobench.core.task import Recipe
from echobench.trial.variables import variables_text

ENGINES = ("fused", "fit", "native", "compiled")
DIVISIONS = ("closed", "open")
SCREEN, MEASURE = 50, 1000
BOUND = 0.003
SUSTAIN = 3
BUDGET = 10
"""Epochs that a trial may take, as a multiple of the recipe's."""
QUICK_EPOCHS, QUICK_MEASURE, QUICK_BOUND = 20, 50, 0.06
ADDED_LATER: dict[str, Any] = {
    "repeat": 0, "sustain": 0, "cache": False, "replicates": 0, "devices": 1, "smt": False,
    "side_by_side": 1, "bound": 0.0, "certify": 0, "environment": {}, "task_source": "",
    "backend_source": "", "test_set": "",
}  # fmt: skip # in a few lines it reads better
"""Fields that older records lack, or that only they have, with the values of the trials without:
these are no part of a key."""
FIRST_TUNING_SEED = 1_000_000
"""The seeds from here on belong to `echobench tune`, and no other command uses them: a recipe must
not be chosen by the seeds on which it is then reported."""


class Trial(BaseModel):
    """A cell with one seed: all that a worker needs to train it.

    Attributes:
        task, parameters: the task and the parameters that differ from its defaults.
        label: both, as `--task` takes them.
        plugins: where task and backend come from (`Provided.plugin`).
        max_epochs: budget in epochs.
        timeout_s: limit of the worker's wall time.
        screen: fresh sequences of an evaluation.
        bound: of the sequence error rate that a certificate excludes (`target.needed`).
        test_set: `held out` or `trained on`, of a task that has a test set: its rows are no
            training rows, or also are. Then `screen` is their number, each evaluation and the
            certificate answer all of them, and there is no `bound`. Empty where sequences are
            drawn.
        certify: fresh sequences of every certificate by the rule of older trials, which did not
            count attempts; 0 for those that have a `bound`.
        sustain: evaluations after the hit, which show whether it lasts.
        quick: a smoke run, never mixed with real records.
        repeat: number of the run of this cell and seed; 0 for the first.
        cache: whether compiled programs of earlier workers may be used.
        replicates: how many seeds train in one program; 0 for one seed alone.
        devices: number of devices over which each batch is split in equal parts.
        smt: whether each hyperthread of a core takes a thread.
        side_by_side: how many jobs the run keeps under way at once on the trial's machine, each on
            cores of its own; 1 for one after the other, and where an executor elsewhere decides.
        environment: variables that the user hands to the worker, by name.
        versions: of echobench, Keras and the framework.
        source: the task's version (`Task.source_hash`): by default a digest of its file.
        task_source, backend_source: digests of the plugin of each: its file, and what this imports
            from beside it. Empty for older trials.
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
    bound: float = BOUND
    certify: int = 0
    sustain: int = 0
    quick: bool = False
    repeat: int = 0
    cache: bool = False
    replicates: int = 0
    devices: int = 1
    smt: bool = False
    side_by_side: int = 1
    environment: dict[str, str] = {}
    versions: dict[str, str]
    source: str
    task_source: str = ""
    backend_source: str = ""
    test_set: Literal["", "held out", "trained on"] = ""

    @property
    def key(self) -> str:
        """Return a digest of all fields that make trials the same.

        The time limit is left out: a trial that ended within one limit would
        have ended within a longer one.
        """
        return trial_key(self.model_dump(mode="json"))

    @property
    def measure(self) -> int:
        """Return on how many sequences accuracy is measured without a certificate."""
        if self.test_set:
            return self.screen
        return self.certify or (QUICK_MEASURE if self.quick else MEASURE)

    @property
    def name(self) -> str:
        """Return a short name for people."""
        again = f" repeat {self.repeat}" if self.repeat else ""
        spread = f" on {self.devices} devices" if self.devices > 1 else ""
        given = f" with {variables_text(self.environment)}" if self.environment else ""
        cell = f"{self.label} {self.backend} {self.engine} {self.division}"
        return f"{cell} seed {self.seed}{again}{spread}{given}"


def trial_key(fields: Mapping[str, Any]) -> str:
    """Return the key of a trial from its fields in JSON; older records have fewer."""
    kept = {
        name: value
        for name, value in fields.items()
        if name not in {"timeout_s", "plugins"} and not is_usual(name, value)
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def is_usual(name: str, value: Any) -> bool:
    """Return whether a field has the value of trials that had no such field."""
    return name in ADDED_LATER and (value or ADDED_LATER[name]) == ADDED_LATER[name]
