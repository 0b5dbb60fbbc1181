"""Locks on trials, so that two processes never run the same one.

A lock covers one byte of an empty file among the records; the trial's key determines which
byte. The kernel releases it when its process ends, however that happens, so no stale lock is
ever left behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl as fcntl  # other modules import it from here
except ImportError:  # Windows has no such locks: run one process per folder, one merge at a time
    fcntl = None  # type: ignore[assignment] # the module or nothing

TRIALS, SEARCHES = ".claims", ".claims-search"
"""Lock files of a folder; each has locks of its own."""
LOCKABLE_BYTES = 2**62
"""Bytes that can be locked, although the file stays empty."""
LOCKED = (errno.EACCES, errno.EAGAIN)
"""Error numbers that mean: another process holds the lock."""
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""Error numbers that mean: this file system has no locks."""


class FolderLocks:
    """The locks that this process holds in a folder of records; a context manager.

    A process must not open two for the same file (`TRIALS` or `SEARCHES`): closing either drops the
    locks of both. Where locks are unsupported, every lock is granted.
    """

    def __init__(self, folder: Path, file: str = TRIALS) -> None:
        self._path = folder / file
        self._file: int | None = None
        self._held: set[str] = set()
        self._supported = fcntl is not None

    def __enter__(self) -> FolderLocks:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def acquire(self, names: Iterable[str]) -> bool:
        """Lock all names or none, without waiting; return whether it succeeded."""
        acquired: list[str] = []
        for name in names:
            if not self._lock(name):
                self.release(acquired)
                return False
            acquired.append(name)
        return True

    def release(self, names: Iterable[str]) -> None:
        """Unlock names."""
        for name in names:
            self._held.discard(name)
            if self._supported and self._file is not None:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte_of(name))

    def close(self) -> None:
        """Release all locks."""
        self._held.clear()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, name: str) -> bool:
        if not self._supported:
            return True
        try:
            fcntl.lockf(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte_of(name))
        except OSError as error:
            if error.errno in LOCKED:
                return False
            if error.errno not in UNSUPPORTED:
                raise
            self._supported = False
            print(
                f"{self._path.parent}: no locks here ({error.strerror}): run one command at a "
                "time in this folder",
                file=sys.stderr,
            )
            return True
        self._held.add(name)
        return True

    def _opened(self) -> int:
        """Open the lock file; reopen it if the folder was emptied and nothing is locked."""
        if self._file is not None and not self._held:
            try:
                current = os.path.samestat(os.fstat(self._file), self._path.stat())
            except FileNotFoundError:
                current = False
            if not current:
                self.close()
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        return self._file


def lock_writing(file: int) -> bool:
    """Wait until nobody else writes an open file, and lock it until it is closed.

    Return whether it is locked; it is not where the system has no such locks.
    """
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
            return True
    return False


def byte_of(name: str) -> int:
    """Return the byte that a name locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % LOCKABLE_BYTES
