"""All trials of a plan, one after the other, each record kept as soon as it is there."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echobench.errors import StorageError
from echobench.harness import attempts, launch
from echobench.harness.plan import Trial
from echobench.harness.protocol import Progress
from echobench.harness.references import References
from echobench.harness.sharing import Share
from echobench.plugins import Plugins
from echobench.results.claims import Claims
from echobench.results.journal import Journal
from echobench.results.record import Record
from echobench.results.store import Store, file_name


@dataclass
class Watcher:
    """What is called while a matrix runs; does nothing by default."""

    started: Callable[[int, Trial], None] = lambda number, trial: None
    progressed: Callable[[Trial, Progress], None] = lambda trial, progress: None
    finished: Callable[[Trial, Record], None] = lambda trial, record: None
    waiting: Callable[[int], None] = lambda count: None
    """Nothing is left but so many trials that other processes run; 0 when that is over."""


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
        memory_limit: bytes that a worker and what it starts may hold; None for all there are.
        retries: how often a trial that failed is run again, at once.
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
    memory_limit: int | None = None
    retries: int = 0
    _references: References = field(init=False)

    def __post_init__(self) -> None:
        self._references = References(self.plugins, self.store)

    def run(
        self, trials: Sequence[Trial], watcher: Watcher, journal: Journal | None = None
    ) -> Iterator[Record]:
        """Run the trials in order; yield their records, each when it is kept.

        Other processes may run trials of the same folder meanwhile: what one of them runs is
        left to it, and no record of that is yielded here.

        Args:
            trials: the plan.
            watcher: told of each trial.
            journal: of the store's folder, its first look taken; it tells what the others did.

        Raises:
            StorageError: the results folder takes no more; what it holds stays.
        """
        if journal is None:
            journal = Journal(self.store.folder)
            journal.skip()
        with Claims(self.store.folder) as claims:
            share = Share(trials, claims, journal, watcher.waiting, self.deadline)
            while group := self._next(share):
                watcher.started(share.passed - len(group), group[0])
                records = self._kept(group, claims, watcher)
                share.give(group)
                for trial, record in zip(group, records, strict=True):
                    watcher.finished(trial, record)
                    yield record

    def _next(self, share: Share) -> list[Trial]:
        """Return what is run next, [] at the end; its record can be kept, as far as one sees."""
        try:
            self.store.check_room()
            return share.take()
        except (OSError, StorageError) as error:
            raise self._stopped("before the next trial", error) from error

    def _kept(self, group: list[Trial], claims: Claims, watcher: Watcher) -> list[Record]:
        """Run one trial, or replicates that share a process; keep what came of it."""
        try:
            records = self._run(group, claims, watcher)
            for record in records:
                self.store.append(record)
        except KeyboardInterrupt:
            # It may have come while a worker was being started, before anyone held it.
            launch.kill_children(os.getpid())
            raise
        except (OSError, StorageError) as error:
            raise self._stopped(f"at {group[0].name}", error) from error
        return records

    def _stopped(self, where: str, error: OSError | StorageError) -> StorageError:
        told = error if isinstance(error, StorageError) else error.strerror
        return StorageError(
            f"stopped {where}: {told}; earlier records are kept, and the same command resumes"
        )

    def _run(self, group: list[Trial], claims: Claims, watcher: Watcher) -> list[Record]:
        """Run one trial, or replicates that share a process."""
        trial = group[0]
        backend = self.plugins.backend(trial.backend).value
        gated = self.gate and backend.trains and backend.why_unavailable() is None
        reference = None
        if gated:
            computing = Progress(phase="reference")
            reference = self._references.of(
                trial, claims, lambda: watcher.progressed(trial, computing)
            )
        options: dict[str, Any] = {
            "command": self.command,
            "about": self.about,
            "memory_limit": self.memory_limit,
            "reference": reference,
            "watch": self.watch,
            "progress": lambda progress: watcher.progressed(trial, progress),
        }
        cache = self.store.folder / "compiled" / trial.backend if trial.cache else None
        model = self._model_path(trial)

        def once(log: Path) -> list[Record]:
            if trial.replicates:
                return launch.run_replicates(group, backend, log=log, **options)
            return [
                launch.run_trial(trial, backend, log=log, **options, save_model=model, cache=cache)
            ]

        def again(number: int) -> None:
            watcher.progressed(trial, Progress(phase=f"attempt {number}"))

        return attempts.run(once, self.store.logs / f"{trial.key}.log", self.retries, again)

    def _model_path(self, trial: Trial) -> Path | None:
        if self.save_models is None:
            return None
        return self.save_models / f"{file_name(trial.name.replace(' seed ', '-seed'))}.keras"
