"""How fast and how steady this machine is while a trial runs, and what disturbed the trial."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from echobench.trial.record import Machine, Provenance

SIZE = 512
"""Rows and columns of the matrices: large enough for the processor's full rate."""
COPIED_BYTES = 32 * 2**20
"""Larger than the caches of most processors."""
REPEATS = 7
MAX_DRIFT = 0.15
"""Change of the matrix product's rate from before a trial to after it."""
MAX_SPREAD = 1.3
"""Median time of the matrix product over its best, within a tenth of a second."""
MAX_STEAL = 0.02
"""Share of the processor time taken by other virtual machines."""
MAX_WAITING = 0.5
"""Processes waiting for a core."""


def calibrate() -> dict[str, Any]:
    """Measure the machine's rates in this process, with its threads and cores.

    Returns:
        `matmul_flops_per_s` of a float32 matrix product and `copy_bytes_per_s` of a
        copy, each the best of several; `matmul_spread`, the product's median time over its
        best: 1 on an idle machine; `frequency_mhz` of the processor, None if unknown.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    product = np.empty_like(a)
    source = np.ones(COPIED_BYTES // 4, np.float32)
    target = np.empty_like(source)
    matmul = _sorted_times(lambda: np.matmul(a, b, out=product))
    copy = _sorted_times(lambda: np.copyto(target, source))
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return {
        "matmul_flops_per_s": 2 * SIZE**3 / matmul[0],
        "copy_bytes_per_s": COPIED_BYTES / copy[0],
        "matmul_spread": matmul[len(matmul) // 2] / matmul[0],
        "frequency_mhz": frequency.current if frequency else None,
    }


def _sorted_times(function: Callable[[], Any]) -> list[float]:
    function()  # warm up
    return sorted(timeit.repeat(function, number=1, repeat=REPEATS))


def limit_fraction(
    fields: dict[str, Any], device: str, calibration: dict[str, dict[str, Any] | None]
) -> float | None:
    """Return the rate of training over that of the machine's float32 matrix products.

    The machine's rate is the better of the two measured before and after, with the same
    threads. None on a GPU, where networks this small wait for kernel launches instead.
    """
    flops, seconds = fields["flops_per_update"], fields.get("seconds_per_update")
    rates = [measured["matmul_flops_per_s"] for measured in calibration.values() if measured]
    if flops is None or not seconds or not rates or device != "cpu":
        return None
    return float(flops / seconds / max(rates))


class StealMeter:
    """Measures the share of processor time that other virtual machines take from now on."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def fraction(self) -> float | None:
        """Return the share so far; None if the system does not count it."""
        now = psutil.cpu_times()
        if not hasattr(now, "steal"):
            return None
        total = sum(now) - sum(self._before)
        return (now.steal - self._before.steal) / total if total else 0.0


def disturbances(provenance: Provenance) -> list[str]:
    """Describe what disturbed a trial, in a few words each, as far as it was measured."""
    messages = []
    calibration = provenance.calibration or {}
    before, after = calibration.get("before"), calibration.get("after")
    if before and after:
        drift = after.matmul_flops_per_s / before.matmul_flops_per_s - 1
        if abs(drift) > MAX_DRIFT:
            messages.append(f"matrix products {drift:+.0%} after the trial")
        spread = max(before.matmul_spread, after.matmul_spread)
        if spread > MAX_SPREAD:
            messages.append(f"matrix products unsteady by {spread - 1:.0%}")
    steal = provenance.steal_fraction
    if steal and steal > MAX_STEAL:
        messages.append(f"{steal:.1%} of the processor stolen")
    load, cores = provenance.load_before, (provenance.machine or Machine()).cores
    # The minute's mean includes our own previous trial, which used no more than the cores.
    if load is not None and cores and load > cores + MAX_WAITING:
        messages.append(f"load {load:.1f} on {cores} cores before the trial")
    return messages
