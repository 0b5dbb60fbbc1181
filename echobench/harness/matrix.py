"""Run the trials of a plan as jobs, and store the records of each as it ends."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from echobench import interrupts
from echobench.errors import JobLostError, StorageError
from echobench.harness import launch, validation
from echobench.harness.executing import Contained, connected
from echobench.harness.here import Here, NotStartedError, Progressed
from echobench.harness.references import References
from echobench.harness.saved_networks import describe_result
from echobench.harness.sharing import Dealing, Share, by_backend, by_process
from echobench.plugin.files import file_of
from echobench.plugin.interfaces import LOCAL, Executor, Site
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.locks import FolderLocks
from echobench.store.progress_log import ProgressLog
from echobench.text import file_name, say
from echobench.trial.job import ATTEMPT, Job, JobOptions, Progress, Reference
from echobench.trial.record import Record
from echobench.trial.trial import Trial

WAIT_S = 0.2
"""Longest wait of one look at the jobs that an executor runs."""
MOST_LOSSES = 3
"""How often a job that was lost with its machine is started again."""


@dataclass
class Watcher:
    """Callbacks while a matrix runs; each does nothing by default.

    Attributes:
        started: called with the trials of a job, and the number of the first in the plan.
        progressed: called with a trial and its progress; of replicates with the job's first trial,
            which stands for all. Of trials in turn, each begins with its first progress.
        finished: called with a trial and its record, which is stored.
        waiting: called with the number of trials that only other processes still run; 0 when
            that is over.
    """

    started: Callable[[int, Sequence[Trial]], None] = lambda number, trials: None
    progressed: Progressed = lambda trial, progress: None
    finished: Callable[[Trial, Record], None] = lambda trial, record: None
    waiting: Callable[[int], None] = lambda count: None


class _Failed(NamedTuple):
    """A trial that failed and is to run again; its record is stored if it does not any more."""

    job: Job
    trial: Trial
    record: Record
    attempts: list[dict[str, Any]]

    def final(self) -> tuple[Trial, Record]:
        """Return the trial, and the record to store of it."""
        self.record.provenance.attempts = self.attempts if len(self.attempts) > 1 else None
        return self.trial, self.record


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
        dealing: how the seeds of a cell are dealt over processes; None for one each.
        deadline: no trial is started after it, on the monotonic clock; the same command
            resumes later.
    """

    plugins: Plugins
    store: Store
    options: JobOptions
    executor: Executor | None = None
    gate: bool = True
    checked: bool = True
    dealing: Dealing | None = None
    deadline: float = math.inf
    _references: References = field(init=False)
    _spent: dict[str, dict[str, float]] = field(init=False, default_factory=dict)
    """What computing the reference of a job took, by the key of its first trial."""
    _again: dict[str, _Failed] = field(init=False, default_factory=dict)
    """Trials that failed and are to run again, by key."""

    def __post_init__(self) -> None:
        self._references = References(
            self.plugins, self.store, fingerprints=self.gate and self.checked
        )

    @property
    def references(self) -> References:
        """Return what the trials are compared with."""
        return self._references

    @property
    def compares(self) -> bool:
        """Whether a trial is done only once it was compared with a reference."""
        return self.gate and self.checked and self._references.installed

    def groups(self, trials: Sequence[Trial]) -> list[dict[str, Trial]]:
        """Return the trials of each process by key, in order: all of a backend's in a smoke run."""
        return by_backend(trials) if self.options.smoke else by_process(trials, self.dealing)

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

        here = Here(watcher.progressed, self.deadline)

        def run_here(job: Job) -> list[Record]:
            with here.running():
                records = self._run_here(job, here.progressed)
                here.keep(job, records)
            return records

        self._references.plan(trials)
        executor = self.executor or self.plugins.executors[LOCAL].value()
        site = Site(run_here, here.show, self.store.folder)
        with FolderLocks(self.store.folder) as locks:
            share = Share(self.groups(trials), locks, progress_log, watcher.waiting, self.deadline)
            jobs = self._jobs(share, locks, watcher, here)
            try:
                with contextlib.closing(_executed(executor, jobs, site, here)) as finished:
                    for job, records in finished:
                        if not records:  # the budget is spent, by the clock where the job was
                            share.deadline = self.deadline = min(self.deadline, time.monotonic())
                        made = self._finish(job, records, here)
                        done = {trial.key for trial, _ in made}
                        rest = [trial for trial in job.trials if trial.key not in done]
                        share.release([trial for trial, _ in made], rest)
                        for trial, record in made:
                            watcher.finished(trial, record)
                            yield record
                for trial, record in self._finish_failed(here):
                    watcher.finished(trial, record)
                    yield record
            finally:
                self._finish_late(here, watcher)

    def _finish(self, job: Job, records: list[Record], here: Here) -> list[tuple[Trial, Record]]:
        """Complete a job's records by what only this process knows, and store them; return them."""
        self._references.keep(job, records)
        made, again = self._settled(job, records)
        self._complete(job, made, here)
        self._again |= again
        return made

    def _complete(self, job: Job, made: list[tuple[Trial, Record]], here: Here) -> None:
        if made:
            self._note_reference(job, made[0][1])
        for trial, record in made:
            self._references.compare(trial, record)
            if path := job.model_path(trial):
                describe_result(path, record)
        self._store(job, [record for _, record in made], here)
        for trial, _ in made:
            self._again.pop(trial.key, None)

    def _settled(
        self, job: Job, records: list[Record]
    ) -> tuple[list[tuple[Trial, Record]], dict[str, _Failed]]:
        """Return the records to store, and those of trials that are to run again.

        Those are trials that failed, up to `retries` times: the other statuses would come again.
        """
        settled, again = [], {}
        is_over = time.monotonic() > self.deadline
        for trial, record in zip(job.trials, records, strict=False):
            lost = not record.provenance.attempts  # with its machine: it says nothing of itself
            own = {"status": record.status, "reason": record.reason, "wall_s": None}
            attempts = [*self._attempts(trial), *(record.provenance.attempts or [own])]
            failed = _Failed(job, trial, record, attempts)
            if record.status == "failed" and not (lost or is_over or len(attempts) > job.retries):
                again[trial.key] = failed
            else:
                settled.append(failed.final())
        if is_over:  # trials of a retry that does not begin any more
            pending = (self._again.get(trial.key) for trial in job.trials[len(records) :])
            settled += [failed.final() for failed in pending if failed is not None]
        return settled, again

    def _attempts(self, trial: Trial) -> list[dict[str, Any]]:
        failed = self._again.get(trial.key)
        return [] if failed is None else failed.attempts

    def _finish_failed(self, here: Here) -> Iterator[tuple[Trial, Record]]:
        """Store the last attempts of trials that do not run again any more; yield them.

        Raises:
            StorageError: one cannot be stored; the others are, as far as there is room.
        """
        unstored: StorageError | None = None
        while self._again:
            _, failed = self._again.popitem()
            try:
                self._complete(failed.job, [failed.final()], here)
            except StorageError as error:
                unstored = unstored or error
            else:
                yield failed.trial, failed.record
        if unstored is not None:
            raise unstored

    def _finish_late(self, here: Here, watcher: Watcher) -> None:
        """Store what has finished as the run was interrupted, or ended by an error."""
        for job, records in here.unstored():
            try:
                made = self._finish(job, records, here)
            except StorageError as error:  # another may be on its way, and each says what it keeps
                say(str(error))
                continue
            for trial, record in made:
                watcher.finished(trial, record)
        try:
            for trial, record in self._finish_failed(here):
                watcher.finished(trial, record)
        except StorageError as error:
            say(str(error))

    def _jobs(
        self, share: Share, locks: FolderLocks, watcher: Watcher, here: Here
    ) -> Generator[Job | None]:
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
                for trial in trials:
                    if (failed := self._again.get(trial.key)) is not None:
                        which = f"attempt {len(failed.attempts)} of {trial.name}"
                        say(f"{which} failed, {failed.record.reason}; it runs again")
                if earlier := self._attempts(trials[0]):
                    here.show(trials[0], Progress(phase=f"{ATTEMPT} {len(earlier) + 1}"))
                job = self._job(trials, locks, here)
            except (OSError, StorageError) as error:
                raise _stopped("before the next trial", error) from error
            yield job

    def _job(self, trials: list[Trial], locks: FolderLocks, here: Here) -> Job:
        trial = trials[0]
        provided = self.plugins.backends[trial.backend]
        references: dict[str, Reference] = {}
        usable = provided.value.trains and provided.call(lambda b: b.why_unavailable()) is None
        if self.gate and usable:
            computing = Progress(phase="reference")
            self._references.spent = {}
            for own in trials:
                reference = self._references.get(
                    own,
                    locks,
                    lambda: here.progressed(trial, computing),
                    lambda heard: here.progressed(trial, heard if heard.waits else computing),
                )
                if reference is not None:
                    references[own.key] = reference
            # A process all of whose trials failed has left what its own took to this one.
            self._spent[trial.key] = self._spent.get(trial.key, {}) | self._references.spent
        judge = self._references.of(trial) if self._is_checked(trial) else None
        involved = dict.fromkeys(
            plugin for each in (*trials, *([judge] if judge else [])) for plugin in each.plugins
        )
        compiled = self.store.folder / "compiled" / file_name(trial.backend)
        left_s = self.deadline - time.monotonic()
        return Job(
            **dict(self.options),
            trials=trials,
            budget_s=left_s if math.isfinite(left_s) else None,
            begin_by=time.time() + left_s if math.isfinite(left_s) else None,
            references=references,
            rehearsal=self._references.rehearsal(trial) if self._is_checked(trial) else None,
            judge=judge,
            cache=compiled if trial.cache else None,
            sources={
                plugin: self.plugins.sources(plugin).files for plugin in involved if file_of(plugin)
            },
        )

    def _note_reference(self, job: Job, record: Record) -> None:
        """Note in a record how long it took to compute a reference for its job."""
        spent = self._spent.pop(job.trial.key, {})
        if spent:
            known = record.provenance.job or {"trials": float(len(job.trials))}
            record.provenance.job = {**known, **spent}

    def _is_checked(self, trial: Trial) -> bool:
        return self.gate and self.checked and not trial.quick

    def _run_here(self, job: Job, progressed: Progressed) -> list[Record]:
        trial = job.trial
        backend = self.plugins.backends[trial.backend].value
        number = len(self._attempts(trial)) + 1
        name = trial.key if number == 1 else f"{trial.key}-attempt{number}"
        log = self.store.logs / f"{name}.log"
        try:
            return launch.run_job(
                job, backend, log, lambda progress: progressed(job.trial_of(progress), progress)
            )
        except KeyboardInterrupt:
            launch.end_strays()
            raise
        except OSError as error:
            raise _stopped(f"at {trial.name}", error) from error

    def _store(self, job: Job, records: list[Record], here: Here) -> None:
        try:
            with interrupts.shielded():  # all of a job, or none
                try:
                    self.store.append(*records)
                finally:
                    here.stored(job)
        except (OSError, StorageError) as error:
            raise _stopped(f"at {job.trial.name}", error) from error


