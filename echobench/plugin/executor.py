"""What an executor plugin provides: a place that runs jobs, and a connection to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from echobench.core.frozen import FrozenModel
from echobench.trial.job import Job, Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial

LOCAL = "local"
"""Name of the executor that runs where none is asked for."""


@dataclass(frozen=True)
class Site:
    """The run that an executor serves.

    Attributes:
        run_here: runs a job on this machine and returns the record of each trial.
        report: called with a trial and its progress.
        folder: the results folder, for files of the executor's own.
    """

    run_here: Callable[[Job], list[Record]]
    report: Callable[[Trial, Progress], None]
    folder: Path


class Executor(FrozenModel, ABC):
    """A place that runs jobs. Its fields are its parameters (`--executor name[field=value]`).

    It changes neither what a worker does nor what a record means. The harness keeps as many
    jobs under way as there is room for, starts lost jobs again, and cancels the rest at the
    end.

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

    @abstractmethod
    def connect(self, job: Job, site: Site) -> AbstractContextManager[Connection]:
        """Connect for as long as the context lasts.

        Args:
            job: the first job, which shows what each needs: threads, device, time limit.
            site: the run.

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

        A job that another machine ran as text (`run_packed_job`) is unpacked by
        `unpack_records`.

        Raises:
            JobLostError: the job was lost with its machine; it is started again.
            ExecutorError: the job cannot run there at all.
        """

    @abstractmethod
    def cancel(self, handle: Any) -> None:
        """End a job and every process that it started."""
