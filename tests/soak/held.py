"""What a process holds: memory, files, threads, children."""

from __future__ import annotations

from typing import NamedTuple

import psutil


class Held(NamedTuple):
    """Resident bytes, open files, threads and child processes."""

    rss: int
    files: int
    threads: int
    children: int

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.rss / 2**20:.1f} MiB, {self.files} files, {self.threads} threads, "
            f"{self.children} children"
        )


def held(process: psutil.Process) -> Held:
    """Return what a process holds now.

    Raises:
        psutil.Error: it has ended.
    """
    with process.oneshot():
        return Held(
            rss=process.memory_info().rss,
            files=process.num_fds(),
            threads=process.num_threads(),
            children=len(process.children(recursive=True)),
        )
