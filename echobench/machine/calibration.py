"""How fast this machine is just now, at what networks are made of, and how steadily."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

SIZE = 512
"""Rows and columns of the matrices: large enough for the processor's full rate."""
COPIED_BYTES = 32 * 2**20
"""More than the caches of most processors hold."""
REPEATS = 7


def calibrate() -> dict[str, Any]:
    """Return the machine's rates, measured in this process with its threads and cores.

    Returns:
        `matmul_flops_per_s` of a float32 matrix product and `copy_bytes_per_s` of a
        copy, both the best of several; `matmul_spread`, the median's time over the
        best's: 1 where nothing disturbs; `frequency_mhz` of the processor, None where
        it does not say.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    product = np.empty_like(a)
    source = np.ones(COPIED_BYTES // 4, np.float32)
    target = np.empty_like(source)
    matmul = _times(lambda: np.matmul(a, b, out=product))
    copy = _times(lambda: np.copyto(target, source))
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return {
        "matmul_flops_per_s": 2 * SIZE**3 / matmul[0],
        "copy_bytes_per_s": COPIED_BYTES / copy[0],
        "matmul_spread": matmul[len(matmul) // 2] / matmul[0],
        "frequency_mhz": frequency.current if frequency else None,
    }


def limit_fraction(
    fields: dict[str, Any], device: str, calibration: dict[str, dict[str, Any] | None]
) -> float | None:
    """Return how close training came to the processor's float32 matrix products.

    The share of the best rate measured before and after, with the same threads. None
    on a GPU, where networks as small as these wait for launches and not for products.

    Args:
        fields: a record's, `flops_per_update` and `seconds_per_update` among them.
        device: the trial's.
        calibration: rates `before` and `after`.
    """
    flops, seconds = fields["flops_per_update"], fields.get("seconds_per_update")
    rates = [found["matmul_flops_per_s"] for found in calibration.values() if found]
    if flops is None or not seconds or not rates or device != "cpu":
        return None
    return float(flops / seconds / max(rates))


def _times(function: Callable[[], Any]) -> list[float]:
    """Return the seconds of several calls, the shortest first; one before them warms up."""
    function()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)
