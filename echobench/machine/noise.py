"""Whether a trial ran undisturbed: what its calibrations, load and steal say."""

from __future__ import annotations

from typing import Any

import psutil

MOST_DRIFT = 0.15
"""Of the matrix product's rate, between before and after."""
MOST_SPREAD = 1.3
"""Of the matrix product's time, median over best, within a tenth of a second."""
MOST_STEAL = 0.02
"""Of all processor time, taken by other virtual machines."""
MOST_LOAD = 0.5
"""Processes that wait for a core."""


class Steal:
    """The share of this machine's processor time that others take while this object lives."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def fraction(self) -> float | None:
        """Return the share since the start; None where the system does not count it."""
        now = psutil.cpu_times()
        if not hasattr(now, "steal"):
            return None
        total = sum(now) - sum(self._before)
        return (now.steal - self._before.steal) / total if total else 0.0


def disturbances(provenance: dict[str, Any]) -> list[str]:
    """Return what disturbed a trial, each in a few words; empty where nothing is known of.

    Args:
        provenance: a record's, with `calibration`, `steal_fraction`, `load_before`,
            `machine` where they were measured.
    """
    found = []
    calibration = provenance.get("calibration") or {}
    before, after = calibration.get("before"), calibration.get("after")
    if before and after:
        drift = after["matmul_flops_per_s"] / before["matmul_flops_per_s"] - 1
        if abs(drift) > MOST_DRIFT:
            found.append(f"matrix products {drift:+.0%} after the trial")
        spread = max(before["matmul_spread"], after["matmul_spread"])
        if spread > MOST_SPREAD:
            found.append(f"matrix products unsteady by {spread - 1:.0%}")
    steal = provenance.get("steal_fraction")
    if steal is not None and steal > MOST_STEAL:
        found.append(f"{steal:.1%} of the processor stolen")
    load, cores = provenance.get("load_before"), (provenance.get("machine") or {}).get("cores")
    # The minute's mean still holds our own trial before this one, which kept to the cores.
    if load is not None and cores and load > cores + MOST_LOAD:
        found.append(f"load {load:.1f} on {cores} cores before the trial")
    return found
