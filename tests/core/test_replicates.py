"""Replicates in lockstep: each trains as if alone, whoever ends first, whatever fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from echobench.core.replicates import Lockstep, ReplicateTrainer
from echobench.core.sequences import Integers


class Summing:
    """Adds up the rows of each replicate: its loss is the sum so far."""

    def __init__(self, count: int) -> None:
        self.sums = np.zeros(count)
        self.calls = 0

    def reset(self, weights: Any) -> None: ...

    def train(self, rows: Integers) -> tuple[Any, Any]:
        self.calls += 1
        if self.calls == 7:
            raise ZeroDivisionError("no more")
        self.sums += rows.sum(axis=(1, 2, 3))
        losses = np.repeat(self.sums[:, None, None], rows.shape[1], axis=1)
        return losses, losses

    def weights(self) -> list[list[Any]]:
        return [[np.array(total)] for total in self.sums]

    def execution(self) -> dict[str, Any]:
        return {}


def run(lockstep: Lockstep, rounds: list[int]) -> list[list[float]]:
    def one(place: int) -> list[float]:
        seen = []
        try:
            for _ in range(rounds[place]):
                rows = np.full((2, 1, 3), place + 1)
                losses, _ = ReplicateTrainer(lockstep, place).train(rows)
                assert float(ReplicateTrainer(lockstep, place).weights()[0]) == losses[-1, 0]
                seen.append(float(losses[-1, 0]))
        finally:
            lockstep.leave(place)
        return seen

    with ThreadPoolExecutor(len(rounds)) as pool:
        return list(pool.map(one, range(len(rounds))))


def test_each_gets_its_own_and_who_leaves_is_not_waited_for() -> None:
    trainer = Summing(4)
    found = run(Lockstep(trainer, 4), [5, 1, 3, 5])
    assert trainer.calls == 5  # all that wait are trained at once
    assert found == [[6.0 * (place + 1) * (n + 1) for n in range(rounds)]
                     for place, rounds in enumerate([5, 1, 3, 5])]  # fmt: skip # as a table


def test_what_fails_fails_for_all_and_nobody_waits_forever() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        run(Lockstep(Summing(3), 3), [9, 9, 9])
    assert threading.active_count() <= before
