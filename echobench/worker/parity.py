"""The parity gate: compare an engine's first losses with the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench.core.sequences import Floats
from echobench.errors import TrainingError
from echobench.trial.job import PARITY_TOLERANCE, Reference

SEED = 0
"""Seed of the weights and rows, whatever the trial's seed."""


def verdict(losses: Floats, reference: Reference | None) -> dict[str, Any]:
    """Return the record's field `parity`: whether losses agree with the reference's.

    Raises:
        TrainingError: a loss is not finite, and there are the reference's, which are.
    """
    if reference is None:  # a recipe that diverges at once has none; its trials miss
        return {"passed": None}
    check_finite(losses)
    difference = float(np.max(np.abs(losses / np.array(reference.losses) - 1.0)))
    return {
        "passed": bool(difference <= PARITY_TOLERANCE),
        "reference": reference.name,
        "updates": len(losses),
        "tolerance": PARITY_TOLERANCE,
        "largest_difference": difference,
    }


def check_finite(losses: Floats) -> None:
    """Raise TrainingError if a loss, of update 1 and on, is not a finite number."""
    bad = ~np.isfinite(losses)
    if bad.any():
        raise TrainingError(f"the loss is not a finite number in update {int(bad.argmax()) + 1}")
