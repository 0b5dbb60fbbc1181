"""The calibration measures rates that a machine can have."""

from __future__ import annotations

import time

import numpy as np

from echobench.worker import calibration


def test_rates_are_those_of_a_plain_measurement() -> None:
    found = calibration.calibrate()
    a = np.ones((calibration.SIZE, calibration.SIZE), np.float32)
    a @ a
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    plain = 20 * 2 * calibration.SIZE**3 / (time.perf_counter() - start)
    # Machines are noisy: the order of magnitude, no more.
    assert plain / 10 < found["matmul_flops_per_s"] < 10 * plain
    assert 1e8 < found["copy_bytes_per_s"] < 1e13
    assert found["matmul_spread"] >= 1
    assert found["frequency_mhz"] is None or found["frequency_mhz"] > 0
