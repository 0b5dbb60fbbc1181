"""What disturbs a trial is told, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from echobench.machine.noise import Steal, disturbances


def provenance(**changes: Any) -> dict[str, Any]:
    calm = {"matmul_flops_per_s": 1e11, "matmul_spread": 1.05}
    return {
        "calibration": {"before": calm, "after": dict(calm)},
        "steal_fraction": 0.0,
        "load_before": 1.9,
        "machine": {"cores": 2},
        **changes,
    }


def test_a_calm_trial_and_one_of_which_nothing_is_known_are_not_flagged() -> None:
    assert disturbances(provenance()) == []
    assert disturbances({}) == []
    assert disturbances(provenance(calibration={}, steal_fraction=None)) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steal_fraction": 0.08}, "8.0% of the processor stolen"),
        ({"load_before": 3.2}, "load 3.2 on 2 cores before the trial"),
        (
            {
                "calibration": {
                    "before": {"matmul_flops_per_s": 1e11, "matmul_spread": 1.0},
                    "after": {"matmul_flops_per_s": 5e10, "matmul_spread": 1.0},
                }
            },
            "matrix products -50% after the trial",
        ),
        (
            {
                "calibration": {
                    "before": {"matmul_flops_per_s": 1e11, "matmul_spread": 1.8},
                    "after": {"matmul_flops_per_s": 1e11, "matmul_spread": 1.0},
                }
            },
            "matrix products unsteady by 80%",
        ),
    ],
)
def test_a_disturbance_is_told(changes: dict[str, Any], told: str) -> None:
    assert disturbances(provenance(**changes)) == [told]


def test_steal_is_a_share() -> None:
    fraction = Steal().fraction()
    assert fraction is None or 0 <= fraction <= 1
