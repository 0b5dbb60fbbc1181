"""The cores of this machine: how many threads they take, and those reserved for one job.

The hyperthreads of a core share its units: two of them are no faster than one thread, or not by
much. So a core counts once, and takes one thread, unless a trial asks for a thread on each of
its hyperthreads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from echobench.errors import EchobenchError, UsageError
from echobench.machine import facts

SCOPE = "ECHOBENCH_SCOPE"
"""A variable for tests: jobs with another value of it have other locks, and are not waited for."""
MAX_RETRY_S = 0.2
SAY_S = 1.0
"""Seconds between two calls that say that cores are waited for."""


class Core(NamedTuple):
    """A core: the threads of it that we may use, and all that it has, by their numbers."""

    usable: tuple[int, ...]
    siblings: tuple[int, ...]


class Reservation(NamedTuple):
    """The logical cores of a job, and why other processes may use them too, if they may."""

    cores: list[int]
    unlocked: str | None = None


def cores() -> list[Core]:
    """Return the cores that this process may use.

    Where the system does not say which of them are threads of one, each counts as a core.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    usable = facts.affinity()
    for number in range(facts.usable_cores()) if usable is None else usable:
        found.setdefault(siblings(number) or (number,), []).append(number)
    return [Core(tuple(usable), siblings) for siblings, usable in found.items()]


def most_threads(smt: bool = False) -> int:
    """Return how many threads a job may have here: as many as cores, of a quota its whole ones.

    Args:
        smt: whether each hyperthread takes a thread.
    """
    return _limits(smt)[0]


def check_threads(threads: int, smt: bool = False, jobs: int = 1) -> None:
    """Raise UsageError if this process has not a core for each thread of so many jobs at once."""
    lacking = why_too_many(threads, smt)
    if lacking is not None:
        raise UsageError(f"--threads: {lacking}")
    most, limit = _limits(smt)
    if threads * jobs > most:
        each = "1 thread" if threads == 1 else f"{threads} threads"
        fewer = "" if threads == 1 else ", or fewer --threads"
        raise UsageError(
            f"--jobs: expected at most {most // threads} of {each} each, {most} in all, {limit}; "
            f"received {jobs}; use fewer{fewer}"
        )


def why_too_many(threads: int, smt: bool = False) -> str | None:
    """Return why so many threads have not a core each; None if they have."""
    most, limit = _limits(smt)
    if threads <= most:
        return None
    advice = "--smt takes their hyperthreads too" if _limits(True)[0] >= threads else "use fewer"
    return f"expected at most {most}, {limit}; received {threads}; {advice}"


def _limits(smt: bool) -> tuple[int, str]:
    """Return the most threads, and what limits them."""
    ours, quota = cores(), facts.processor_quota()
    count = sum(len(core.usable) for core in ours) if smt else len(ours)
    if quota is not None and max(1, int(quota)) < count:
        return max(1, int(quota)), f"the whole cores of a quota of {quota:.3g}"
    return count, f"as many {'hyperthreads' if smt else 'cores'} as this process may use"


@contextlib.contextmanager
def reserved_cores(
    threads: int, smt: bool = False, waiting: Callable[[], None] = lambda: None
) -> Iterator[Reservation | None]:
    """Reserve cores that no other job of this machine uses, one for each thread; wait for them.

    A core is reserved with all of its hyperthreads. Its lock is the name of a socket: the system
    gives it once, to whichever user's process, whatever folders that sees, and takes it back
    however the process ends. A job that waits holds no core, but a place in the line of each core
    that it may use: those that come later take only cores for which none waits.

    Args:
        threads: of the job.
        smt: whether each hyperthread takes a thread.
        waiting: called about once a second while cores are waited for.

    Yields:
        The reservation; None where the system cannot keep a process to cores.

    Raises:
        EchobenchError: this process may not use so many cores.
    """
    lacking = why_too_many(threads, smt)
    if lacking is not None:
        raise EchobenchError(f"{threads} threads: {lacking}")
    if facts.affinity() is None or not hasattr(os, "sched_setaffinity"):
        yield None
        return
    with contextlib.ExitStack() as locks:
        try:
            found = Reservation(_wait(threads, smt, waiting, locks))
        except _LockError as error:
            taken = _taken(cores(), threads, smt, lambda core: True)
            found = Reservation(taken, f"cores cannot be reserved here ({error})")
        yield found


