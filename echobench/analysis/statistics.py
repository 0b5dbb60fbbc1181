"""The statistics of trials: medians with misses censored, ratios of pairs, their intervals."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

ERROR = 0.05
"""How seldom an interval misses the truth: each has 95%."""
TAIL = ERROR / 2
FEWEST_PAIRS = 6
"""The fewest observations, or pairs, that have an interval. Fewer are all on one side of the truth
by chance more often than once in twenty (a sign test: 2 / 2^5 = 0.06)."""
MANY_PAIRS = 100
"""The fewest pairs for which the interval of the median is taken from its order statistics:
resampling would give the same, slowly."""
RESAMPLES = 9999
BOOTSTRAP_SEED = 0
FAR = 1e6
"""Logarithm that stands for that of infinity: a mean of it and of its opposite is 0."""
ROUNDING = 1e-12
"""An end of an interval that is this close to 1 is 1, so that swapping two cells, which rounds
differently, swaps their verdict and changes nothing else."""


class Estimate(NamedTuple):
    """A value and its 95% interval, from `n` observations or pairs; None where undetermined."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def inverse(self) -> Estimate:
        """Return the estimate of 1 over the value."""
        value, low, high = (
            end if end is None else 1 / end if end else np.inf
            for end in (self.value, self.high, self.low)
        )
        return Estimate(value, low, high, self.n)

    @property
    def interval(self) -> str:
        """Return the interval of a ratio as printed; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"[{times(self.low)}, {times(self.high)}]"


def times(ratio: float) -> str:
    """Return a ratio as printed: with three digits, more where it would look like 1, and is not."""
    if 999.5 <= ratio < np.inf:
        return f"{ratio:,.0f}"
    same = abs(ratio - 1) <= ROUNDING
    texts = (f"{ratio:.{digits}g}" for digits in range(3, 17))
    return next(text for text in texts if same or float(text) != 1)


def fewest(contests: float = 1) -> int:
    """Return the fewest pairs that can show a difference in one of so many contests.

    All of them on one side come by chance 2 / 2^n of the time, and each contest may err
    `ERROR` / contests.
    """
    return 1 + int(np.ceil(np.log2(contests / ERROR) - 1e-9))


def censored_median(hits: ArrayLike, censored: ArrayLike = ()) -> Estimate:
    """Return the Kaplan-Meier median of times to an event, with its interval.

    `censored` has the times at which observation ended before the event; infinity where it will
    never come. Where the curve is one half for a while the median is the middle of that while, so
    that without censored times it is the usual one. The ends of the interval are where the curve
    crosses the ranks of the exact interval of a median (Conover, "Practical Nonparametric
    Statistics", 1999, 3.2). A time that was censored before the median says nothing about it and
    is no observation; fewer than `FEWEST_PAIRS` others have no interval. docs/method.md has how
    often it holds the truth.
    """
    hits, censored = np.asarray(hits, float), np.asarray(censored, float)
    n = len(hits) + len(censored)
    if not len(hits):
        return Estimate(None, None, None, n)
    if n == 1:
        return Estimate(float(hits[0]), None, None, n)
    from scipy import stats  # slow to import, and not needed by every command

    last = float(hits.max())
    right = np.minimum(censored, np.nextafter(last, np.inf))
    curve = stats.ecdf(stats.CensoredData(hits, right=right)).cdf

    def reaching(share: float) -> float | None:
        """Return when the curve reaches a share; None if never."""
        there = np.flatnonzero(curve.probabilities >= share)
        return float(curve.quantiles[there[0]]) if len(there) else None

    # Rounding of the curve is far less than this, and a step of it far more.
    half, beyond_half = reaching(0.5 - 1e-9), reaching(0.5 + 1e-9)
    value = None if half is None or beyond_half is None else (half + beyond_half) / 2
    known = n - int((right < (last if half is None else half)).sum())
    if known < FEWEST_PAIRS:
        return Estimate(value, None, None, n)
    rank = int(stats.binom.ppf(TAIL, known, 0.5))
    low, high = (reaching(r / known - 1e-9) for r in (rank, known + 1 - rank))
    return Estimate(value, low, high, n)


def logarithms(ratios: ArrayLike) -> Floats:
    """Return the logarithms of ratios; of 0 and infinity `FAR` from 0."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.asarray(ratios, float))
    return logs.clip(-FAR, FAR)


def _exp(logarithm: Any) -> float:
    """Return the ratio of a logarithm, infinity where it is far away."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.exp(logarithm))


def ratio(*groups: ArrayLike, contests: float = 1) -> Estimate:
    """Return the median of paired ratios, 0 to infinity, with its interval.

    Of several groups it is the geometric mean of their medians; pairs are resampled within
    each group. The interval is that of the percentile bootstrap with widened tails
    (`widened_tail`): with six pairs it contains the truth 97 times of 100, the plain one 94
    times. It is as much wider as makes all intervals of so many contests hold at once with 95%
    (Bonferroni). With too few pairs in some group (`fewest`) there is none. One group of
    `MANY_PAIRS` or more has the exact interval of a median (Conover, "Practical Nonparametric
    Statistics", 1999, 3.2).
    """
    logs = [logarithms(group) for group in groups]
    pairs, fewest_of_a_group = sum(map(len, logs)), min(map(len, logs))

    def centre(*samples: Any, axis: int = -1) -> Any:
        return np.mean([np.median(sample, axis=axis) for sample in samples], axis=0)

    value = _exp(centre(*logs))
    if fewest_of_a_group < fewest(contests):
        return Estimate(value, None, None, pairs)
    from scipy import stats  # slow to import, and not needed by every command

    if len(logs) == 1 and pairs >= MANY_PAIRS:
        rank = int(stats.binom.ppf(TAIL / contests, pairs, 0.5))
        ends = np.sort(logs[0])[[rank - 1, pairs - rank]]
        return Estimate(value, _exp(ends[0]), _exp(ends[1]), pairs)
    found = stats.bootstrap(
        logs,
        centre,
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * widened_tail(fewest_of_a_group, TAIL / contests),
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return Estimate(value, _exp(found.low), _exp(found.high), pairs)


def widened_tail(n: int, tail: float = TAIL) -> float:
    """Return the share of resamples to cut at each end, for `n` observations.

    It is less than `tail`, because the bootstrap of a small sample is too narrow (Hesterberg,
    "What Teachers Should Know about the Bootstrap", 2015).
    """
    from scipy import stats  # slow to import, and not needed by every command

    return float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1)))
