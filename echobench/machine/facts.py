"""What machine this is: the facts that a record keeps. No host name, no user name."""

from __future__ import annotations

import functools
import getpass
import os
import platform
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psutil


def cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def affinity() -> list[int] | None:
    """Return the cores this process may run on, as observed; None where nobody knows."""
    process = psutil.Process()
    return sorted(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else None


def threads() -> dict[str, int] | None:
    """Return the threads of this process by name, as observed; None where nobody knows."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return None
    return dict(Counter(_name(task) for task in tasks.iterdir()).most_common())


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text().strip()
    except OSError:
        return "ended"  # between being listed and being read


@functools.cache
def facts() -> dict[str, Any]:
    """Return the machine's facts; asked of the processor once, since that takes a second."""
    import cpuinfo

    cpu = cpuinfo.get_cpu_info()
    return {
        "cpu": cpu.get("brand_raw"),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": cores(),
        "gpus": _gpus(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }


def _gpus() -> list[str]:
    """Return the models of NVIDIA's GPUs, as their driver says."""
    told = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return told.splitlines() if told else []


def who() -> dict[str, str]:
    """Return the names of host and user, which a record keeps only where that is asked for."""
    return {"host": platform.node(), "user": getpass.getuser()}


@functools.cache
def git_state() -> dict[str, Any] | None:
    """Return commit and dirtiness of the checkout that echobench runs from, if it is one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    commit = _git(here, "rev-parse", "HEAD")
    status = _git(here, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "dirty": bool(status)}


def _git(directory: Path, *arguments: str) -> str | None:
    return _said("git", "-C", str(directory), *arguments)


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def peak_memory_bytes() -> int | None:
    """Return the largest resident size this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = psutil.Process().memory_info()
    return getattr(memory, "peak_wset", None)
