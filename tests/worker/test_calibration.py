"""The calibration measures rates that a machine can have."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from echobench.worker import calibration


def test_rates_are_those_of_a_plain_measurement() -> None:
    found = calibration.calibrate()
    a = np.ones((calibration.SIZE, calibration.SIZE), np.float32)
    a @ a
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    plain = 2 * calibration.SIZE**3 / min(seconds)
    # Machines are noisy: the order of magnitude, no more.
    assert plain / 20 < found["matmul_flops_per_s"] < 20 * plain
    assert 1e8 < found["copy_bytes_per_s"] < 1e13
    assert found["matmul_spread"] >= 1
    assert found["frequency_mhz"] is None or found["frequency_mhz"] > 0


def test_the_limit_is_a_share_of_the_best_rate() -> None:
    rates: dict[str, Any] = {
        "before": {"matmul_flops_per_s": 1e9},
        "after": {"matmul_flops_per_s": 2e9},
    }
    fields = {"flops_per_update": 1_000_000, "seconds_per_update": 1e-3}
    assert calibration.limit_fraction(fields, "cpu", rates) == 0.5
    assert calibration.limit_fraction(fields, "gpu", rates) is None
    assert calibration.limit_fraction({"flops_per_update": None}, "cpu", rates) is None
    assert calibration.limit_fraction({"flops_per_update": 1}, "cpu", rates) is None
