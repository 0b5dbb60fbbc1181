"""How many further seeds, over how many processes, make an interval: as a run would deal them.

Trials that are done stay in their processes. So further ones are added as the command would train
them, and paired as the table pairs all others, until the pairs are enough.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from echobench.analysis.pairs import (
    Outcome,
    Outcomes,
    outcomes,
    paired,
)
from echobench.analysis.places import Turn, is_once, shares_processes, turns
from echobench.analysis.statistics import observed
from echobench.analysis.table import Row
from echobench.harness.sharing import Dealing


class Further(NamedTuple):
    """What a command asks for: so many seeds in all, over so many processes.

    Attributes:
        forks: None for the usual number.
        new: how many of the seeds are not recorded yet in some row.
    """

    seeds: int
    forks: int | None
    new: int


class _Side(NamedTuple):
    """A row's trials: what is known of them, which seeds are recorded, and what further ones add.

    Attributes:
        apart: whether first trials take other times than later ones.
        once: whether the first trial of a process alone has the metric.
    """

    known: Outcomes
    recorded: set[int]
    machine: str
    apart: bool
    once: bool

    @classmethod
    def of(cls, row: Row, known: Outcomes, metric: str, clock: str) -> _Side:
        apart = any(turn.apart for turn in turns(row.trials, metric, clock))
        recorded = {*row.trials.seed[row.trials.again == ""].tolist()}
        return cls(known, recorded, row.place["machine"], apart, is_once(metric, clock))

    def with_further(self, seeds: int, forks: int | None) -> Outcomes:
        """Return the outcomes with those of further seeds, if all take the usual time."""
        deal, before = Dealing.of(0, seeds, forks), Counter[int]()
        times = [one.taken for one in self.known.values() if one.taken > 0]
        usual = Outcome(float(np.median(times)) if times else 1.0, np.nan)
        found = dict(self.known)
        for seed in range(seeds):
            if seed not in self.recorded:
                process = deal.of_seed(seed)
                if not (self.once and before[process]):
                    found[self.machine, "", seed] = usual._replace(
                        process=f"new {process}", turn=Turn(before[process], self.apart)
                    )
                before[process] += 1
        return found


def further(rows: Sequence[Row], metric: str, clock: str) -> Further:
    """Return the fewest seeds that make an interval: of two rows' ratio, or of one row's median.

    Where processes are shared, further seeds have a process each; two, where first trials are set
    apart.
    """
    trials = [row.trials for row in rows]
    if len(rows) == 1:
        there = outcomes(trials[0][trials[0].counts], metric, clock)
        alike = {key: one for key, one in there.items() if one.turn.compares(one.turn)}
        taken, spent = (np.array([one[n] for one in alike.values()], float) for n in (0, 1))
        says = itertools.compress(alike.items(), observed(taken, spent))
        known = [{key: one._replace(taken=1.0) for key, one in says}]
    else:
        known = [outcomes(flat, metric, clock) for flat in trials]
    sides = [_Side.of(*each, metric, clock) for each in zip(rows, known, strict=True)]
    each = 2 if any(side.apart for side in sides) else 1
    shared = any(map(shares_processes, trials))

    def missing(seed: int) -> bool:
        return any(seed not in side.recorded for side in sides)

    def enough(seeds: int, forks: int | None) -> bool:
        all_of = [side.with_further(seeds, forks) for side in sides]
        return paired(all_of[0], all_of[-1]).are_enough

    def dealings(seeds: int) -> tuple[int | None, ...]:
        return (seeds // each,) if shared else (None, seeds)

    def are_enough(seeds: int) -> bool:
        return any(enough(seeds, forks) for forks in dealings(seeds))

    adding = (n for n in itertools.count(each, each) if any(map(missing, range(n - each, n))))
    asked = [next(adding)]
    while not are_enough(asked[-1]):  # beyond what is recorded, each process adds a pair
        asked += itertools.islice(adding, len(asked))
    seeds = asked[bisect_left(asked, True, key=are_enough)]
    forks = next(forks for forks in dealings(seeds) if enough(seeds, forks))
    return Further(seeds, forks, sum(map(missing, range(seeds))))
