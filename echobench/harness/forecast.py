"""What is left of a plan while it runs, and what it has taken without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from echobench.harness.estimate import Estimator, JobCost
from echobench.trial.job import Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial


@dataclass
class Forecast:
    """What is left of a plan while it runs.

    Args:
        estimator: it learns from each record.
        groups: the trials of each job, by key, in the order in which they start.
        side_by_side: how many jobs run at once; None for as many as are under way.
        recorded: keys of trials that other processes have recorded meanwhile.
        clock: in seconds.
    """

    estimator: Estimator
    groups: Sequence[dict[str, Trial]]
    side_by_side: int | None = 1
    recorded: Container[str] = ()
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._left = [dict(group) for group in self.groups]
        self._job_of = {key: number for number, group in enumerate(self._left) for key in group}
        self._began: dict[int, float] = {}
        self._waiting: set[int] = set()
        """Jobs that wait for cores."""
        self._created = self.clock()
        self._idle_since: float | None = None
        self._idle_s = 0.0
        self._jobs: dict[int, JobCost] | None = None

    @property
    def total(self) -> int:
        """Return the number of trials."""
        return len(self._job_of)

    @property
    def done(self) -> int:
        """Return how many of them are recorded."""
        left = sum(key not in self.recorded for group in self._left for key in group)
        return self.total - left

    @property
    def is_known(self) -> bool:
        """Whether all of what is left is known, and not a part of it."""
        return all(job.is_known for job in self._jobs_left().values())

    def progress(self, trial: Trial, progress: Progress) -> None:
        """Take note of a job that is under way."""
        number = self._job_of.get(trial.key)
        if number is None or trial.key not in self._left[number]:
            return  # a late message of a trial that is recorded
        if progress.begins_again:  # what the attempt before took is no part of this one
            self._began.pop(number, None)
        if progress.waits:
            self._waiting.add(number)
            self._began.pop(number, None)
        else:
            self._waiting.discard(number)
            self._began.setdefault(number, self.clock())
        self._note_idle()

    def _note_idle(self) -> None:
        """Add up how long there are jobs that wait, and none that works."""
        now = self.clock()
        if self._idle_since is not None:
            self._idle_s += now - self._idle_since
        self._idle_since = now if self._waiting and not self._began else None

    @property
    def waited_s(self) -> float:
        """Return how long all jobs that were under way have waited for cores."""
        self._note_idle()
        return self._idle_s

    @property
    def worked_s(self) -> float:
        """Return how long the plan has run, without waiting."""
        return self.clock() - self._created - self.waited_s

    def finish(self, record: Record) -> None:
        """Take note that a trial is recorded, and so that its process has ended."""
        number = self._job_of.get(record.key)
        if number is not None:
            if not (record.judge is not None and record.judge.is_interrupted):
                self._left[number].pop(record.key, None)  # else it runs again
            self._began.pop(number, None)  # the rest of its job is another process'
            self._waiting.discard(number)
            self._note_idle()
        self.estimator.add(record)
        self._jobs = None

    def left_s(self) -> float:
        """Return how long the rest takes, as far as it is known."""
        jobs, now = self._jobs_left(), self.clock()
        left = [
            max(0.0, job.known_s - (now - self._began.get(number, now)))
            for number, job in jobs.items()
        ]
        at_once = self.side_by_side or max(1, len(self._began))
        return max([sum(left) / at_once, *left])

    def _jobs_left(self) -> dict[int, JobCost]:
        """Return the jobs that are not recorded; it is looked up at the end of each trial only."""
        if self._jobs is None:
            left = {
                number: trials
                for number, group in enumerate(self._left)
                if (trials := [t for key, t in group.items() if key not in self.recorded])
            }
            self._jobs = dict(zip(left, self.estimator.jobs(left.values()), strict=True))
        return self._jobs
