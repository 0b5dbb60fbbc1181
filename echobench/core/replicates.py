"""Many seeds of one cell in one program: each trains as if it were alone.

Every replicate runs the very loop that a single trial runs (`training.train`), in a
thread of its own. Where that loop would train, it waits until all replicates that are
still at it wait too; then one program trains them all, side by side.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from echobench.core.backend import ReplicatedTrainer
from echobench.core.sequences import Floats, Integers


class Lockstep:
    """Has replicates wait for each other, and trains them together.

    Args:
        trainer: of `count` replicates, reset.
        count: how many there are.

    Attributes:
        dispatches: epochs and seconds of each dispatch.
    """

    def __init__(self, trainer: ReplicatedTrainer, count: int) -> None:
        self._trainer = trainer
        self._count = count
        self._rows: dict[int, Integers] = {}
        self._seen: dict[int, tuple[Floats, Floats]] = {}
        self._weights: list[list[Floats]] | None = None
        self._active = set(range(count))
        self._turn = threading.Condition()
        self._error: BaseException | None = None
        self.dispatches: list[tuple[int, float]] = []

    def trainer(self, number: int) -> ReplicateTrainer:
        """Return the trainer that replicate `number` takes for its own."""
        return ReplicateTrainer(self, number)

    def leave(self, number: int) -> None:
        """Note that a replicate is done; the others no longer wait for it."""
        with self._turn:
            self._active.discard(number)
            self._train_if_all_wait()

    def train(self, number: int, rows: Integers) -> tuple[Floats, Floats]:
        """Train a replicate, when all others that are at it are here as well."""
        with self._turn:
            self._rows[number] = rows
            self._train_if_all_wait()
            self._turn.wait_for(lambda: number in self._seen or self._error is not None)
            if self._error is not None:
                raise self._error
            return self._seen.pop(number)

    def weights(self, number: int) -> list[Floats]:
        """Return the weights of a replicate now."""
        with self._turn:
            if self._weights is None:
                self._weights = self._trainer.weights()
            return self._weights[number]

    def execution(self) -> dict[str, Any]:
        """Return the path that the program takes."""
        return self._trainer.execution()

    def _train_if_all_wait(self) -> None:
        if not self._active or self._rows.keys() != self._active:
            return
        try:
            # All ask for the same: they keep to one cadence. Who has left trains on nothing.
            blank = np.zeros_like(next(iter(self._rows.values())))
            rows = np.stack([self._rows.get(place, blank) for place in range(self._count)])
            start = time.monotonic()
            losses, accuracies = self._trainer.train(rows)
            self.dispatches.append((rows.shape[1], time.monotonic() - start))
        except BaseException as error:
            self._error = error  # each replicate's thread raises it
            self._turn.notify_all()
            raise
        self._seen = {place: (losses[place], accuracies[place]) for place in self._rows}
        self._rows = {}
        self._weights = None
        self._turn.notify_all()


class ReplicateTrainer:
    """One replicate's trainer: see `Trainer`."""

    def __init__(self, lockstep: Lockstep, number: int) -> None:
        self._lockstep = lockstep
        self._number = number

    def reset(self, weights: list[Floats]) -> None:
        """Raise: all are reset together, before the first."""
        raise NotImplementedError("replicates are reset together")

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train in lockstep with the others."""
        return self._lockstep.train(self._number, rows)

    def first_losses(self, rows: Integers) -> Floats:
        """Train as `train` does, and return the loss of every update."""
        return self.train(rows)[0].reshape(-1)

    def weights(self) -> list[Floats]:
        """Return this replicate's weights now."""
        return self._lockstep.weights(self._number)

    def execution(self) -> dict[str, Any]:
        """Return the path that the program takes."""
        return self._lockstep.execution()
