"""Facts about this machine and its processes, for the records: no host or user name by default."""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
from msgspec import UNSET

from echobench.machine import control_groups, gpus, processor
from echobench.trial.record import Machine

SYSTEM = Path("/")
"""Root of `proc` and `sys`; tests replace it."""
LONGEST_S = 10.0
"""Seconds that a command may take to tell a fact."""
PATIENCE_S = 1.0
"""Seconds that it may take to end when it is killed."""
T = TypeVar("T")


@functools.cache
def machine_facts() -> Machine:
    """Return what a record says of its machine; cached, since reading the CPU may take a second."""
    quota = processor_quota()
    memory = known(psutil.virtual_memory)
    limit = control_groups.memory_limit(SYSTEM)
    if limit is not None and memory and limit >= memory.total:
        limit = None
    architecture = platform.machine()
    brand = processor.model_name(architecture, SYSTEM) or _processor()
    name = processor.processor_name(brand, SYSTEM)
    return Machine(
        cpu=name,
        architecture=architecture,
        system=f"{platform.system()} {platform.release()}",
        cores=usable_cores(),
        gpus=gpus.names(_gpus()),
        memory_bytes=memory.total if memory else None,
        quota=UNSET if quota is None else quota,
        memory_limit_bytes=UNSET if limit is None else limit,
        python=platform.python_version(),
        identity=processor.identity(SYSTEM) if name is None else UNSET,
    )


def machine_of(device: str) -> Machine:
    """Return what a record on a device says of its machine: of its GPUs only those granted to it.

    On the CPU these are all: a grant changes nothing there.
    """
    machine = machine_facts()
    if device != "gpu":
        return machine
    return msgspec.structs.replace(machine, gpus=gpus.granted(_gpus(), os.environ))


@functools.cache
def _gpus() -> list[gpus.Gpu]:
    return gpus.read_listing(_output(*gpus.LISTING) or "")


def host_and_user() -> dict[str, str]:
    """Return the host and user names, which a record keeps only on request; those known."""
    names = {"host": platform.node(), "user": user_name()}
    return {field: name for field, name in names.items() if name}


def user_name() -> str | None:
    """Return the user's name; None for a user id without one."""
    return known(getpass.getuser)


def load() -> float | None:
    """Return how many processes ran or waited, as the mean of the last minute."""
    load = known(os.getloadavg)
    return load[0] if load else None


def frequency_mhz() -> float | None:
    """Return the processor's frequency."""
    frequency = known(psutil.cpu_freq) if hasattr(psutil, "cpu_freq") else None
    return frequency.current if frequency else None


def known(read: Callable[[], T]) -> T | None:
    """Return a fact that is for information only; None where it cannot be read.

    Files of the system may be absent, unreadable or of a form that psutil does not expect, and
    no run fails for that.
    """
    try:
        return read()
    except Exception:
        return None


@functools.cache
def git_state() -> dict[str, Any] | None:
    """Return the commit of the checkout that echobench runs from, and whether it is dirty."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    git = ("git", "--no-optional-locks", "-C", str(checkout))
    commit = _output(*git, "rev-parse", "HEAD")
    status = _output(*git, "status", "--porcelain", "--untracked-files=no")
    dirty = None if status is None else bool(status)
    return None if commit is None else {"commit": commit, "dirty": dirty}


def _processor() -> str | None:
    """Return the processor's name by py-cpuinfo."""
    # In a process of its own: it tries a dozen commands and executes machine code.
    facts = _output(sys.executable, "-P", "-m", "cpuinfo", "--json")
    found = known(lambda: json.loads(facts)) if facts else None
    name = found.get("brand_raw") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _output(*command: str) -> str | None:
    """Return what a command prints; None if it is missing, fails or takes more than `LONGEST_S`."""
    found: list[str] = []
    # In a hook of git's, GIT_DIR names another repository.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def read() -> None:
        # A command may be missing, be no program, or lie where this user must not look.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                env=variables,
                timeout=LONGEST_S,
                check=False,
            )
            if done.returncode == 0:
                found.append(done.stdout.strip())

    # `subprocess.run` kills a command that takes too long, then waits for its end, which never
    # comes where the command hangs in a driver.
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(LONGEST_S + PATIENCE_S)
    return found[0] if found else None


def affinity() -> list[int] | None:
    """Return the cores that this process may run on; None if the system does not say."""
    process = psutil.Process()
    return sorted(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else None


def usable_cores() -> int:
    """Return the number of logical cores that this process may use."""
    return len(affinity() or []) or os.cpu_count() or 1


def processor_quota() -> float | None:
    """Return how many cores' time this process may use; None where that is all of its cores'."""
    quota = control_groups.quota(SYSTEM)
    return None if quota is None or quota >= usable_cores() else quota


def memory_available() -> int | None:
    """Return how many bytes are free on the machine, and for us; None if nothing says so."""
    free = [known(lambda: psutil.virtual_memory().available), control_groups.memory_left(SYSTEM)]
    return min((size for size in free if size is not None), default=None)


def thread_counts() -> dict[str, int] | None:
    """Count the threads of this process by name; None if the system does not list them."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return None
    names: Counter[str] = Counter()
    for task in tasks.iterdir():
        try:
            names[(task / "comm").read_text().strip()] += 1
        except OSError:
            names["ended"] += 1  # between being listed and being read
    return dict(names.most_common())


def forget_peak_memory() -> None:
    """Have `peak_memory_bytes` count from now on, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux' proc(5): reset the peak


def peak_memory_bytes() -> int | None:
    """Return the largest resident size that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return getattr(psutil.Process().memory_info(), "peak_wset", None)


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """Sum the resident sizes of processes; memory that they share counts once for each."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def oom_kills() -> int | None:
    """Return how many processes the system has killed so far because memory ran out.

    Counted for our control group if possible, else for the machine; None if the system does
    not count. If two counts differ, a process was killed between them.
    """
    for path in control_groups.oom_counters(SYSTEM):
        with contextlib.suppress(OSError):
            count = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
            if count:
                return int(count[1])
    return None


def size_text(size: int) -> str:
    """Format a number of bytes: `4 GiB`, `4.3 GiB`, `300 MiB`."""
    unit, factor = ("GiB", 2**30) if size >= 2**30 else ("MiB", 2**20)
    return f"{round(size / factor, 1):g} {unit}"
