"""Choose the next trial of a plan that several processes work through."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from echobench.store.locks import FolderLocks
from echobench.store.progress_log import ProgressLog
from echobench.trial.trial import Trial

POLL_S = 0.25
"""Seconds between two readings of what other processes have recorded."""


class Share:
    """The trials of a plan that this process runs.

    A trial is locked, then looked up in the progress log, then run, so that no process that
    shares the folder has run it or can start it. Trials that another process runs are put off
    to the end; there their records are waited for, or the end of that process, after which
    this one runs them.

    Args:
        trials: the plan, in order.
        locks: of this process.
        progress_log: of the folder, read once already.
        waiting: called with the number of trials that only other processes still run, whenever
            it changes; 0 when that is over.
        deadline: no trial is taken after it, on the monotonic clock.

    Attributes:
        passed: trials taken here, or recorded by others.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        locks: FolderLocks,
        progress_log: ProgressLog,
        waiting: Callable[[int], None] = lambda count: None,
        deadline: float = math.inf,
    ) -> None:
        self.passed = 0
        self._locks = locks
        self._progress_log = progress_log
        self._waiting = waiting
        self._deadline = deadline
        self._left = deque(group_by_process(trials))
        self._put_off: list[dict[str, Trial]] = []
        self._waiting_for = 0
        self._under_way = 0

    def take(self) -> list[Trial] | None:
        """Return the next trial, or the next replicates, locked until `release`; [] at the end.

        None while trials of this process are under way and all others are put off: there is
        something else to wait for than other processes.
        """
        while time.monotonic() <= self._deadline:
            if not self._left and not self._put_off:
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

    def release(self, trials: Sequence[Trial]) -> None:
        """Unlock trials whose records are stored."""
        self._under_way -= len(trials)
        self._locks.release(trial.key for trial in trials)

    def _recorded(self, group: dict[str, Trial]) -> bool:
        recorded = group.keys() <= self._progress_log.recorded.keys()
        self.passed += len(group) if recorded else 0
        return recorded

    def _wait(self) -> None:
        """Wait for other processes, then retry what was put off."""
        self._report_waiting(sum(map(len, self._put_off)))
        time.sleep(min(POLL_S, max(0.0, self._deadline - time.monotonic())))
        self._retry_put_off()

    def _retry_put_off(self) -> None:
        self._progress_log.update()
        self._left.extend(self._put_off)
        self._put_off.clear()

    def _report_waiting(self, count: int) -> None:
        if count != self._waiting_for:
            self._waiting_for = count
            self._waiting(count)


def group_by_process(trials: Sequence[Trial]) -> list[dict[str, Trial]]:
    """Return trials by key, in order; replicates that share a process are one group."""
    groups: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        key = group = trial.key
        if trial.replicates:
            group = trial.model_copy(update={"seed": trial.seed // trial.replicates}).key
        groups.setdefault(group, {})[key] = trial
    return list(groups.values())
