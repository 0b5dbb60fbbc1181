"""Run the trials of a plan as jobs, and store each record as soon as its trial ends."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from echobench import interrupts
from echobench.errors import EchobenchError, JobLostError, StorageError
from echobench.harness import launch, validation
from echobench.harness.executing import Contained, connected
from echobench.harness.references import References
from echobench.harness.saved_networks import describe_result
from echobench.harness.sharing import Share
from echobench.plugin.files import file_of
from echobench.plugin.interfaces import LOCAL, Executor, Site
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.locks import FolderLocks
from echobench.store.progress_log import ProgressLog
from echobench.text import file_name
from echobench.trial.job import ATTEMPT, Job, JobOptions, Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial

WAIT_S = 0.2
"""Longest wait of one look at the jobs that an executor runs."""
MOST_LOSSES = 3
"""How often a job that was lost with its machine is started again."""


Progressed = Callable[[Trial, Progress], None]


class _NotStartedError(EchobenchError):
    """A job waits for cores, and may not start any more: the run has ended, or its budget."""


@dataclass
class Watcher:
    """Callbacks while a matrix runs; each does nothing by default.

    Attributes:
        started: called with the trials of a job, and the number of the first in the plan.
        progressed: called with a trial and its progress; of replicates with the job's first trial,
            which stands for all.
        finished: called with a trial and its record, which is stored.
        waiting: called with the number of trials that only other processes still run; 0 when
            that is over.
    """

    started: Callable[[int, Sequence[Trial]], None] = lambda number, trials: None
    progressed: Progressed = lambda trial, progress: None
    finished: Callable[[Trial, Record], None] = lambda trial, record: None
    waiting: Callable[[int], None] = lambda count: None


@dataclass
class Matrix:
    """Runs trials and stores their records.

    Attributes:
        plugins: where the trials' backends are.
        store: keeps the records.
        options: how each job is made.
        executor: where jobs run; this machine by default.
        gate: whether trials pass the parity gate.
        checked: whether certificates are judged and fingerprints compared.
        deadline: no trial is started after it, on the monotonic clock; the same command
            resumes later.
    """

    plugins: Plugins
    store: Store
    options: JobOptions
    executor: Executor | None = None
    gate: bool = True
    checked: bool = True
    deadline: float = math.inf
    _references: References = field(init=False)

    def __post_init__(self) -> None:
        self._references = References(
            self.plugins, self.store, fingerprints=self.gate and self.checked
        )

    @property
    def compares(self) -> bool:
        """Whether a trial is done only once it was compared with a reference."""
        return self.gate and self.checked and self._references.installed

    def run(
        self, trials: Sequence[Trial], watcher: Watcher, progress_log: ProgressLog | None = None
    ) -> Iterator[Record]:
        """Run the trials in order; yield each record once it is stored.

        Other processes may run trials of the same folder meanwhile: those are left to them,
        and their records are not yielded here.

        Args:
            trials: the plan.
            watcher: is called as trials start, progress and finish.
            progress_log: of the store's folder, read once already; it shows what others recorded.

        Raises:
            StorageError: the results folder takes no more records; those in it stay.
        """
        if progress_log is None:
            progress_log = ProgressLog(self.store.folder)
            progress_log.skip_existing()

        over = threading.Event()
        here = dataclasses.replace(watcher, progressed=self._unless(over, watcher.progressed))

        def run_here(job: Job) -> list[Record]:
            return self._run_here(job, here)

        self._references.plan(trials)
        executor = self.executor or self.plugins.executors[LOCAL].value()
        site = Site(run_here, watcher.progressed, self.store.folder)
        with FolderLocks(self.store.folder) as locks:
            share = Share(trials, locks, progress_log, watcher.waiting, self.deadline)
            jobs = self._jobs(share, locks, here)
            with contextlib.closing(_executed(executor, jobs, site, over)) as finished:
                for job, records in finished:
                    self._keep(job, records)
                    for trial, record in zip(job.trials, records, strict=True):
                        self._references.compare(trial, record)
                        if path := job.model_path(trial):
                            describe_result(path, record)
                    self._store(job, records)
                    share.release(job.trials)
                    for trial, record in zip(job.trials, records, strict=True):
                        watcher.finished(trial, record)
                        yield record

    def _unless(self, over: threading.Event, progressed: Progressed) -> Progressed:
        """Return `progressed`, which gives up a job that waits for cores once none may start."""

        def told(trial: Trial, progress: Progress) -> None:
            if progress.waits and over.is_set():
                raise _NotStartedError
            progressed(trial, progress)
            if progress.waits and time.monotonic() > self.deadline:
                raise _NotStartedError

        return told

    def _jobs(self, share: Share, locks: FolderLocks, watcher: Watcher) -> Generator[Job | None]:
        """Yield the jobs to start; None while only other jobs' end can bring one."""
        while True:
            try:
                self.store.check_room()
                trials = share.take()
                if trials == []:
                    return
                if trials is None:
                    yield None
                    continue
                watcher.started(share.passed - len(trials), trials)
                job = self._job(trials, locks, watcher)
            except (OSError, StorageError) as error:
                raise _stopped("before the next trial", error) from error
            yield job

    def _job(self, trials: list[Trial], locks: FolderLocks, watcher: Watcher) -> Job:
        trial = trials[0]
        provided = self.plugins.backends[trial.backend]
        reference = None
        usable = provided.value.trains and provided.call(lambda b: b.why_unavailable()) is None
        if self.gate and usable:
            computing = Progress(phase="reference")
            reference = self._references.get(
                trial,
                locks,
                lambda: watcher.progressed(trial, computing),
                lambda told: watcher.progressed(trial, told if told.waits else computing),
            )
        judge = self._references.of(trial) if self._is_checked(trial) else None
        involved = dict.fromkeys([*trial.plugins, *(judge.plugins if judge else ())])
        compiled = self.store.folder / "compiled" / file_name(trial.backend)
        return Job(
            **dict(self.options),
            trials=trials,
            reference=reference,
            rehearsal=self._references.rehearsal(trial) if self._is_checked(trial) else None,
            judge=judge,
            cache=compiled if trial.cache else None,
            sources={
                plugin: self.plugins.sources(plugin).files for plugin in involved if file_of(plugin)
            },
        )

    def _is_checked(self, trial: Trial) -> bool:
        return self.gate and self.checked and not trial.quick

    def _run_here(self, job: Job, watcher: Watcher) -> list[Record]:
        trial = job.trial
        backend = self.plugins.backends[trial.backend].value
        log = self.store.logs / f"{trial.key}.log"
        try:
            return launch.run_job(
                job, backend, log, lambda progress: watcher.progressed(trial, progress)
            )
        except KeyboardInterrupt:
            # It may have come while a worker was being started, before anyone held it.
            launch.kill_children(os.getpid())
            raise
        except OSError as error:
            raise _stopped(f"at {trial.name}", error) from error

    def _keep(self, job: Job, records: list[Record]) -> None:
        try:
            self._references.keep(job, records)
        except OSError as error:
            raise _stopped(f"at {job.trial.name}", error) from error

    def _store(self, job: Job, records: list[Record]) -> None:
        try:
            with interrupts.shielded():  # all of a job, or none
                for record in records:
                    self.store.append(record)
        except (OSError, StorageError) as error:
            raise _stopped(f"at {job.trial.name}", error) from error


