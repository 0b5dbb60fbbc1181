"""The parity gate: compare an engine's first losses with the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench.core.sequences import Floats
from echobench.trial.job import Reference

UPDATES = 20
"""Losses that are compared."""
SEED = 0
"""Seed of the weights and rows, whatever the trial's seed."""
TOLERANCE = 1e-5
"""Largest relative difference of a loss. Float32 rounding was measured at up to
1.8e-6 over all first-party cells; an error in the mathematics shows at 1e-4 and more."""


def verdict(losses: Floats, reference: Reference | None) -> dict[str, Any]:
    """Return the record's field `parity`: whether losses agree with the reference's."""
    if reference is None:
        return {"passed": None}
    difference = float(np.max(np.abs(losses / np.array(reference.losses) - 1.0)))
    return {
        "passed": bool(difference <= TOLERANCE),
        "reference": reference.name,
        "updates": len(losses),
        "tolerance": TOLERANCE,
        "largest_difference": difference,
    }
