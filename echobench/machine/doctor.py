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
from echobench.machine.cores import cores as our_cores
from echobench.machine.cores import most_threads, siblings

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
    cores = most_threads()
    usable = our_cores()
    steal, end = StealMeter(), time.monotonic() + WATCHED_S
    load = facts.load()
    windows: list[Window] = []
    while time.monotonic() < end:
        windows += matmul_windows(cores)
        time.sleep(0.1)
    return [
        _load(load, len(usable)),
        _steal(steal.fraction()),
        _steadiness([window.flops_per_s for window in windows]),
        _sharing([window.core_share for window in windows]),
        _governor(_read(CPUS / "cpu0/cpufreq/scaling_governor")),
        _siblings(
            [core.usable for core in usable],
            all(siblings(core.usable[0]) for core in usable),
        ),
        _quota(facts.processor_quota()),
        _memory(facts.memory_available()),
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


def _siblings(threads: Sequence[Sequence[int]], known: bool) -> Check:
    """Say how many cores there are, given each one's hyperthreads, if they are known."""
    if not known:
        return Check("cores", "unknown", "the system does not show which cores are threads of one")
    cores, logical = len(threads), sum(map(len, threads))
    counted = "1 core" if cores == 1 else f"{cores} cores"
    if logical == cores:
        return Check("cores", "good", f"{counted}; no two are hyperthreads of one core")
    return Check("cores", "good", f"{counted} with {logical} hyperthreads; a thread takes a core")


def _quota(quota: float | None) -> Check:
    if quota is None:
        return Check("quota", "good", "no quota of the processor's time")
    shown = "half a core" if quota == 0.5 else "1 core" if quota == 1 else f"{quota:.3g} cores"
    whole = int(quota)
    advice = f"use --threads {whole} at most, or " if whole else ""
    advice += "raise the quota: training stands still for a part of each tenth of a second"
    return Check("quota", "doubtful", f"{shown} by quota", advice)


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
