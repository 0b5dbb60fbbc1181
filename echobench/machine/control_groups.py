"""What control groups (Linux) leave our processes: the processor's time, and memory.

Both versions are read, where a machine mounts both too; the least limit of our group and of
those above it counts. What cannot be read is no limit: these facts keep nothing from running.
The folder `system` is the root of `proc` and `sys`.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

IN_A_SECOND = {"throttled_usec": 1e6, "throttled_time": 1e9}
"""Units of `cpu.stat`, in version 2 and 1."""
NO_LIMIT = 2**60
"""Bytes; version 1 writes such a number where there is no limit."""
ESCAPED = re.compile(r"\\([0-7]{3})")
"""A blank in a path of mountinfo, and the like."""


class _Mount(NamedTuple):
    """Where a hierarchy is mounted: its group `root` is the folder `point`."""

    root: str
    point: str


def quota(system: Path) -> float | None:
    """Return how many cores' time our groups may use; None for all."""
    return min(filter(None, map(_quota, _folders(system, "cpu"))), default=None)


def memory_limit(system: Path) -> int | None:
    """Return how many bytes our groups may hold; None without a limit."""
    return min((limit for limit, _ in _memory(system)), default=None)


def memory_left(system: Path) -> int | None:
    """Return how many bytes more our groups may hold; None without a limit."""
    return min((max(0, limit - held) for limit, held in _memory(system)), default=None)


def oom_counters(system: Path) -> Iterator[Path]:
    """Return files that count processes killed because memory ran out, the nearest first."""
    for folder in _hierarchy(system, "")[:1]:
        yield folder / "memory.events"
    for folder in _hierarchy(system, "memory")[:1]:
        yield folder / "memory.oom_control"
    yield system / "sys/fs/cgroup/memory.events"  # a container sees its own group here
    yield system / "proc/vmstat"


class ThrottleMeter:
    """Measures for how long quotas keep our processes from running from now on."""

    def __init__(self, system: Path = Path("/")) -> None:
        self._folders = _folders(system, "cpu")
        self._had_quota = any(map(_quota, self._folders))
        self._before, self._began = _throttled_s(self._folders), time.monotonic()

    def share(self, cores: int) -> float | None:
        """Return the share of the time since then, on so many cores; None without a quota.

        The system adds up the times of all cores on which something was ready to run. A quota may
        come and go meanwhile: counters are read of all groups, and one that moved shows a quota.
        """
        now, lasted_s = _throttled_s(self._folders), time.monotonic() - self._began
        # A group that nothing counted was given its controller since then, with a counter at 0.
        changes = [
            stopped - (self._before[folder] or 0.0)
            for folder, stopped in now.items()
            if stopped is not None and folder in self._before
        ]
        stopped_s = max(changes, default=None)
        has_quota = self._had_quota or any(map(_quota, self._folders))
        if stopped_s is None or (stopped_s <= 0 and not has_quota):
            return None
        return min(1.0, max(0.0, stopped_s) / (lasted_s * cores))


def _throttled_s(folders: Iterable[Path]) -> dict[Path, float | None]:
    """Return for how long quotas have stopped each of these groups so far; None if uncounted."""
    found: dict[Path, float | None] = {}
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            lines = (folder / "cpu.stat").read_text().splitlines()
            found[folder] = None
            for line in lines:
                name, value = line.split()
                if name in IN_A_SECOND:
                    found[folder] = int(value) / IN_A_SECOND[name]
    return found


def _quota(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        allowed, period = (folder / "cpu.max").read_text().split()
        return None if allowed == "max" else int(allowed) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        time_us, period_us = (int((folder / name).read_text()) for name in names)
        return None if time_us < 0 else time_us / period_us
    return None


def _memory(system: Path) -> Iterator[tuple[int, int]]:
    """Return limit and use of each of our groups that has a limit, without what can be dropped."""
    for folder in _folders(system, "memory"):
        for limit, use, dropped in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with contextlib.suppress(OSError, ValueError):  # ValueError: the limit is `max`
                most = int((folder / limit).read_text())
                held = int((folder / use).read_text())
                inactive = re.search(
                    rf"^{dropped} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE
                )
                if most < NO_LIMIT:
                    yield most, held - (int(inactive[1]) if inactive else 0)


def _folders(system: Path, controller: str) -> list[Path]:
    """Return the folders of our group and of those above it, in both versions."""
    return [*_hierarchy(system, ""), *_hierarchy(system, controller)]


def _hierarchy(system: Path, controller: str) -> list[Path]:
    """Return the folders of our group and of those above it, up to the root, in one version.

    Args:
        system: the root of `proc` and `sys`.
        controller: of version 1; empty for version 2, which has one hierarchy for all.
    """
    group = _group(system, controller)
    if group is None:
        return []
    usual = _Mount("/", f"/sys/fs/cgroup/{controller}")
    root, point = _mount(system, controller) or usual
    top = system / point.strip("/")
    # A container's group may lie outside of what it sees, where its own group is on top.
    root = root.rstrip("/") + "/"
    below = group.removeprefix(root) if group.startswith(root) and ".." not in group else ""
    folder = top / below.strip("/")
    return [folder, *(above for above in folder.parents if above.is_relative_to(top))]


def _group(system: Path, controller: str) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        for line in (system / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controller in controllers.split(","):
                return group
    return None


def _mount(system: Path, controller: str) -> _Mount | None:
    with contextlib.suppress(OSError, ValueError):
        for line in (system / "proc/self/mountinfo").read_text().splitlines():
            mounted, _, described = line.partition(" - ")
            kind, _, options = described.split(" ", 2)
            here = controller in options.split(",") if controller else kind == "cgroup2"
            if here and kind.startswith("cgroup"):
                root, point = (
                    ESCAPED.sub(lambda code: chr(int(code[1], 8)), path)
                    for path in mounted.split(" ")[3:5]
                )
                return _Mount(root, point)
    return None
