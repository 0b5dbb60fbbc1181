"""Which trial is next: of a plan that several processes may be working through at once."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from echobench.store.locks import FolderLocks
from echobench.store.progress_log import ProgressLog
from echobench.trial.trial import Trial

POLL_S = 0.25
"""Seconds between two looks at what other processes have finished."""


class Share:
    """The part of a plan that falls to this process.

    A trial is locked, then looked up in the progress log, then run: so none that shares the folder
    has run it, and none can begin it. What another process runs is put off to the end; there
    its record is waited for, or the end of its process, after which it falls to this one.

    Args:
        trials: the plan, in order.
        locks: of this process.
        progress_log: of the folder, its first look taken.
        waiting: called with the number of trials that other processes run, when nothing else is
            left, as often as it changes; 0 when that is over.
        deadline: no trial is handed out after it, on the monotonic clock.

    Attributes:
        passed: trials that were handed out, or recorded by others.
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
        self._left = deque(together(trials))
        self._put_off: list[dict[str, Trial]] = []
        self._told = 0
        self._under_way = 0

    def take(self) -> list[Trial] | None:
        """Return the next trial, or the next replicates that share a process; [] at the end.

        It is locked until it is given back. While others are under way, so that there is
        something else to wait for, None is returned instead of waiting for other processes.
        """
        while time.monotonic() <= self._deadline:
            if not self._left and not self._put_off:
                break
            if not self._left and self._under_way:
                self._look_again()
                return None
            if not self._left:
                self._wait()
            group = self._left.popleft()
            if self._recorded(group):
                continue
            if not self._locks.acquire(group):
                self._put_off.append(group)
                continue
            # Only now: it may have been recorded between the look before and the lock.
            self._progress_log.update()
            if self._recorded(group):
                self._locks.release(group)
                continue
            self._tell(0)
            missing = [
                trial for key, trial in group.items() if key not in self._progress_log.recorded
            ]
            self.passed += len(group)
            self._under_way += len(missing)
            return missing
        self._tell(0)
        return []

    def give(self, trials: Sequence[Trial]) -> None:
        """Give back what was taken; its records are kept, or it is not to be run."""
        self._under_way -= len(trials)
        self._locks.release(trial.key for trial in trials)

    def _recorded(self, group: dict[str, Trial]) -> bool:
        found = group.keys() <= self._progress_log.recorded.keys()
        self.passed += len(group) if found else 0
        return found

    def _wait(self) -> None:
        """Have what was put off looked at again, after a while."""
        self._tell(sum(map(len, self._put_off)))
        time.sleep(min(POLL_S, max(0.0, self._deadline - time.monotonic())))
        self._look_again()

    def _look_again(self) -> None:
        self._progress_log.update()
        self._left.extend(self._put_off)
        self._put_off.clear()

    def _tell(self, count: int) -> None:
        if count != self._told:
            self._told = count
            self._waiting(count)


def together(trials: Sequence[Trial]) -> list[dict[str, Trial]]:
    """Return trials by key, in order, those that share a process as one group."""
    groups: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        key = group = trial.key
        if trial.replicates:
            group = trial.model_copy(update={"seed": trial.seed // trial.replicates}).key
        groups.setdefault(group, {})[key] = trial
    return list(groups.values())
