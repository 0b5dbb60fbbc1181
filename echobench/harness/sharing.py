"""Deal trials over processes, and choose the next of a plan that several harnesses work through."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from echobench.store.locks import FolderLocks
from echobench.store.progress_log import ProgressLog
from echobench.trial.cell import Cell
from echobench.trial.trial import Trial

POLL_S = 0.25
"""Seconds between two readings of what other processes have recorded."""


OF_A_PROCESS = (
    "backend", "engine", "device", "threads", "smt", "devices", "backend_source", "quick", "cache",
    "environment", "versions",
)  # fmt: skip # in two lines it reads better
"""Fields of a cell that a process has, whichever task it is at."""
MOST_SMOKE = 50
"""Most smoke runs of a process."""
USUAL_PROCESSES = 5
"""Of a cell, where it has as many seeds. Fewer have no interval (`statistics.FEWEST_PROCESSES`),
and more cost a start each: docs/method.md has the variances and the costs."""
SEEDS_A_PROCESS = 2
"""Seeds that a process of `--seeds auto` trains. The optimum of Kalibera and Jones ("Rigorous
benchmarking in reasonable time", 2013) is the root of (cost of a start / cost of a trial) times
(variance within / variance between processes); `tests.benchmarks.repetitions` computes it."""


class Share:
    """The trials of a plan that this process runs.

    A trial is locked, then looked up in the progress log, then run, so that no process that
    shares the folder has run it or can start it. Trials that another process runs are put off
    to the end; there their records are waited for, or the end of that process, after which
    this one runs them.

    Args:
        groups: the trials of each process by key (`by_process`), in order.
        locks: of this process.
        progress_log: of the folder, read once already.
        waiting: called with the number of trials that only other processes still run, whenever
            it changes; 0 when that is over.
        deadline: no trial is taken after it, on the monotonic clock.

    Attributes:
        deadline: as above.
        passed: trials taken here, or recorded by others.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Trial]],
        locks: FolderLocks,
        progress_log: ProgressLog,
        waiting: Callable[[int], None] = lambda count: None,
        deadline: float = math.inf,
    ) -> None:
        self.passed = 0
        self._locks = locks
        self._progress_log = progress_log
        self._waiting = waiting
        self.deadline = deadline
        self._left = deque(groups)
        self._put_off: list[dict[str, Trial]] = []
        self._waiting_for = 0
        self._under_way = 0

    def take(self) -> list[Trial] | None:
        """Return the trials of the next process, locked until `release`; [] at the end.

        None while trials of this harness are under way and all others are put off: their end may
        bring one, and there is something else to wait for than other harnesses.
        """
        while time.monotonic() <= self.deadline:
            if not self._left and not self._put_off and not self._under_way:
                break
            if not self._left and self._under_way:
                self._retry_put_off()
                return None
            if not self._left:
                self._wait()
            group = self._left.popleft()
            if self._recorded(group):
                continue
            if not self._locks.acquire(group):
                self._put_off.append(group)
                continue
            # It may have been recorded between the last reading and the lock.
            self._progress_log.update()
            if self._recorded(group):
                self._locks.release(group)
                continue
            self._report_waiting(0)
            missing = [
                trial for key, trial in group.items() if key not in self._progress_log.recorded
            ]
            self.passed += len(group)
            self._under_way += len(missing)
            return missing
        self._report_waiting(0)
        return []

    def release(self, recorded: Sequence[Trial], rest: Sequence[Trial] = ()) -> None:
        """Unlock trials whose records are stored; the rest of their process are the next to run.

        The rest stay locked, since a trial that failed here runs again here. After the deadline
        they are left to others.
        """
        self._under_way -= len(recorded) + len(rest)
        self._locks.release(trial.key for trial in recorded)
        if rest and time.monotonic() > self.deadline:
            self._locks.release(trial.key for trial in rest)
        elif rest:
            self.passed -= len(rest)
            self._left.appendleft({trial.key: trial for trial in rest})

    def _recorded(self, group: dict[str, Trial]) -> bool:
        recorded = group.keys() <= self._progress_log.recorded.keys()
        self.passed += len(group) if recorded else 0
        return recorded

    def _wait(self) -> None:
        """Wait for other processes, then retry what was put off."""
        self._report_waiting(sum(map(len, self._put_off)))
        time.sleep(min(POLL_S, max(0.0, self.deadline - time.monotonic())))
        self._retry_put_off()

    def _retry_put_off(self) -> None:
        self._progress_log.update()
        self._left.extend(self._put_off)
        self._put_off.clear()

    def _report_waiting(self, count: int) -> None:
        if count != self._waiting_for:
            self._waiting_for = count
            self._waiting(count)


def usual_processes(seeds: int) -> int:
    """Return over how many processes the seeds of a cell are dealt."""
    return min(seeds, USUAL_PROCESSES)


class Dealing(NamedTuple):
    """How the seeds of each cell are dealt over processes: in blocks of about the same size.

    Attributes:
        first, seeds: the first seed, and how many there are.
        processes: how many share them.
    """

    first: int
    seeds: int
    processes: int

    @classmethod
    def of(cls, first: int, seeds: int, processes: int | None) -> Dealing:
        """Deal seeds over so many processes; over the usual number where it is None."""
        return cls(first, seeds, min(seeds, processes or usual_processes(seeds)))

    def process_of(self, trial: Trial) -> int:
        """Return the number of the process that trains a trial, among those of its cell."""
        return self.of_seed(trial.seed)

    def of_seed(self, seed: int) -> int:
        """Return the number of the process that trains a seed of a cell."""
        return (seed - self.first) * self.processes // self.seeds


def by_process(trials: Sequence[Trial], dealing: Dealing | None = None) -> list[dict[str, Trial]]:
    """Return the trials of each process by key, in the order of the first of each."""
    groups: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        key = group = trial.key
        if trial.replicates:
            group = trial.model_copy(update={"seed": trial.seed // trial.replicates}).key
        elif dealing is not None:
            group = trial.model_copy(update={"seed": dealing.process_of(trial)}).key
        groups.setdefault(group, {})[key] = trial
    return list(groups.values())


def by_backend(trials: Sequence[Trial]) -> list[dict[str, Trial]]:
    """Return smoke runs by process and key: a backend's one after the other, cell by cell."""
    if trials and trials[0].replicates:  # they are trained together
        return by_process(trials)
    backends: dict[tuple[Any, ...], dict[Cell, dict[str, Trial]]] = {}
    for trial in trials:
        cell = Cell.of(trial)
        shared = tuple(getattr(cell, name) for name in OF_A_PROCESS)
        cells = backends.setdefault(shared, {})
        cells.setdefault(cell, {})[trial.key] = trial
    groups: list[dict[str, Trial]] = []
    for cells in backends.values():
        flat = [item for own in cells.values() for item in own.items()]
        groups += [dict(flat[at : at + MOST_SMOKE]) for at in range(0, len(flat), MOST_SMOKE)]
    return groups
