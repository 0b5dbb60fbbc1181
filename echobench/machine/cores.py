"""Cores of one's own on a machine that others measure on too."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PAUSE_S = 0.2


@contextlib.contextmanager
def granted(count: int, folder: Path | None = None) -> Iterator[list[int] | None]:
    """Keep this process, and what it starts, to `count` cores that no other holder has.

    Holders take turns where there are too few. A core is held by a lock on a file, which
    the system releases however its holder ends. Waits until enough are free.

    Args:
        count: as many as threads will compute.
        folder: for the locks; one of the machine's, shared by all its users, by default.

    Yields:
        The cores; None where a process cannot be kept to some, or may use no more than that.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < count:
        yield None
        return
    with _locked(usable, count, folder or Path(tempfile.gettempdir()) / "echobench-cores") as held:
        os.sched_setaffinity(0, held)
        try:
            yield held
        finally:
            os.sched_setaffinity(0, usable)


@contextlib.contextmanager
def _locked(usable: list[int], count: int, folder: Path) -> Iterator[list[int]]:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o1777)  # every user's locks are there
    while True:
        with contextlib.ExitStack() as locks:
            held: list[int] = []
            for core in usable:
                if len(held) < count and _lock(folder / str(core), locks):
                    held.append(core)
            if len(held) == count:
                yield held
                return
        # All or none, and not in step with others who wait: nobody waits for each other.
        time.sleep(PAUSE_S * random.random())


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    """Lock a file until `locks` is closed; return whether it was free."""
    import fcntl  # where there is an affinity, there is this

    if not path.exists():
        path.touch()
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # another user's, perhaps
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    locks.callback(os.close, file)
    return True
