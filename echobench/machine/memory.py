"""A worker's memory: what it holds, what it may hold, and whether the system took it for that."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

SYSTEM = Path("/")
"""Where the system's own figures are; another folder in the tests."""


def shown(value: int) -> str:
    """Return bytes for people: `4.3 GiB`."""
    unit, size = ("GiB", 2**30) if value >= 2**30 else ("MiB", 2**20)
    return f"{round(value / size, 1):g} {unit}"


def resident(processes: Iterable[psutil.Process]) -> int:
    """Return the bytes that processes have in memory, summed: what they share counts in each."""
    held = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            held += process.memory_info().rss
    return held


def kills() -> int | None:
    """Return how many processes the system has ended so far because memory ran out.

    Of our control group where it counts them, else of the machine; None where nobody
    counts. Two counts differ where it happened between them.
    """
    for path in _counters():
        with contextlib.suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
            if found:
                return int(found[1])
    return None


def _counters() -> Iterable[Path]:
    with contextlib.suppress(OSError):
        for line in (SYSTEM / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield SYSTEM / f"sys/fs/cgroup{group}/memory.events"
            elif "memory" in controllers.split(","):
                yield SYSTEM / f"sys/fs/cgroup/memory{group}/memory.oom_control"
    yield SYSTEM / "sys/fs/cgroup/memory.events"  # a container sees its own group here
    yield SYSTEM / "proc/vmstat"