def _executed(
    executor: Executor, jobs: Iterator[Job | None], site: Site, over: threading.Event
) -> Generator[tuple[Job, list[Record]]]:
    """Keep as many jobs under way as the executor has room for; yield each with its records.

    At the end, or where it is interrupted, it says so to jobs that wait in threads.
    """
    try:
        first = next(jobs, None)
    except _NotStartedError:  # it waited for the cores of its reference
        return
    if first is None:
        return
    with connected(executor, first, site) as connection:
        if not executor.local:
            interrupts.catch()  # a cluster's library may have set handlers of its own
        under_way: dict[int, _UnderWay] = {}

        def start(job: _UnderWay) -> None:
            with contextlib.suppress(_NotStartedError):
                under_way[connection.start(job.job)] = job

        try:
            start(_UnderWay(first))
            exhausted = False
            while under_way or not exhausted:
                # One is under way whatever the executor says, or the run would never end.
                while not exhausted and (not under_way or len(under_way) < connection.room()):
                    try:
                        following = next(jobs)
                    except (StopIteration, _NotStartedError):
                        exhausted = True
                        break
                    if following is None:
                        break
                    start(_UnderWay(following))
                for number in connection.ended(WAIT_S):
                    ended = under_way.pop(number)
                    try:
                        records = ended.records(connection, number)
                    except _NotStartedError:
                        continue
                    if records is None:
                        again = Progress(phase=f"{ATTEMPT} {len(ended.losses) + 1}")
                        site.progressed(ended.job.trial, again)
                        start(ended)
                    else:
                        yield ended.job, records
        finally:
            over.set()
            for number in under_way:
                connection.cancel(number)


@dataclass
class _UnderWay:
    """A job that an executor runs, and how it was lost each time."""

    job: Job
    losses: list[str] = field(default_factory=list)

    def records(self, connection: Contained, number: int) -> list[Record] | None:
        """Return the job's records; None where it was lost and is to start again."""
        try:
            records = connection.records(number)
        except JobLostError as lost:
            self.losses.append(str(lost))
            return None if len(self.losses) <= MOST_LOSSES else self._given_up()
        for record in records if self.losses else []:
            record.provenance.executor = {**(record.provenance.executor or {}), "lost": self.losses}
        return records

    def _given_up(self) -> list[Record]:
        fields = {
            "status": "failed",
            "reason": f"lost {len(self.losses)} times with its machine: {self.losses[-1]}",
            "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "provenance": {
                "command": self.job.command,
                "executor": {"lost": self.losses},
                **self.job.about,
            },
        }
        return [validation.record(trial, dict(fields)) for trial in self.job.trials]


def _stopped(where: str, error: OSError | StorageError) -> StorageError:
    cause = error if isinstance(error, StorageError) else error.strerror
    return StorageError(
        f"stopped {where}: {cause}; earlier records are kept, and the same command resumes"
    )