def _executed(
    executor: Executor, jobs: Iterator[Job | None], site: Site, here: Here
) -> Generator[tuple[Job, list[Record]]]:
    """Keep as many jobs under way as the executor has room for; yield each with its records.

    At the end, or where it is interrupted, those that still run here are stopped.
    """
    try:
        first = next(jobs, None)
    except NotStartedError:  # it waited for the cores of its reference
        return
    if first is None:
        return
    with connected(executor, first, site) as connection:
        if not executor.local:
            interrupts.catch()  # a cluster's library may have set handlers of its own
        under_way: dict[int, _UnderWay] = {}

        exhausted = False

        def start(job: _UnderWay) -> None:
            nonlocal exhausted
            try:
                under_way[connection.start(job.job)] = job
            except NotStartedError:
                exhausted = True

        try:
            start(_UnderWay(first))
            while under_way or not exhausted:
                # One is under way whatever the executor says, or the run would never end.
                while not exhausted and (not under_way or len(under_way) < connection.room()):
                    try:
                        following = next(jobs)
                    except (StopIteration, NotStartedError):
                        exhausted = True
                        break
                    if following is None:
                        break
                    start(_UnderWay(following))
                numbers = connection.ended(WAIT_S)
                here.pass_on()
                for number in numbers:
                    ended = under_way.pop(number)
                    try:
                        records = ended.records(connection, number)
                    except NotStartedError:
                        exhausted = True
                        continue
                    if records is None:
                        again = Progress(phase=f"{ATTEMPT} {len(ended.losses) + 1}")
                        site.progressed(ended.job.trial, again)
                        start(ended)
                    else:
                        yield ended.job, records
        finally:
            here.stop()
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
