"""The statistics of trials: medians with misses censored, ratios of pairs, their intervals."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echobench.analysis.resampling import CURVE_ROUNDING, Integers, design_effect, resampled

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

ERROR = 0.05
"""How seldom an interval misses the truth: each has 95%."""
TAIL = ERROR / 2
FEWEST_PAIRS = 6
"""The fewest observations, or pairs, that have an interval. Fewer are all on one side of the truth
by chance more often than once in twenty (a sign test: 2 / 2^5 = 0.06)."""
FEWEST_PROCESSES = FEWEST_PAIRS - 1
"""The fewest processes that have an interval, where some have made several trials. Where they are
of two kinds, three are all of one kind one time in four, five one time in sixteen. docs/method.md
has how often the interval holds the truth."""
MANY_PAIRS = 100
"""The fewest pairs, or processes, for which the interval of the median is taken from its order
statistics: resampling would give the same, slowly."""
RESAMPLES = 9999
ROW_RESAMPLES = 1999
"""Of the median of a row, of which a table has many: enough for the tails of five processes."""
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


def fewest_processes(contests: float = 1) -> int:
    """Return the fewest processes that can show a difference in one of so many contests.

    They are one less than the pairs that could: by how much trials of a process differ among
    themselves, the interval is wider than that of as many pairs.
    """
    return fewest(contests) - 1


def clustered(processes: Integers | None) -> bool:
    """Return whether some process has made several trials."""
    return processes is not None and len(np.unique(processes)) < len(processes)


def censored_median(
    hits: ArrayLike, censored: ArrayLike = (), processes: Integers | None = None
) -> Estimate:
    """Return the Kaplan-Meier median of times to an event, with its interval.

    `censored` has the times at which observation ended before the event; infinity where it will
    never come. `processes` numbers the process of each trial, of those with a time first.

    Where the curve is one half for a while the median is the middle of that while, so
    that without censored times it is the usual one. The ends of the interval are where the curve
    crosses the ranks of the exact interval of a median (Conover, "Practical Nonparametric
    Statistics", 1999, 3.2). A time that was censored before the median says nothing about it and
    is no observation; fewer than `FEWEST_PAIRS` others have no interval. docs/method.md has how
    often it holds the truth.

    Where a process has made several trials, processes are resampled, then trials in them
    (`resampling`), and the tails widened for as many processes; fewer than `FEWEST_PROCESSES` have
    no interval. `MANY_PAIRS` of them have ranks as far apart as their design effect says.
    """
    hits, censored = np.asarray(hits, float), np.asarray(censored, float)
    n = len(hits) + len(censored)
    if not len(hits):
        return Estimate(None, None, None, n)
    if n == 1:
        return Estimate(float(hits[0]), None, None, n)
    from scipy import stats  # slow to import, and not needed by every command

    curve, right, before = _curve(hits, censored)
    half, beyond_half = (_reaching(curve, 0.5 + by) for by in (-CURVE_ROUNDING, CURVE_ROUNDING))
    value = None if half is None or beyond_half is None else (half + beyond_half) / 2
    spoke = np.concatenate([np.ones(len(hits), bool), right >= before])
    known = int(spoke.sum())
    if known < FEWEST_PAIRS:
        return Estimate(value, None, None, n)
    rank, apart = int(stats.binom.ppf(TAIL, known, 0.5)), 1.0
    if processes is not None and clustered(processes):
        number = len(np.unique(processes[spoke]))
        if number < FEWEST_PROCESSES:
            return Estimate(value, None, None, n)
        times, ended = np.concatenate([hits, right]), np.arange(n) >= len(hits)
        if number < MANY_PAIRS:
            rng = np.random.default_rng(BOOTSTRAP_SEED)
            drawn = resampled(times, processes, ROW_RESAMPLES, rng, ended)
            return Estimate(value, *_ends(drawn, widened_tail(number)), n)
        apart = design_effect((times <= before)[spoke], processes[spoke]) ** 0.5
    shares = (0.5 + apart * (r / known - 0.5) for r in (rank, known + 1 - rank))
    low, high = (_reaching(curve, share - CURVE_ROUNDING) for share in shares)
    return Estimate(value, low, high, n)


def observed(taken: Floats, spent: Floats) -> Bools:
    """Return which trials are observations of `censored_median`: not those censored before it.

    Each has the time that it took, or at which observation ended; nan where it has none.
    """
    hit = ~np.isnan(taken)
    if not hit.any():
        return hit
    _, _, before = _curve(taken[hit], spent[~hit & ~np.isnan(spent)])
    found: Bools = hit | (spent >= before)
    return found


def _curve(hits: Floats, censored: Floats) -> tuple[Any, Floats, float]:
    """Return the Kaplan-Meier curve, its censored times, and from when on these say something."""
    from scipy import stats  # slow to import, and not needed by every command

    last = float(hits.max())
    right = np.minimum(censored, np.nextafter(last, np.inf))
    curve = stats.ecdf(stats.CensoredData(hits, right=right)).cdf
    half = _reaching(curve, 0.5 - CURVE_ROUNDING)
    return curve, right, last if half is None else half


def _reaching(curve: Any, share: float) -> float | None:
    """Return when a curve reaches a share; None if never."""
    there = np.flatnonzero(curve.probabilities >= share)
    return float(curve.quantiles[there[0]]) if len(there) else None


def _ends(drawn: Floats, tail: float) -> tuple[float | None, float | None]:
    """Return the values that cut off a share of resamples at each end; None for infinity."""
    ordered = np.sort(drawn)
    cut = int(tail * len(ordered))
    low, high = ordered[cut], ordered[-1 - cut]
    return (None if np.isinf(low) else float(low)), (None if np.isinf(high) else float(high))


def logarithms(ratios: ArrayLike) -> Floats:
    """Return the logarithms of ratios; of 0 and infinity `FAR` from 0."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.asarray(ratios, float))
    return logs.clip(-FAR, FAR)


def _exp(logarithm: Any) -> float:
    """Return the ratio of a logarithm, infinity where it is far away."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.exp(logarithm))


def ratio(
    *groups: ArrayLike, processes: Sequence[Integers | None] = (), contests: float = 1
) -> Estimate:
    """Return the median of paired ratios, 0 to infinity, with its interval.

    Args:
        groups: the ratios of pairs.
        processes: of each group the number of each pair's process, or of the processes that its
            trials share with other pairs (`resampling.linked`); none, or None, for one each.
        contests: how many intervals are to hold at once.

    Of several groups it is the geometric mean of their medians; pairs are resampled within
    each group. The interval is that of the percentile bootstrap with widened tails
    (`widened_tail`): with six pairs it contains the truth 97 times of 100, the plain one 94
    times. It is as much wider as makes all intervals of so many contests hold at once with 95%
    (Bonferroni). With too few pairs in some group (`fewest`) there is none. One group of
    `MANY_PAIRS` or more has the exact interval of a median (Conover, "Practical Nonparametric
    Statistics", 1999, 3.2).

    Where a process has made several trials, processes are resampled, then pairs in them; the tails
    are widened for as many processes, and there are `fewest_processes` at least. Of `MANY_PAIRS`
    processes the ranks are as far apart as their design effect says.
    """
    logs = [logarithms(group) for group in groups]
    pairs, fewest_of_a_group = sum(map(len, logs)), min(map(len, logs))
    if any(map(clustered, processes)):
        return _clustered_ratio(logs, processes, contests)

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


def student(logs: Floats, least: int = 2, tail: float = TAIL) -> Estimate:
    """Return the geometric mean of independent ratios, from their logarithms, and its interval.

    It is Student's, which needs logarithms that are about normal; fewer than `least` have none.
    """
    if not len(logs):
        return Estimate(None, None, None, 0)
    value, n = float(np.mean(logs)), len(logs)
    if n < least:
        return Estimate(_exp(value), None, None, n)
    from scipy import stats  # slow to import, and not needed by every command

    half = float(stats.t.isf(tail, n - 1) * np.std(logs, ddof=1) / n**0.5)
    return Estimate(_exp(value), _exp(value - half), _exp(value + half), n)


def signed_rank(logs: Floats, error: float) -> tuple[float, float] | None:
    """Return the interval of the centre of symmetric values by Wilcoxon's exact test.

    Its ends are averages of two values each (Hodges and Lehmann 1963; Hollander and Wolfe,
    "Nonparametric Statistical Methods", 1999, 3.3). None where so few can show nothing with an
    error as small.
    """
    rank = _critical_rank(len(logs), error)
    if rank is None:
        return None
    first, second = np.triu_indices(len(logs))
    averages = np.sort((logs[first] + logs[second]) / 2)
    return float(averages[rank]), float(averages[-1 - rank])


@functools.lru_cache
def _critical_rank(n: int, error: float) -> int | None:
    """Return the largest sum of ranks that, with its opposite, comes by chance at most so often."""
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, n + 1):
        shifted = np.concatenate([np.zeros(rank), counts[:-rank]])
        counts = (counts + shifted) / 2
    below = int((2 * counts.cumsum() <= error).sum())
    return below - 1 if below else None


def _clustered_ratio(
    logs: Sequence[Floats], processes: Sequence[Integers | None], contests: float
) -> Estimate:
    """Return the estimate of `ratio` where processes have made several trials."""
    own = [
        np.arange(len(group)) if of is None else of
        for group, of in zip(logs, processes, strict=True)
    ]
    value = _exp(np.mean([np.median(group) for group in logs]))
    pairs, number = sum(map(len, logs)), min(len(np.unique(of)) for of in own)
    if min(map(len, logs)) < fewest(contests) or number < fewest_processes(contests):
        return Estimate(value, None, None, pairs)
    if len(logs) == 1 and number >= MANY_PAIRS:
        from scipy import stats  # slow to import, and not needed by every command

        apart = design_effect(logs[0] <= np.median(logs[0]), own[0]) ** 0.5
        half = apart * (pairs / 2 - int(stats.binom.ppf(TAIL / contests, pairs, 0.5)) + 1)
        first = max(0, int(np.floor(pairs / 2 - half)))
        ends = np.sort(logs[0])[[first, pairs - 1 - first]]
        return Estimate(value, _exp(ends[0]), _exp(ends[1]), pairs)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = np.mean(
        [resampled(group, of, RESAMPLES, rng) for group, of in zip(logs, own, strict=True)], axis=0
    )
    ends = np.quantile(drawn, (tail := widened_tail(number, TAIL / contests), 1 - tail))
    return Estimate(value, _exp(ends[0]), _exp(ends[1]), pairs)


def widened_tail(n: int, tail: float = TAIL) -> float:
    """Return the share of resamples to cut at each end, for `n` observations.

    It is less than `tail`, because the bootstrap of a small sample is too narrow (Hesterberg,
    "What Teachers Should Know about the Bootstrap", 2015).
    """
    from scipy import stats  # slow to import, and not needed by every command

    return float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1)))
