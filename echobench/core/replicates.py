"""Many seeds of one cell in one program, each trained as if it were alone.

Every replicate runs the same loop as a single trial (`training.train`), in a thread of
its own. Where that loop trains, it waits until all unfinished replicates wait too; then
one program trains them all, side by side.
"""

from __future__ import annotations

import threading
import time

import numpy as np

from echobench.core.backend import ReplicatedTrainer
from echobench.core.sequences import Floats, Integers


class Lockstep:
    """Makes replicates wait for each other, and trains them together.

    The trainer, of `count` replicates, has been reset.

    Attributes:
        dispatches: epochs and seconds of each call of the trainer.
    """

    def __init__(self, trainer: ReplicatedTrainer, count: int) -> None:
        self._trainer = trainer
        self._count = count
        self._rows: dict[int, Integers] = {}
        self._results: dict[int, tuple[Floats, Floats]] = {}
        self._weights: list[list[Floats]] | None = None
        self._active = set(range(count))
        self._turn = threading.Condition()
        self._error: BaseException | None = None
        self.dispatches: list[tuple[int, float]] = []

    def leave(self, number: int) -> None:
        """Mark a replicate as finished; the others no longer wait for it."""
        with self._turn:
            self._active.discard(number)
            self._train_if_all_wait()

    def train(self, number: int, rows: Integers) -> tuple[Floats, Floats]:
        """Train a replicate as soon as all unfinished replicates have called this."""
        with self._turn:
            self._rows[number] = rows
            self._train_if_all_wait()
            self._turn.wait_for(lambda: number in self._results or self._error is not None)
            if self._error is not None:
                raise self._error
            return self._results.pop(number)

    def weights(self, number: int) -> list[Floats]:
        """Return the current weights of a replicate."""
        with self._turn:
            if self._weights is None:
                self._weights = self._trainer.weights()
            return self._weights[number]

    def _train_if_all_wait(self) -> None:
        if not self._active or self._rows.keys() != self._active:
            return
        try:
            # All bring as many rows, having one cadence. A finished replicate trains on zeros.
            blank = np.zeros_like(next(iter(self._rows.values())))
            rows = np.stack([self._rows.get(number, blank) for number in range(self._count)])
            start = time.monotonic()
            losses, accuracies = self._trainer.train(rows)
            self.dispatches.append((rows.shape[1], time.monotonic() - start))
        except BaseException as error:
            self._error = error  # raised again in each replicate's thread
            self._turn.notify_all()
            raise
        self._results = {number: (losses[number], accuracies[number]) for number in self._rows}
        self._rows = {}
        self._weights = None
        self._turn.notify_all()


class ReplicateTrainer:
    """The trainer of replicate `number`, from 0; all replicates are reset together."""

    def __init__(self, lockstep: Lockstep, number: int) -> None:
        self._lockstep = lockstep
        self._number = number

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train together with the others; see `Trainer.train`."""
        return self._lockstep.train(self._number, rows)

    def weights(self) -> list[Floats]:
        """Return this replicate's current weights."""
        return self._lockstep.weights(self._number)
