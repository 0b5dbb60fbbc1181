"""The parity gate: compare an engine's first losses with the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from echobench.core.experiment import Experiment
from echobench.core.sequences import Floats
from echobench.errors import TrainingError
from echobench.trial.job import PARITY_TOLERANCE, PARITY_UPDATES, Reference

SEED = 0
"""Seed of the weights and rows, whatever the trial's seed."""


def epochs(program: Experiment) -> int:
    """Return the epochs that the gate trains: two at least where the state is carried."""
    return max(_least(program), -(-PARITY_UPDATES // program.batches))


def compared(losses: Floats, program: Experiment) -> Floats:
    """Return those of all updates' losses that are compared.

    They are the first ones. Of a state that is carried over more batches than these, they are the
    first ones of two epochs, so that its reset shows.
    """
    by_epoch = losses.reshape(-1, program.batches)[:, :PARITY_UPDATES]
    return by_epoch.reshape(-1)[: _least(program) * PARITY_UPDATES]


def _least(program: Experiment) -> int:
    return 2 if program.carries and program.batches >= PARITY_UPDATES else 1


def difference(losses: Sequence[float] | Floats, expected: Sequence[float]) -> float:
    """Return the largest relative difference of a loss."""
    return float(np.max(np.abs(np.array(losses) / np.array(expected) - 1.0)))


def verdict(losses: Floats, reference: Reference | None) -> dict[str, Any]:
    """Return the record's field `parity`: whether losses agree with the reference's.

    Raises:
        TrainingError: a loss is not finite, and there are the reference's, which are.
    """
    if reference is None:  # a recipe that diverges at once has none; its trials miss
        return {"passed": None}
    check_finite(losses)
    largest = difference(losses, reference.losses)
    return {
        "passed": bool(largest <= PARITY_TOLERANCE),
        "reference": reference.name,
        "updates": len(losses),
        "tolerance": PARITY_TOLERANCE,
        "largest_difference": largest,
    }


def check_finite(losses: Floats) -> None:
    """Raise TrainingError if a loss, of update 1 and on, is not a finite number."""
    bad = ~np.isfinite(losses)
    if bad.any():
        raise TrainingError(f"the loss is not a finite number in update {int(bad.argmax()) + 1}")
