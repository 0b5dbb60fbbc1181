"""How often does the certificate err? Simulated trials, through the suite's own certificate.

`python -m tests.probes.coverage` prints, for networks whose true error rate is at the bound or
above at every attempt, the share of trials that are certified all the same, which may be 5%; and
beside it the share under the rule of older records, 1,000 sequences at each attempt.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import ClassVar

import numpy as np

from echobench.core import target
from echobench.core.sequences import Integers, stream
from echobench.core.task import EchoTask, Recipe, Task
from echobench.trial.trial import BOUND

ATTEMPTS = (1, 10, 100, 1000)
TRIALS = 400
OLD = 1000
NETWORKS: dict[str, Callable[[int], float]] = {
    "hovers": lambda attempt: BOUND,
    "descends": lambda attempt: BOUND * (1 + 1 / attempt),
    "jumps": lambda attempt: BOUND if attempt % 10 == 0 else 0.5,
}
"""The true error rate of a network at each attempt."""


class One(EchoTask):
    """Sequences of one token: many certificates take little time."""

    name: ClassVar[str] = "one"
    recipes: ClassVar[dict[str, Recipe]] = {}
    length: int = 1
    n_in: int = 1


class Learner:
    """Right, but for one token of a sequence with the given probability."""

    def __init__(self, task: Task, error_rate: float, seed: int | list[int] = 0) -> None:
        self.task, self.error_rate = task, error_rate
        self.rng = np.random.default_rng(seed)
        self.asked = 0

    def __call__(self, rows: Integers) -> Integers:
        self.asked += len(rows)
        answers = self.task.expected(rows).copy()
        wrong = self.rng.random(len(rows)) < self.error_rate
        answers[wrong, 0, 0] = (answers[wrong, 0, 0] + 1) % 100
        return answers


def certified(
    rate: Callable[[int], float], attempts: int, seed: int, sequences: int | None = None
) -> bool:
    """Return whether a trial certifies its network in one of its attempts.

    Args:
        rate: the network's true error rate at each attempt.
        attempts: the most that the trial has.
        seed: of the trial.
        sequences: of every attempt; None for as many as `target.needed` says.
    """
    task = One()
    for number in range(1, attempts + 1):
        needed = sequences or target.needed(number, BOUND)
        learner = Learner(task, rate(number), [seed, number])
        if not target.certify(task, learner, stream(seed, "certify", number), needed).wrong_tokens:
            return True
    return False


def _share(name: str, attempts: int, sequences: int | None) -> float:
    return sum(certified(NETWORKS[name], attempts, n, sequences) for n in range(TRIALS)) / TRIALS


def main() -> None:
    """Print the table."""
    cases = [(name, attempts) for name in NETWORKS for attempts in ATTEMPTS]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        new, old = (
            [pool.submit(partial(_share, *case, sequences)) for case in cases]
            for sequences in (None, OLD)
        )
        print("network   attempts  certified wrongly  under the old rule", flush=True)
        for (name, attempts), share, before in zip(cases, new, old, strict=True):
            print(
                f"{name:8} {attempts:9,} {share.result():18.1%} {before.result():19.1%}", flush=True
            )


if __name__ == "__main__":
    main()
