"""What executor, observer and study plugins provide; `core` has tasks and backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from echobench.core.task import FrozenModel
from echobench.trial.job import Job, Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial

LOCAL = "local"
"""Name of the executor that runs where none is asked for."""


@dataclass(frozen=True)
class Site:
    """The run that an executor serves.

    Attributes:
        run_here: runs a job on this machine and returns the record of each trial; also in threads
            of the executor, where it raises KeyboardInterrupt once the run ends.
        progressed: called with a trial and its progress.
        folder: the results folder, for files of the executor's own.
    """

    run_here: Callable[[Job], list[Record]]
    progressed: Callable[[Trial, Progress], None]
    folder: Path


class Executor(FrozenModel, ABC):
    """A place that runs jobs. Its fields are its parameters (`--executor name[field=value]`).

    It changes neither what a worker does nor what a record means. The harness keeps as many
    jobs under way as there is room for, starts lost jobs again, and cancels the rest at the
    end. `--jobs` and `--address` set the fields `jobs` and `address` of an executor that has them;
    the records of a `local` one say `jobs` as the number under way at once (`Trial.side_by_side`).

    Attributes:
        name: what `--executor` takes.
        requires: modules that must be installed.
        extra: echobench's extra that installs them, if any.
        local: whether trials run on this machine alone; elsewhere a trial that any machine has
            recorded is not run again.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    local: ClassVar[bool] = False

    @property
    def side_by_side(self) -> int | None:
        """How many jobs run at once, as far as that is known before it connects."""
        jobs = getattr(self, "jobs", 1)
        return (jobs if isinstance(jobs, int) else 1) if self.local else None

    @abstractmethod
    def connect(self, job: Job, site: Site) -> AbstractContextManager[Connection]:
        """Connect for as long as the context lasts.

        The first job shows what each of the run's jobs needs: threads, device, time limit.

        Raises:
            ExecutorError: the executor cannot be reached, or no machine of it is large enough.
        """


class Connection(ABC):
    """An open connection to what runs jobs."""

    @abstractmethod
    def room(self) -> int:
        """Return how many jobs may be under way, waiting ones included."""

    @abstractmethod
    def start(self, job: Job) -> Any:
        """Start a job; return a hashable handle."""

    @abstractmethod
    def ended(self, handles: list[Any], seconds: float) -> list[Any]:
        """Return the handles of jobs that have ended; wait for one for at most `seconds`."""

    @abstractmethod
    def records(self, handle: Any) -> list[Record]:
        """Return the records of a job that has ended, in the order of its trials.

        A job of several trials in turn may end with the first few; the rest is started as another.
        One that could not begin before its `begin_by` has none.

        A job that another machine ran as text (`run_packed_job`) is unpacked by
        `unpack_records`.

        Raises:
            JobLostError: the job was lost with its machine; it is started again.
            ExecutorError: the job cannot run there at all.
        """

    @abstractmethod
    def cancel(self, handle: Any) -> None:
        """End a job and every process that it started."""


class Observer:
    """Receives trials as they run: for a log elsewhere, or a dashboard.

    Chosen with `--observe NAME`. A subclass overrides the methods that it needs; they run in
    the parent process, where no framework may be imported. An observer that raises is named on
    stderr and not called again; the trials go on.

    Trials may run side by side, on a cluster or as replicates, so that the calls of several are
    mixed: `trial.key` tells them apart.

    Attributes:
        name: the name that `--observe` takes.
        requires: modules that must be installed.
        extra: echobench's extra that installs them, if any.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None

    def trial_started(self, trial: Trial, results: Path) -> None:
        """Handle a trial's start; the observer's own files belong into the results folder.

        Called again where the trial begins again: its worker failed and is retried, or was lost
        with its machine. What it did before then counts no more.
        """

    def trial_progressed(self, trial: Trial, progress: Progress) -> None:
        """Handle a trial's progress; called at most a few times a second.

        Of replicates, which train together, only the first of a process has any.
        """

    def trial_finished(self, trial: Trial, record: Record) -> None:
        """Handle a trial's record, which is already on disk."""

    def run_ended(self) -> None:
        """Handle the end of a run, interrupted or not: no trial runs any more.

        A trial that was started and not finished has no record. `--seeds auto` ends a run at
        each of its looks.
        """


class Variant(FrozenModel):
    """A row of a study.

    Attributes:
        label: the row's heading.
        task: a task, as `--task` takes it.
        division: `closed` or `open`.
        sizes: the row's position on the study's axes of size, from an axis's name, with its
            unit, to the size. A row gives the axis on which it differs from the base row; the
            base row gives all axes. With sizes, the study says at which size one backend
            overtakes another, and `echobench plot` draws it.
    """

    label: str
    task: str
    division: str = "open"
    sizes: dict[str, int] = Field(default_factory=dict)


class Study(FrozenModel):
    """A question that `echobench study NAME` answers with a table.

    Attributes:
        name: the name that `echobench study` takes.
        question: one sentence.
        variants: the rows, in order.
        backend: the backend that runs them, unless `--backend` names another.
        seeds: trials of each variant, with the seeds 0 to seeds-1.
        timeout: time limit of a trial, as `--timeout` takes it: `90s`, `3m`.
    """

    name: str
    question: str
    variants: list[Variant] = Field(min_length=1)
    backend: str
    seeds: int = Field(default=3, ge=1)
    timeout: str = "3m"

    @property
    def axes(self) -> list[str]:
        """The axes of size along which the variants lie."""
        return list(dict.fromkeys(axis for variant in self.variants for axis in variant.sizes))

    @property
    def base(self) -> dict[str, int]:
        """The sizes of the base row, which lies on all axes."""
        return max((variant.sizes for variant in self.variants), key=len)
