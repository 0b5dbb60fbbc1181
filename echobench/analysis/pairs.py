"""Which of two cells is faster: the one module that decides it, from pairs of their trials.

Two trials are a pair if they ran on the same class of machine with the same seed and repeat.
Each pair gives a ratio, second cell over first: below 1 the second is faster. A trial that
missed the target counts as what it had spent by then, a lower bound of what it would have taken;
one that can never arrive, since its loss stopped being finite or it crashed, as infinity.

The verdict is that of the interval of the median ratio: a cell is faster if the interval
excludes 1. `echobench compare`, the sentences below the table, the page, the leaderboard and
`--seeds auto` put this verdict into words, each in its own way.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from echobench.analysis.statistics import (
    ERROR,
    ROUNDING,
    Estimate,
    Floats,
    fewest,
    logarithms,
    ratio,
    times,
)

TIME_TO_TARGET, SECONDS_PER_UPDATE = "time_to_target_s", "seconds_per_update"
METRICS = (TIME_TO_TARGET, "updates_to_target", SECONDS_PER_UPDATE, "compile_s", "wall_s")
"""Fields of a record that can be compared; in each, less is better."""
SPENT = {"updates_to_target": "updates", "epochs_to_target": "epochs"}
"""What a trial that missed had spent, by what it would have taken."""
CLOCKS = ("train", "compile", "wall")
"""What counts into the time to target: see `on_clock`."""
RIVALS = ("backend", "engine", "versions", "backend_source", "execution")
"""Fields of a cell in which the cells of one contest may differ; all others are its conditions."""
RUN = ("machine", "again", "seed")
"""Columns of the frame in which two trials of a pair are equal, and by which pairs are sorted."""
MARGIN = 0.05
"""Differences smaller than this are taken for noise."""
LOOKS = 5
"""How often `--seeds auto` looks at the data, at most."""
EACH = "each is a 95% interval, not corrected for their number"
"""What is said where several verdicts stand together."""
NOT_SHOWN = f"not shown: too few pairs of trials for an interval, which takes {fewest()}"
"""What is said below a table in which some verdict has no interval."""
GROWTH = 1.5
"""How many times as many seeds each look has as the one before."""


class Pairs(NamedTuple):
    """Ratios of the pairs of two cells, second over first.

    Attributes:
        ratios: of the pairs that say something, in the order of `RUN`.
        bounded: how many of these are bounds, because one trial of the pair missed.
        silent: how many pairs say nothing: both trials missed, one failed, or one missed
            having spent less than the other took.
    """

    ratios: Floats
    bounded: int = 0
    silent: int = 0


class Decision(enum.StrEnum):
    """What the pairs of two cells show."""

    FIRST = "the first is faster"
    SECOND = "the second is faster"
    ALIKE = "within the margin"
    OPEN = "no difference shown"
    FEW = "too few pairs"


class Verdict(NamedTuple):
    """Which of two cells is faster: the median ratio, second over first, with its interval.

    Attributes:
        ratio: the median ratio, and of how many pairs it is.
        bounded, silent: as those of `Pairs`.
        is_bound: whether the median ratio is a bound itself: the difference is at least that.
    """

    ratio: Estimate
    bounded: int = 0
    silent: int = 0
    is_bound: bool = False

    @property
    def decision(self) -> Decision:
        """Return what is shown: a winner only where the interval excludes 1."""
        low, high = self.ratio.low, self.ratio.high
        if low is None or high is None:
            return Decision.FEW
        if low > 1 + ROUNDING:
            return Decision.FIRST
        if high < 1 - ROUNDING:
            return Decision.SECOND
        return Decision.ALIKE if self.within_margin else Decision.OPEN

    @property
    def has_winner(self) -> bool:
        """Return whether one of the two is shown to be faster."""
        return self.decision in (Decision.FIRST, Decision.SECOND)

    @property
    def within_margin(self) -> bool:
        """Return whether the two surely differ by less than `MARGIN`, with a winner or without.

        Pairs with a miss bound the difference from below only, and show nothing of the kind.
        """
        low, high = self.ratio.low, self.ratio.high
        known = low is not None and high is not None and not self.bounded
        return known and _within_margin(low or 0.0, high or 0.0)

    @property
    def advantage(self) -> Estimate:
        """Return how many times faster the better of the two is: the ratio, or its inverse."""
        value = self.ratio.value
        return self.ratio if value is None or value >= 1 else self.ratio.inverse

    @property
    def times(self) -> str:
        """Return in words how many times faster the better of the two is: `at least 1.42x`."""
        value = self.advantage.value
        if value is None:
            return ""
        if value == np.inf:
            return "infinitely"
        return f"{'at least ' if self.is_bound else ''}{times(value)}x"


def on_clock(flat: pd.DataFrame, clock: str) -> pd.Series[float]:
    """Return each trial's seconds to the target, or to the end of its budget.

    The clock `train` counts training alone; `compile` the compilation before it too; `wall` all
    from the process's start to the certificate.
    """
    if clock == "wall":
        return flat.wall_to_target_s.fillna(flat.wall_s)
    trained = flat.time_to_target_s.fillna(flat.first_update_s.fillna(0.0) + flat.train_s)
    return trained + flat.compile_s if clock == "compile" else trained


def measured(
    flat: pd.DataFrame, metric: str = TIME_TO_TARGET, clock: str = "train"
) -> tuple[Floats, Floats]:
    """Return what each trial took, and what it had spent when it missed; nan where it has none.

    One that can never arrive has spent infinity.
    """
    if metric == TIME_TO_TARGET:
        taken = spent = on_clock(flat, clock)
    elif metric in SPENT:
        taken, spent = flat[metric], flat[SPENT[metric]]
    else:  # a miss has these too
        return _floats(flat[metric]), np.full(len(flat), np.nan)
    hit = flat.status == "reached"
    missed = _floats(spent.where(flat.counts & ~hit))
    return _floats(taken.where(hit)), np.where(flat.never, np.inf, missed)


def hits_and_misses(
    flat: pd.DataFrame, metric: str = TIME_TO_TARGET, clock: str = "train"
) -> tuple[Floats, Floats]:
    """Return what trials took that have the metric, and what those that missed had spent."""
    taken, spent = measured(flat, metric, clock)
    return taken[~np.isnan(taken)], spent[~np.isnan(spent)]


def pair(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str = TIME_TO_TARGET,
    clock: str = "train",
    run: Sequence[str] = RUN,
) -> Pairs:
    """Return the pairs of two cells' trials: those that are equal in the columns `run`.

    Of several trials of a cell that are equal in them, the last counts.
    """
    ours, theirs = (_by_run(flat, metric, clock, run) for flat in (first, second))
    both = [(*ours[key], *theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
    taken, spent, other_taken, other_spent = np.array(both, float).reshape(-1, 4).T
    return ratios(taken, other_taken, spent, other_spent)


def ratios(first: ArrayLike, second: ArrayLike, spent: ArrayLike, other_spent: ArrayLike) -> Pairs:
    """Return the ratios of pairs.

    `first` and `second` are what trials took, pair by pair, nan where they missed; `spent` and
    `other_spent` what they had spent then, nan where that is no bound. A pair with a zero says
    nothing.
    """
    a, b, spent_a, spent_b = (
        np.asarray(side, float) for side in (first, second, spent, other_spent)
    )
    missed_a, missed_b = np.isnan(a), np.isnan(b)
    low, high = np.where(missed_a, spent_a, a), np.where(missed_b, spent_b, b)
    early = (missed_a & (high > low)) | (~missed_a & missed_b & (high < low))
    says = (low > 0) & (high > 0) & ~(missed_a & missed_b) & ~early
    bounded = int((says & (missed_a | missed_b)).sum())
    return Pairs(high[says] / low[says], bounded, int((~says).sum()))


def trained(flat: pd.DataFrame) -> bool:
    """Return whether a trial of a cell trained to its end: no other is a rival."""
    return bool((flat.counts & (flat.status != "failed")).any())


def judge(*groups: Pairs, contests: float = 1) -> Verdict:
    """Return which of two cells is faster; of several groups of pairs, in the geometric mean.

    Of so many `contests`, whose verdicts are one statement, the intervals hold all at once.
    """
    if not all(len(pairs.ratios) for pairs in groups):
        estimate = Estimate(None, None, None, 0)
    else:
        estimate = ratio(*(pairs.ratios for pairs in groups), contests=contests)
    return Verdict(
        estimate,
        bounded=sum(pairs.bounded for pairs in groups),
        silent=sum(pairs.silent for pairs in groups),
        is_bound=any(2 * pairs.bounded >= len(pairs.ratios) for pairs in groups),
    )


def looks(contests: int = 1) -> list[int]:
    """Return the seeds after which `--seeds auto` looks at so many contests.

    The first look has the fewest pairs that can decide one of them. Of a single contest they are
    eight: all on one side come by chance 2 / 2^8 = 0.8% of the time, and a look may err 1%.
    """
    first = fewest(LOOKS * contests)
    return [int(first * GROWTH**number) for number in range(LOOKS)]


def settled(pairs: Pairs, contests: int = 1) -> Decision | None:
    """Return what `--seeds auto` may conclude at one look; None while it needs more seeds.

    To look at the data again and again, and to stop at the first winner, would find winners
    where there are none; so would to look at many pairs of cells. So looks and contests are fixed
    beforehand (`looks`), and each look at a contest spends an equal part of `ERROR` (Bonferroni;
    Jennison and Turnbull 1999 have sharper ways). At a look, two
    cells are settled if the exact sign test of their ratios, which needs no assumption about
    their distribution, says so at that level: one is faster, or the exact interval of the
    median ratio lies within the margin. This is stricter than the verdict, so that no look
    concludes what the verdict of the same pairs does not say.
    """
    from scipy import stats  # slow to import, and not needed by every command

    error = ERROR / (LOOKS * contests)
    tested = stats.quantile_test(logarithms(pairs.ratios), q=0.0, p=0.5)
    # The stubs take the interval for a number.
    interval: Any = tested.confidence_interval(confidence_level=1 - error)
    differ = tested.pvalue <= error
    # An end that is not known is infinite or nan.
    alike = bool(np.abs([interval.low, interval.high]).max() < np.log1p(MARGIN))
    if not differ and not alike:
        return None
    verdict = judge(pairs)
    if differ:
        return verdict.decision if verdict.has_winner else None
    return Decision.ALIKE if verdict.within_margin else None


def _within_margin(low: float, high: float) -> bool:
    return low > 1 / (1 + MARGIN) and high < 1 + MARGIN


def _by_run(
    flat: pd.DataFrame, metric: str, clock: str, run: Sequence[str]
) -> dict[tuple[Any, ...], tuple[float, float]]:
    keys = zip(*(flat[name].tolist() for name in run), strict=True)
    values = (side.tolist() for side in measured(flat, metric, clock))
    return dict(zip(keys, zip(*values, strict=True), strict=True))


def _floats(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(float, na_value=np.nan)
