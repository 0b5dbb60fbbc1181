"""Check whether this machine is fit to measure on, and advise what to change."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from echobench.machine import facts
from echobench.machine.calibration import MAX_STEAL, StealMeter, Window, matmul_windows

WATCHED_S = 3.0
MAX_LOAD = 0.25
"""Load of other processes, per core."""
MAX_RATE_RATIO = 1.1
"""Fastest over slowest rate of the matrix product while the machine is watched."""
MIN_SHARE = 0.9
"""Share of its cores that a thread for each of them gets while the machine is watched."""
MIN_MEMORY = 4 * 2**30
CPUS = Path("/sys/devices/system/cpu")
Verdict = Literal["good", "doubtful", "unknown"]


@dataclass(frozen=True)
class Check:
    """One property of the machine: what was found, and what to do about it if that is doubtful.

    The verdict is `unknown` if the system does not report it.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Watch this machine for `WATCHED_S` and return all checks."""
    cores = facts.usable_cores()
    steal, end = StealMeter(), time.monotonic() + WATCHED_S
    load = facts.load()
    windows: list[Window] = []
    while time.monotonic() < end:
        windows += matmul_windows(cores)
        time.sleep(0.1)
    return [
        _load(load, cores),
        _steal(steal.fraction()),
        _steadiness([window.flops_per_s for window in windows]),
        _sharing([window.core_share for window in windows]),
        _governor(_read(CPUS / "cpu0/cpufreq/scaling_governor")),
        _siblings(
            [_read(CPUS / f"cpu{n}/topology/thread_siblings_list") for n in facts.affinity() or [0]]
        ),
        _memory(facts.known(lambda: psutil.virtual_memory().available)),
        _power(),
    ]


def _check(name: str, good: bool, found: str, advice: str) -> Check:
    return Check(name, "good", found) if good else Check(name, "doubtful", found, advice)


def _load(load: float | None, cores: int) -> Check:
    if load is None:
        return Check("load", "unknown", "the system does not count it")
    advice = "end other work, or wait a minute, and look again"
    return _check("load", load <= MAX_LOAD * cores, f"load {load:.2f} on {cores} cores", advice)


def _steal(fraction: float | None) -> Check:
    if fraction is None:
        return Check("steal", "unknown", "the system does not count it")
    found = f"{fraction:.1%} of the processor taken by other virtual machines"
    advice = "measure at another hour, or on a machine of its own"
    return _check("steal", fraction <= MAX_STEAL, found, advice)


def _steadiness(rates: Sequence[float]) -> Check:
    slowest, fastest = min(rates), max(rates)
    found = (
        f"matrix products at {slowest / 1e9:.0f} to {fastest / 1e9:.0f} GFLOP/s in {WATCHED_S:g} s"
    )
    advice = "compare by pairs only (`echobench compare`), with more seeds"
    return _check("steadiness", fastest / slowest <= MAX_RATE_RATIO, found, advice)


def _sharing(shares: Sequence[float]) -> Check:
    share = statistics.fmean(shares)
    found = f"matrix products got {share:.0%} of the cores in {WATCHED_S:g} s"
    return _check("sharing", share >= MIN_SHARE, found, "end what else runs here")


def _governor(name: str | None) -> Check:
    if name is None:
        return Check("frequency", "unknown", "the system does not show its governor")
    advice = "sudo cpupower frequency-set --governor performance"
    return _check("frequency", name == "performance", f"governor {name}", advice)


def _siblings(lists: Sequence[str | None]) -> Check:
    if None in lists:
        return Check("cores", "unknown", "the system does not show which cores are threads of one")
    logical, physical = len(lists), len(set(lists))
    if logical == physical:
        return Check("cores", "good", f"{logical} cores, none a second thread of another")
    found = f"{logical} logical cores on {physical} physical ones"
    return Check("cores", "doubtful", found, f"use --threads {physical} at most")


def _memory(available: int | None) -> Check:
    if available is None:
        return Check("memory", "unknown", "the system does not count it")
    found = f"{available / 2**30:.1f} GiB free"
    advice = "free some: a worker with its compiler takes 1 to 3"
    return _check("memory", available >= MIN_MEMORY, found, advice)


def _power() -> Check:
    battery = facts.known(psutil.sensors_battery) if hasattr(psutil, "sensors_battery") else None
    plugged = battery is None or battery.power_plugged
    return _check("power", plugged, "on mains" if plugged else "on battery", "plug it in")


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
