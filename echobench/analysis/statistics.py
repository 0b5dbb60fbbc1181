"""The statistics of trials: medians with censored misses, paired ratios, agreement."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
FEWEST_PAIRS = 6
"""Pairs from which on a ratio has an interval. Fewer, all on one side, still come by
chance more often than once in twenty (a sign test: 2 / 2^5 = 0.06)."""
MANY_PAIRS = 100
"""Pairs from which on the interval of a median is that of its order statistics: resampling
would say the same, slowly."""
RESAMPLES = 9999
BOOTSTRAP_SEED = 0


class Estimate(NamedTuple):
    """A value and its interval; None where the data do not bound it.

    Attributes:
        value: the estimate.
        low, high: ends of the 95% interval.
        n: observations, or pairs, that it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def excludes(self, value: float) -> bool:
        """Whether the interval is there and does not hold `value`."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


def censored_median(hits: ArrayLike, censored: ArrayLike) -> Estimate:
    """Return the Kaplan-Meier median of times to an event, with an interval.

    The interval is the one of Brookmeyer and Crowley (1982): where the confidence
    band of the survival curve (log-log) crosses one half.

    Args:
        hits: times at which it came.
        censored: times until which it had not come when the watch ended.
    """
    hits, censored = np.asarray(hits, float), np.asarray(censored, float)
    n = len(hits) + len(censored)
    if not len(hits):
        return Estimate(None, None, None, n)
    if n == 1:
        return Estimate(float(hits[0]), None, None, n)
    from scipy import stats  # heavy, and not every command's

    curve = stats.ecdf(stats.CensoredData(hits, right=censored)).sf
    with warnings.catch_warnings():
        # Where nobody has reached the target yet, or everybody has, there is no band.
        warnings.filterwarnings("ignore", "The confidence interval is undefined")
        band = curve.confidence_interval(CONFIDENCE, method="log-log")
    # The stubs take the band's curves for numbers.
    low = _crossing(curve.quantiles, band.low.probabilities)  # type: ignore[attr-defined]
    high = _crossing(curve.quantiles, band.high.probabilities)  # type: ignore[attr-defined]
    return Estimate(_crossing(curve.quantiles, curve.probabilities), low, high, n)


def _crossing(times: Any, probabilities: Any) -> float | None:
    """Return the first time at which survival is one half or less; None if never."""
    below = np.flatnonzero(np.nan_to_num(probabilities, nan=1.0) <= 0.5)
    return float(times[below[0]]) if len(below) else None


def ratio(*groups: ArrayLike) -> Estimate:
    """Return the median of paired ratios with a bootstrap interval.

    Of several groups, one a task, the geometric mean of their medians; pairs are
    resampled within each group. The interval is the percentile bootstrap's, its tails
    widened (`widened_tail`): the plain one of six pairs holds the truth 94 times of 100,
    and this one 97 times. Below `FEWEST_PAIRS` in some group there is none.

    One group of `MANY_PAIRS` or more has the exact interval of a median (Conover,
    "Practical Nonparametric Statistics", 1999, 3.2).

    Args:
        groups: ratios of pairs, larger than 0.
    """
    logs = [np.log(np.asarray(group, float)) for group in groups]
    fewest = min(map(len, logs))

    def centre(*samples: Any, axis: int = -1) -> Any:
        return np.mean([np.median(sample, axis=axis) for sample in samples], axis=0)

    value = float(np.exp(centre(*logs)))
    if fewest < FEWEST_PAIRS:
        return Estimate(value, None, None, fewest)
    from scipy import stats  # heavy, and not every command's

    if len(logs) == 1 and fewest >= MANY_PAIRS:
        beyond = int(stats.binom.ppf(TAIL, fewest, 0.5))
        ends = np.exp(np.sort(logs[0])[[beyond - 1, fewest - beyond]])
        return Estimate(value, float(ends[0]), float(ends[1]), fewest)
    found = stats.bootstrap(
        logs,
        centre,
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * widened_tail(fewest),
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return Estimate(value, float(np.exp(found.low)), float(np.exp(found.high)), fewest)


def widened_tail(n: int) -> float:
    """Return the share of resamples to cut at each end, for `n` observations.

    Fewer than `TAIL` of them, since a bootstrap of few is too narrow (Hesterberg, "What
    Teachers Should Know about the Bootstrap", 2015).
    """
    from scipy import stats  # heavy, and not every command's

    return float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(TAIL, n - 1)))


class Pairs(NamedTuple):
    """Paired ratios B / A.

    Attributes:
        values: the ratios, of the pairs that say something.
        bounded: how many of them are bounds, since one of the pair missed.
        silent: pairs that say nothing.
    """

    values: Floats
    bounded: int
    silent: int


def paired(a: ArrayLike, b: ArrayLike, spent_a: ArrayLike, spent_b: ArrayLike) -> Pairs:
    """Return the ratios B / A of pairs.

    Where one of a pair missed, its side is worse than what it had spent: the ratio is a bound.
    One that missed having spent less than the other took is a bound that says nothing; nor
    does a pair with a zero.

    Args:
        a: what was measured on the one side, pair by pair; nan where it missed.
        b: the same on the other side.
        spent_a: what a trial of the one side that missed had spent; nan where that bounds nothing.
        spent_b: the same on the other side.
    """
    a, b, spent_a, spent_b = (np.asarray(side, float) for side in (a, b, spent_a, spent_b))
    missed_a, missed_b = np.isnan(a), np.isnan(b)
    low, high = np.where(missed_a, spent_a, a), np.where(missed_b, spent_b, b)
    early = (missed_a & (high > low)) | (~missed_a & missed_b & (high < low))
    says = (low > 0) & (high > 0) & ~(missed_a & missed_b) & ~early
    bounded = int((says & (missed_a | missed_b)).sum())
    return Pairs(high[says] / low[says], bounded, int((~says).sum()))


def disagreement(groups: Sequence[tuple[ArrayLike, ArrayLike]]) -> float | None:
    """Return how likely groups differ as much as these by chance: a p-value.

    Log-rank tests of all pairs of groups, the smallest p-value multiplied by the number
    of tests (Bonferroni). None where there are no two groups with events.

    Args:
        groups: of each group the times of events, and the censored ones.
    """
    told = [(hits, censored) for hits, censored in groups if np.size(hits)]
    if len(told) < 2:
        return None
    from scipy import stats  # heavy, and not every command's

    samples: list[Any] = [
        stats.CensoredData(np.asarray(hits, float), right=np.asarray(censored, float))
        for hits, censored in told
    ]
    pairs = list(itertools.combinations(samples, 2))
    with np.errstate(invalid="ignore"):  # groups of one same time have no variance: nan
        values = [float(stats.logrank(a, b).pvalue) for a, b in pairs]
    smallest = min(1.0 if np.isnan(value) else value for value in values)
    return min(1.0, smallest * len(values))
