"""Jobs on this machine, one at a time or several side by side, in an executor's threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from echobench import interrupts
from echobench.errors import EchobenchError
from echobench.trial.job import Job, Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial

END_S = 30.0
"""Seconds that jobs may take to end their workers once they are stopped; a worker's guard, which is
stopped or killed itself, takes the longest: `process.GUARD_S` twice."""
PAUSE_S = 0.02
Progressed = Callable[[Trial, Progress], None]


class NotStartedError(EchobenchError):
    """A job waits for cores, and may not start any more: the run has ended, or its budget."""


class Here:
    """The jobs that an executor runs on this machine, in the run's own thread or in others.

    Nothing but the jobs happens in other threads: what a job reports there waits until the run's
    thread passes it on, so that a display or an observer is called in that thread alone. As the run
    ends, jobs in other threads are stopped, which no signal reaches.

    Args:
        progressed: takes the progress of a trial.
        deadline: no job that waits for cores starts after it, on the monotonic clock.
    """

    def __init__(self, progressed: Progressed, deadline: float) -> None:
        self._progressed = progressed
        self._deadline = deadline
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self._reports: SimpleQueue[tuple[Trial, Progress]] = SimpleQueue()
        # No lock guards these: an interrupt, raised as the run's thread has just taken it, would
        # leave it locked. Each change is one operation of a dictionary or a set.
        self._running: set[int] = set()
        """Threads with a job."""
        self._finished: dict[str, tuple[Job, list[Record]]] = {}
        """Jobs whose records are not stored, by the key of their first trial."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a job of this thread in the block, and keep its records there."""
        thread = threading.get_ident()
        self._running.add(thread)
        try:
            with interrupts.stopped_by(self._over):
                yield
        finally:
            self._running.discard(thread)

    def keep(self, job: Job, records: list[Record]) -> None:
        """Keep a job's records until they are `stored`: an interrupt may come before that."""
        # As they are now: an executor's code has the objects next.
        kept = [Record.from_dict(record.to_dict()) for record in records]
        self._finished[job.trial.key] = job, kept

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Take the progress of a job here; give it up if it waits for cores and may not start."""
        if progress.waits and self._over.is_set():
            raise NotStartedError
        self.show(trial, progress)
        if progress.waits and time.monotonic() > self._deadline:
            raise NotStartedError

    def show(self, trial: Trial, progress: Progress) -> None:
        """Hand over the progress of a trial, wherever it runs; from another thread, later."""
        self._reports.put((trial, progress))
        if threading.get_ident() == self._thread:
            self.pass_on()

    def pass_on(self) -> None:
        """Hand over what was reported in other threads, in the run's own."""
        while True:
            try:
                trial, progress = self._reports.get_nowait()
            except Empty:
                return
            self._progressed(trial, progress)

    def stored(self, job: Job) -> None:
        """Take note that a job's records are on disk, or where a message says."""
        self._finished.pop(job.trial.key, None)

    def stop(self) -> None:
        """Have the jobs that still run end their workers, and those that wait not begin."""
        self._over.set()

    def unstored(self) -> list[tuple[Job, list[Record]]]:
        """Wait until the stopped jobs have ended; return those with records, which are not stored.

        A job has records if it had finished, or only its judge was still at work.
        """
        until = time.monotonic() + END_S
        while self._running and time.monotonic() < until:
            time.sleep(PAUSE_S)
        finished = [*self._finished.values()]
        self._finished.clear()
        return finished
