"""All trials of a plan, one after the other, each record kept as soon as it is there."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echobench.core.backend import Backend
from echobench.errors import StorageError
from echobench.harness import launch
from echobench.harness.plan import Trial
from echobench.harness.protocol import Progress, Reference
from echobench.plugins import Plugins
from echobench.results.record import Record
from echobench.results.store import Store, file_name


@dataclass
class Watcher:
    """What is called while a matrix runs; does nothing by default."""

    started: Callable[[int, Trial], None] = lambda number, trial: None
    progressed: Callable[[Trial, Progress], None] = lambda trial, progress: None
    finished: Callable[[Trial, Record], None] = lambda trial, record: None


@dataclass
class Matrix:
    """Runs trials and keeps their records.

    Attributes:
        plugins: where the trials' backends are.
        store: keeps the records.
        command: echobench's own command line, for the records.
        save_models: folder for trained networks, if wanted.
        about: what else the records' provenance is to hold.
        gate: whether trials pass the parity gate.
        watch: whether the workers tell of each evaluation as they make it.
        deadline: no trial is started after it, on the monotonic clock; the same
            command goes on later.
    """

    plugins: Plugins
    store: Store
    command: list[str]
    save_models: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)
    deadline: float = math.inf
    gate: bool = True
    watch: bool = False
    _references: dict[str, Reference | None] = field(default_factory=dict)

    def run(self, trials: Sequence[Trial], watcher: Watcher) -> list[Record]:
        """Run the trials in order; return their records.

        Raises:
            StorageError: the results folder takes no more; what it holds stays.
        """
        records: list[Record] = []
        for group in _together(trials):
            if time.monotonic() > self.deadline:
                break
            trial = group[0]
            watcher.started(len(records), trial)
            try:
                found = self._run_together(group, watcher)
                for record in found:
                    self.store.append(record)
            except KeyboardInterrupt:
                # It may have come while a worker was being started, before anyone held it.
                launch.kill_children(os.getpid())
                raise
            except OSError as error:
                raise StorageError(
                    f"stopped at {trial.name}: {error.strerror} ({self.store.folder}); earlier "
                    "records are kept; make room, and the same command resumes"
                ) from error
            records += found
            for one, record in zip(group, found, strict=True):
                watcher.finished(one, record)
        return records

    def _run_together(self, group: list[Trial], watcher: Watcher) -> list[Record]:
        """Run one trial, or replicates that share a process."""
        trial = group[0]
        backend = self.plugins.backend(trial.backend).value
        gated = self.gate and backend.trains and backend.why_unavailable() is None
        options: dict[str, Any] = {
            "command": self.command,
            "about": self.about,
            "log": self.store.logs / f"{trial.key}.log",
            "reference": self._reference(trial, watcher) if gated else None,
            "watch": self.watch,
            "progress": lambda progress: watcher.progressed(trial, progress),
        }
        if trial.replicates:
            return launch.run_replicates(group, backend, **options)
        cache = self.store.folder / "compiled" / file_name(trial.backend) if trial.cache else None
        model = self._model_path(trial)
        return [launch.run_trial(trial, backend, **options, save_model=model, cache=cache)]

    def _model_path(self, trial: Trial) -> Path | None:
        if self.save_models is None:
            return None
        return self.save_models / f"{file_name(trial.name.replace(' seed ', '-seed'))}.keras"

    def _reference(self, trial: Trial, watcher: Watcher) -> Reference | None:
        """Return the first losses that this trial's must agree with, computed once a cell.

        They come from the tutorial's program on the reference backend, and do
        not depend on the trial's seed. They are kept beside the records.
        """
        found = self._reference_backend()
        if found is None:
            return None
        backend, plugin = found
        task_plugins = {self.plugins.task(trial.task).plugin, plugin}
        reference_trial = trial.model_copy(
            update={
                "backend": backend.name,
                "engine": "fit",
                "seed": 0,
                "device": "cpu",
                "max_epochs": 1,
                "sustain": 0,
                "replicates": 0,
                "cache": False,
                "quick": False,
                "plugins": sorted(task_plugins),
                "versions": {"echobench": trial.versions["echobench"], **backend.versions()},
            }
        )
        key = reference_trial.key
        if key not in self._references:
            path = self.store.folder / "reference" / f"{key}.json"
            if path.exists():
                self._references[key] = Reference.model_validate_json(path.read_text())
            else:
                watcher.progressed(trial, Progress(phase="reference"))
                log = self.store.logs / f"reference-{key}.log"
                reference = launch.run_reference(reference_trial, backend, log)
                self._references[key] = reference
                if reference is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(reference.model_dump_json() + "\n")
        return self._references[key]

    def _reference_backend(self) -> tuple[Backend, str] | None:
        for provided in self.plugins.backends.values():
            if provided.value.reference and provided.value.why_unavailable() is None:
                return provided.value, provided.plugin
        return None


def _together(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Return trials in order, those that share a process as one group."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        size = trial.replicates
        same = trial.model_copy(update={"seed": trial.seed // size if size else trial.seed})
        groups.setdefault(same.key, []).append(trial)
    return list(groups.values())
