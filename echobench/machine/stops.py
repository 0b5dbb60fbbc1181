"""When a worker was stopped, and for how long.

A signal, a control group's freezer (`docker pause`) or a queueing system may stop a process at any
time, and its clocks run on. The guard beside the worker notices, and writes the stops into the
worker's own folder, on the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

Interval = tuple[float, float]
"""From and until, on the monotonic clock."""
BEAT_S = 0.25
"""Seconds between two looks of the guard at its own clock."""
LEAST_S = 0.25
"""A look that is later than this shows that the guard was stopped itself."""
NAME = ".stopped"
"""The file in the worker's own folder; there is none where nothing was stopped."""


class StopLog:
    """What the guard writes down.

    Its parent, the guard, hears when the worker is stopped and continued by signals. Whatever
    stops both shows in the guard's own clock, once its wait for a core is taken off.

    The guard may be stopped alone, too. Two facts show that: it was continued by a signal, and
    heard nothing of its worker, which no signal has stopped then; or the worker used more of
    the processor meanwhile than it could have before the stop. Where neither is so, the stop
    counts as the worker's. One that waits for a GPU, or for a process of its own, uses no
    processor: if something other than a signal stops the guard alone, its stop is noted as the
    worker's.
    """

    def __init__(self, home: str, worker: int) -> None:
        self._path, self._worker = Path(home, NAME), worker
        self._stops: list[Interval] = []
        self._is_stopped = self._was_stopped = self._noted = False
        self._last, self._waited_s = time.monotonic(), _waited_s()
        self._moment = self._last
        self._used_s = _used_s(worker)

    def note(self, stopped: bool) -> None:
        """Note that a signal has stopped or continued the worker, since the last beat."""
        self._is_stopped, self._noted = stopped, True

    def beat(self, continued: bool = False) -> None:
        """Account for the time since the last call; call it at least every `BEAT_S`.

        Args:
            continued: whether a signal has continued this process since then.
        """
        now, waited_s, used_s = time.monotonic(), _waited_s(), _used_s(self._worker)
        before, self._last = self._last, now
        # When it would have looked, had it not waited for a core that its worker has, say.
        since, self._moment = self._moment, now - (waited_s - self._waited_s)
        here_s = BEAT_S + waited_s - self._waited_s
        most_s = (here_s + LEAST_S) * _cores(self._worker)
        ran = used_s - self._used_s > most_s
        self._waited_s, self._used_s = waited_s, used_s
        was_stopped, self._was_stopped = self._was_stopped, self._is_stopped
        noted, self._noted = self._noted, False
        late = now - before > here_s + LEAST_S
        if late and ran:
            return
        if was_stopped:
            goes_on = bool(self._stops) and self._stops[-1][1] == since
            self._add(since if goes_on else before, self._moment)
        elif late and (noted or not continued):
            self._add(before + BEAT_S, self._moment)

    def _add(self, start: float, end: float) -> None:
        if self._stops and self._stops[-1][1] == start:
            start = self._stops.pop()[0]
        self._stops.append((start, end))
        text = "".join(f"{since!r} {until!r}\n" for since, until in self._stops)
        temporary = self._path.with_name(f"{NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a plugin may have made the folder unusable
            temporary.write_text(text)
            temporary.replace(self._path)


def _waited_s() -> float:
    """Return the seconds that this thread has waited for a core, 0 where nobody counts them."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _used_s(process: int) -> float:
    """Return the processor time of all threads of a process, 0 where the system does not say."""
    # As clock_getcpuclockid of Linux' C library does, which Python has not.
    with contextlib.suppress(OSError):
        return time.clock_gettime((~process << 3) | 2)
    return 0.0


def _cores(process: int) -> int:
    """Return on how many cores a process may run."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return len(os.sched_getaffinity(process))
    return os.cpu_count() or 1


def read(home: str) -> list[Interval]:
    """Return the stops of the worker with this folder.

    What is no interval is left out: a plugin can write there, too.
    """
    found: list[Interval] = []
    try:
        lines = Path(home, NAME).read_text(errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        with contextlib.suppress(ValueError):
            start, end = map(float, line.split())
            if start < end:
                found.append((start, end))
    return found


def overlap_s(first: Sequence[Interval], second: Sequence[Interval]) -> float:
    """Return the seconds that lie in an interval of both; those of each do not overlap."""
    return sum(
        max(0.0, min(end, until) - max(start, since))
        for start, end in first
        for since, until in second
    )