def _wait(
    threads: int, smt: bool, waiting: Callable[[], None], locks: contextlib.ExitStack
) -> list[int]:
    """Lock cores until `locks` closes; return their numbers."""
    said = time.monotonic()  # two that begin together meet for a moment
    line = _Line([], threads, smt)
    with contextlib.ExitStack() as place:
        while True:
            ours = sorted(cores(), key=_place)
            if ours != line.ours:  # somebody has changed what we may use
                place.close()
                line = _Line(ours, threads, smt)
            line.join(place)
            with contextlib.ExitStack() as tried:
                taken = _taken(line.held, threads, smt, lambda core: _lock_all(_names(core), tried))
                if len(taken) == threads:
                    locks.push(tried.pop_all())
                    return taken
            if time.monotonic() - said > SAY_S:
                said = time.monotonic()
                waiting()
            time.sleep(MAX_RETRY_S * random.random())


class _Line:
    """The places of a job in the lines of the cores that it may use.

    Each core has a lock more, for the head of its line: only who holds it may take the core. A
    job keeps the places that it gets while it waits for others, so that it comes to its turn
    however many come after it, and takes cores as soon as those that it heads suffice.

    Jobs that keep places and wait for more could block each other. To prevent it, a job takes a
    place only where it then heads enough cores, or where the cores after the last that it heads
    suffice for what it lacks. Suppose that some jobs are blocked for ever. None of them heads
    enough: the cores that a job heads come free, since those that run end, and nobody else may
    take them. Of all cores that the blocked jobs head take the last, and the job that heads it:
    it lacks a place, so it may use cores after that one, and no blocked job heads these. Those
    who do give them up, and the job gets one: it was not blocked.

    Attributes:
        ours: the cores that the job may use, in the order that all jobs share.
        held: those that it heads.
    """

    def __init__(self, ours: Sequence[Core], threads: int, smt: bool) -> None:
        self.ours, self._threads, self._smt = ours, threads, smt
        self.held: list[Core] = []

    def join(self, places: contextlib.ExitStack) -> None:
        """Take the places that are free, until `places` closes."""
        for core in self.ours:
            name = f"line for core {_place(core)}"
            if core not in self.held and self._may_keep(core) and _lock(name, places):
                self.held = sorted([*self.held, core], key=_place)

    def _may_keep(self, core: Core) -> bool:
        headed = sorted([*self.held, core], key=_place)
        later = [other for other in self.ours if _place(other) > _place(headed[-1])]
        return self._worth(headed) + self._worth(later) >= self._threads

    def _worth(self, some: Sequence[Core]) -> int:
        """Return how many threads these cores take."""
        return sum(len(core.usable) for core in some) if self._smt else len(some)


def _place(core: Core) -> int:
    """Return the place of a core in the order of all cores."""
    return core.siblings[0]


def _taken(
    ours: Sequence[Core], threads: int, smt: bool, take: Callable[[Core], bool]
) -> list[int]:
    """Take cores in order, until there is one for each thread; return their numbers."""
    taken: list[int] = []
    for core in ours:
        if len(taken) < threads and take(core):
            taken += core.usable[: threads - len(taken) if smt else 1]
    return taken


def _names(core: Core) -> list[str]:
    """Return the names of the locks of a core: one for each of its hyperthreads."""
    return [f"core {number}" for number in core.siblings]


def _lock_all(names: Iterable[str], locks: contextlib.ExitStack) -> bool:
    """Lock all of these names until `locks` closes, or none; return whether they are locked."""
    with contextlib.ExitStack() as tried:
        if all(_lock(name, tried) for name in names):
            locks.push(tried.pop_all())
            return True
    return False


def _lock(name: str, locks: contextlib.ExitStack) -> bool:
    """Lock a name until `locks` closes; return False if it is locked already.

    The names are Linux' abstract ones, which lie in no folder.
    """
    with contextlib.ExitStack() as tried:
        try:
            lock = tried.enter_context(socket.socket(socket.AF_UNIX))
            lock.bind(f"\0echobench{os.environ.get(SCOPE, '')} {name}")
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise _LockError(error.strerror or str(error)) from error
        locks.push(tried.pop_all())
    return True


class _LockError(Exception):
    """The system gives no locks; the message is its reason."""


def siblings(number: int) -> tuple[int, ...] | None:
    """Return all hyperthreads of a logical core's core; None if the system does not say."""
    path = f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
    try:
        parts = (facts.SYSTEM / path).read_text().strip().split(",")
        ends = [(part.partition("-")[0], part.rpartition("-")[2]) for part in parts]
        found = tuple(n for first, last in ends for n in range(int(first), int(last) + 1))
    except (OSError, ValueError):
        return None
    return found if number in found else None
