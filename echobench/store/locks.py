"""Which trials are being run, and by whom: what keeps two processes from running the same one.

A claim is a lock on one byte of an empty file among the records; which byte follows from the
trial's key. The kernel gives it up when its process ends, however that ends, so that nothing
is left to clear away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows: there are no claims, and one process to a folder
    fcntl = None  # type: ignore[assignment] # the module or nothing

TRIALS, SEARCHES = ".claims", ".claims-search"
"""The files: what is claimed in one lives as long as that is open."""
PLACES = 2**62
"""Bytes that can be claimed; the file stays empty."""
HELD = (errno.EACCES, errno.EAGAIN)
"""How the system says that another process holds a lock."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""How a file system says that it has none."""


class Claims:
    """The claims of this process on the trials of a folder; a context manager.

    A process must have one at a time for a file: the system drops all its locks on a file as
    soon as it closes that file once.

    Args:
        folder: of the records; it is there.
        file: which of them: `TRIALS` or `SEARCHES`.

    Attributes:
        why_none: why nothing can be claimed here, where that is so; every claim is then
            granted.
    """

    def __init__(self, folder: Path, file: str = TRIALS) -> None:
        self._path = folder / file
        self._file: int | None = None
        self._held: set[str] = set()
        self.why_none: str | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def take(self, names: Iterable[str]) -> bool:
        """Claim all of these, or none; return whether it was granted.

        Raises:
            OSError: the folder is gone, or cannot be written.
        """
        taken: list[str] = []
        for name in names:
            if not self._lock(name):
                self.give(taken)
                return False
            taken.append(name)
        return True

    def give(self, names: Iterable[str]) -> None:
        """Give claims up."""
        for name in names:
            self._held.discard(name)
            if fcntl is not None and self._file is not None:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place(name))

    def close(self) -> None:
        """Give up all of them."""
        self._held.clear()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, name: str) -> bool:
        if fcntl is None or self.why_none is not None:
            return True
        try:
            fcntl.lockf(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place(name))
        except OSError as error:
            if error.errno in HELD:
                return False
            if error.errno not in NO_LOCKS:
                raise
            self.why_none = error.strerror
            print(
                f"{self._path.parent}: no locks here ({error.strerror}): run one command at a "
                "time in this folder",
                file=sys.stderr,
            )
            return True
        self._held.add(name)
        return True

    def _opened(self) -> int:
        """Return the file: the one that is in the folder now, which someone may have emptied."""
        if self._file is not None and not self._held and not self._same():
            self.close()
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        return self._file

    def _same(self) -> bool:
        assert self._file is not None  # it is asked about
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False


def place(name: str) -> int:
    """Return the byte that stands for a name, 0 up to `PLACES`."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % PLACES
