"""The statistics of trials: medians with misses censored, ratios of pairs, agreement."""

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
"""The fewest pairs whose ratio has an interval. Fewer are all on one side by chance more often
than once in twenty (a sign test: 2 / 2^5 = 0.06)."""
MANY_PAIRS = 100
"""The fewest pairs for which the interval of the median is taken from its order statistics:
resampling would give the same, slowly."""
RESAMPLES = 9999
BOOTSTRAP_SEED = 0


class Estimate(NamedTuple):
    """A value and its 95% interval, from `n` observations or pairs; None where undetermined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def censored_median(hits: ArrayLike, censored: ArrayLike) -> Estimate:
    """Return the Kaplan-Meier median of times to an event, with its interval.

    The interval is that of Brookmeyer and Crowley (1982): where the confidence
    band of the survival curve (log-log) crosses one half. `censored` has the times at which
    observation ended before the event.
    """
    hits, censored = np.asarray(hits, float), np.asarray(censored, float)
    n = len(hits) + len(censored)
    if not len(hits):
        return Estimate(None, None, None, n)
    if n == 1:
        return Estimate(float(hits[0]), None, None, n)
    from scipy import stats  # slow to import, and not needed by every command

    curve = stats.ecdf(stats.CensoredData(hits, right=censored)).sf
    with warnings.catch_warnings():
        # Before the first event and after the last there is no band.
        warnings.filterwarnings("ignore", "The confidence interval is undefined")
        band = curve.confidence_interval(CONFIDENCE, method="log-log")
    # The stubs take the band's curves for numbers.
    low = _crossing(curve.quantiles, band.low.probabilities)  # type: ignore[attr-defined]
    high = _crossing(curve.quantiles, band.high.probabilities)  # type: ignore[attr-defined]
    return Estimate(_crossing(curve.quantiles, curve.probabilities), low, high, n)


def _crossing(times: Any, probabilities: Any) -> float | None:
    """Return the first time at which the survival is one half or less; None if never."""
    below = np.flatnonzero(np.nan_to_num(probabilities, nan=1.0) <= 0.5)
    return float(times[below[0]]) if len(below) else None


def ratio(*groups: ArrayLike) -> Estimate:
    """Return the median of paired ratios, which are larger than 0, with its interval.

    Of several groups it is the geometric mean of their medians; pairs are resampled within
    each group. The interval is that of the percentile bootstrap with widened tails
    (`widened_tail`): with six pairs it contains the truth 97 times of 100, the plain one 94
    times. With fewer than `FEWEST_PAIRS` in some group there is none. One group of
    `MANY_PAIRS` or more has the exact interval of a median (Conover, "Practical Nonparametric
    Statistics", 1999, 3.2).
    """
    logs = [np.log(np.asarray(group, float)) for group in groups]
    fewest = min(map(len, logs))

    def centre(*samples: Any, axis: int = -1) -> Any:
        return np.mean([np.median(sample, axis=axis) for sample in samples], axis=0)

    value = float(np.exp(centre(*logs)))
    if fewest < FEWEST_PAIRS:
        return Estimate(value, None, None, fewest)
    from scipy import stats  # slow to import, and not needed by every command

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

    It is less than `TAIL`, because the bootstrap of a small sample is too narrow (Hesterberg,
    "What Teachers Should Know about the Bootstrap", 2015).
    """
    from scipy import stats  # slow to import, and not needed by every command

    return float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(TAIL, n - 1)))


def disagreement(groups: Sequence[tuple[ArrayLike, ArrayLike]]) -> float | None:
    """Return the p-value of the hypothesis that all groups have one distribution of times.

    It is the smallest of the log-rank tests of all pairs of groups, multiplied by their
    number (Bonferroni). None where fewer than two groups have events. A group has the times of
    events, and the censored times.
    """
    groups = [(hits, censored) for hits, censored in groups if np.size(hits)]
    if len(groups) < 2:
        return None
    from scipy import stats  # slow to import, and not needed by every command

    samples: list[Any] = [
        stats.CensoredData(np.asarray(hits, float), right=np.asarray(censored, float))
        for hits, censored in groups
    ]
    pairs = list(itertools.combinations(samples, 2))
    with np.errstate(invalid="ignore"):  # nan where all times of two groups are equal
        values = [float(stats.logrank(a, b).pvalue) for a, b in pairs]
    smallest = min(1.0 if np.isnan(value) else value for value in values)
    return min(1.0, smallest * len(values))
