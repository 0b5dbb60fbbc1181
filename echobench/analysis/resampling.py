"""Resample processes, then trials in them: what trials of one process share, they share by chance.

Trials that one process makes in turn have its memory layout, its compiled program and its moment in
common, so that they differ less from each other than from those of the next process. A bootstrap
that drew trials one by one would take them for independent, and be too sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

MOST_WEIGHTS = 4_000_000
"""Weights of resampled trials that are held at a time."""
CURVE_ROUNDING = 1e-9
"""Rounding of a Kaplan-Meier curve is far less than this, and a step of it far more."""


def numbered(processes: Iterable[str]) -> Integers:
    """Return the number of each trial's process; one without a name has a trial to itself."""
    numbers: dict[object, int] = {}
    keys = ((name,) if name else place for place, name in enumerate(processes))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def linked(*sides: Sequence[str]) -> Integers:
    """Return the number of each pair's cluster, from the processes of its trials.

    Args:
        sides: of each side the process of the trial in every pair; empty for one of its own.

    Pairs depend on each other if they share a process, on whichever side, or are linked by pairs
    that do. Where all sides deal the seeds alike, a cluster is the pairs of one process of each.
    """
    whole = numbered(sides[0])
    for side in sides[1:]:
        other = numbered(side)
        while True:  # each round hands the smallest number of a process to all its pairs
            before = whole
            for numbers in (other, whole):
                least = np.full(len(numbers), len(numbers), np.int64)
                np.minimum.at(least, numbers, whole)
                whole = least[numbers]
            if np.array_equal(before, whole):
                break
    return np.unique(whole, return_inverse=True)[1].astype(np.int64)


def weights(processes: Integers, draws: int, rng: np.random.Generator) -> Floats:
    """Return how often each trial is drawn, [draws, trials].

    A draw takes as many processes as there are, each time any of them; of each it takes as many
    trials as that has, each time any of these. So a process that lost trials counts for as many as
    it kept.
    """
    numbers, sizes = np.unique(processes, return_counts=True)
    order = np.argsort(processes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    drawn = rng.integers(len(numbers), size=(draws, len(numbers)))
    found = np.zeros((draws, len(processes)))
    rows = np.arange(draws)[:, None]
    if sizes.max() == 1:
        np.add.at(found, (rows, order[drawn]), 1.0)
        return found
    for place in range(int(sizes.max())):
        trial = order[starts[drawn] + rng.integers(sizes[drawn])]
        np.add.at(found, (rows, trial), (place < sizes[drawn]).astype(float))
    return found


def medians(values: ArrayLike, drawn: Floats, censored: ArrayLike | None = None) -> Floats:
    """Return the Kaplan-Meier median of each draw, [draws]; infinity where it is not reached.

    Args:
        values: times, [trials]; nan for a trial that has none.
        drawn: how often each trial was drawn, [draws, trials].
        censored: of which trials the time is that at which observation ended.

    Without censored times it is the usual median. A draw without a time has nan.
    """
    values = np.asarray(values, float)
    ended = np.zeros(len(values), bool) if censored is None else np.asarray(censored, bool)
    there = ~np.isnan(values)
    order = np.flatnonzero(there)[np.lexsort((ended[there], values[there]))]
    times, counts, hit = values[order], drawn[:, order], ~ended[order]
    total = counts.sum(axis=1, keepdims=True)
    left = total - counts.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        stays = np.where(hit & (counts > 0), left / (left + counts), 1.0)
    curve = 1 - stays.cumprod(axis=1)
    ends = np.stack([_reaching(curve, times, 0.5 + by) for by in (-CURVE_ROUNDING, CURVE_ROUNDING)])
    with np.errstate(invalid="ignore"):
        middle: Floats = ends.mean(axis=0)
    middle[ends[0] == ends[1]] = ends[0][ends[0] == ends[1]]  # two infinities of one sign, exactly
    middle[total[:, 0] == 0] = np.nan
    return middle


def _reaching(curve: Floats, times: Floats, share: float) -> Floats:
    """Return the time at which each curve reaches a share; infinity if it never does."""
    there = curve >= share
    first = np.argmax(there, axis=1) if curve.shape[1] else np.zeros(len(curve), np.int64)
    reached = there.any(axis=1)
    return np.where(reached, times[first] if len(times) else np.inf, np.inf)


def resampled(
    values: ArrayLike,
    processes: Integers,
    draws: int,
    rng: np.random.Generator,
    censored: ArrayLike | None = None,
) -> Floats:
    """Return the median of each of so many draws of processes, then of trials in them."""
    step = max(1, MOST_WEIGHTS // max(1, len(processes)))
    return np.concatenate(
        [
            medians(values, weights(processes, min(step, draws - done), rng), censored)
            for done in range(0, draws, step)
        ]
    )


def design_effect(below: ArrayLike, processes: Integers) -> float:
    """Return how many times the variance of a share is that of independent trials; 1 at least.

    Args:
        below: whether each trial is counted, [trials].
        processes: the number of each trial's process.

    The estimate is that of clusters of unequal sizes (Kish, "Survey Sampling", 1965).
    """
    counted = np.asarray(below, float)
    share = counted.mean()
    if not 0 < share < 1:
        return 1.0
    sums = np.bincount(processes, counted - share)
    sums = sums[np.bincount(processes) > 0]
    number, n = len(sums), len(counted)
    variance = number / (number - 1) * float((sums**2).sum()) / n**2 if number > 1 else np.inf
    return max(1.0, float(variance / (share * (1 - share) / n)))
