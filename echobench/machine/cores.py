"""Cores reserved for one measurement on a machine where others measure too."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MAX_RETRY_S = 0.2


@contextlib.contextmanager
def reserved_cores(count: int, folder: Path | None = None) -> Iterator[list[int] | None]:
    """Pin this process and its children to `count` cores that no other process has reserved.

    Waits until enough cores are free. A reservation is a lock on a file, which the system
    releases however its process ends. By default the locks are in a folder that all users of
    the machine share. Yields the cores; None if the system cannot pin processes, or has fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < count:
        yield None
        return
    with _locked(usable, count, folder or Path(tempfile.gettempdir()) / "echobench-cores") as cores:
        os.sched_setaffinity(0, cores)
        try:
            yield cores
        finally:
            os.sched_setaffinity(0, usable)


@contextlib.contextmanager
def _locked(usable: list[int], count: int, folder: Path) -> Iterator[list[int]]:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)  # for the locks of every user
    while True:
        with contextlib.ExitStack() as locks:
            cores: list[int] = []
            for core in usable:
                if len(cores) < count and _lock(folder / str(core), locks):
                    cores.append(core)
            if len(cores) == count:
                yield cores
                return
        # Hold nothing while waiting, and wait a random time, so that two waiters cannot deadlock.
        time.sleep(MAX_RETRY_S * random.random())


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    """Lock a file until `locks` closes; return False if another process has locked it."""
    import fcntl  # present wherever sched_setaffinity is

    if not path.exists():
        path.touch()
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # maybe another user's
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    locks.callback(os.close, file)
    return True
