"""All trials of a plan, one after the other, each record kept as soon as it is there."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echobench.errors import StorageError
from echobench.harness import launch
from echobench.harness.assignments import Assignment, perform
from echobench.harness.references import References
from echobench.harness.sharing import Share
from echobench.plugin.executor import DEFAULT, Executor, Site
from echobench.plugin.manager import Plugins, file_of
from echobench.store.folder import Store
from echobench.store.locks import Claims
from echobench.store.progress_log import Journal
from echobench.text import file_name
from echobench.trial.messages import Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial


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
        executor: where they run; this machine by default.
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
    executor: Executor | None = None
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
        perform_here = functools.partial(self._perform, watcher)
        site = Site(perform_here, watcher.progressed, self.store.folder)
        with Claims(self.store.folder) as claims:
            share = Share(trials, claims, journal, watcher.waiting, self.deadline)
            todo = self._assignments(share, claims, watcher)
            executor = self.executor or self.plugins.executor(DEFAULT).value()
            with contextlib.closing(executor.run(todo, site)) as came:
                for assignment, records in came:
                    self._keep(assignment, records)
                    share.give(assignment.trials)
                    for trial, record in zip(assignment.trials, records, strict=True):
                        watcher.finished(trial, record)
                        yield record

    def _assignments(
        self, share: Share, claims: Claims, watcher: Watcher
    ) -> Generator[Assignment | None]:
        """Yield what is run next; None where there is nothing just now, but may be later."""
        while True:
            try:
                self.store.check_room()  # its record can be kept, as far as one sees
                group = share.take()
                if group == []:
                    return
                if group is None:
                    yield None
                    continue
                watcher.started(share.passed - len(group), group[0])
                assignment = self._assignment(group, claims, watcher)
            except (OSError, StorageError) as error:
                raise self._stopped("before the next trial", error) from error
            yield assignment

    def _assignment(self, group: list[Trial], claims: Claims, watcher: Watcher) -> Assignment:
        """Return what one process has to do: a trial, or replicates that share it."""
        trial = group[0]
        backend = self.plugins.backend(trial.backend).value
        reference = None
        if self.gate and backend.trains and backend.why_unavailable() is None:
            computing = Progress(phase="reference")
            reference = self._references.of(
                trial, claims, lambda: watcher.progressed(trial, computing)
            )
        return Assignment(
            trials=group,
            command=self.command,
            about=self.about,
            reference=reference,
            watch=self.watch,
            memory_limit=self.memory_limit,
            retries=self.retries,
            save_model=self._model_path(trial),
            cache=self._cache_path(trial),
            sources={
                plugin: file.read_text(encoding="utf-8")
                for plugin in trial.plugins
                if (file := file_of(plugin))
            },
        )

    def _perform(self, watcher: Watcher, assignment: Assignment) -> list[Record]:
        """Run an assignment on this machine."""
        trial = assignment.trial
        backend = self.plugins.backend(trial.backend).value
        log = self.store.logs / f"{trial.key}.log"
        try:
            return perform(
                assignment, backend, log, lambda progress: watcher.progressed(trial, progress)
            )
        except KeyboardInterrupt:
            # It may have come while a worker was being started, before anyone held it.
            launch.kill_children(os.getpid())
            raise
        except OSError as error:
            raise self._stopped(f"at {trial.name}", error) from error

    def _keep(self, assignment: Assignment, records: list[Record]) -> None:
        try:
            for record in records:
                self.store.append(record)
        except (OSError, StorageError) as error:
            raise self._stopped(f"at {assignment.trial.name}", error) from error

    def _stopped(self, where: str, error: OSError | StorageError) -> StorageError:
        told = error if isinstance(error, StorageError) else error.strerror
        return StorageError(
            f"stopped {where}: {told}; earlier records are kept, and the same command resumes"
        )

    def _cache_path(self, trial: Trial) -> Path | None:
        if not trial.cache:
            return None
        return self.store.folder / "compiled" / file_name(trial.backend)

    def _model_path(self, trial: Trial) -> Path | None:
        if self.save_models is None:
            return None
        return self.save_models / f"{file_name(trial.name.replace(' seed ', '-seed'))}.keras"
