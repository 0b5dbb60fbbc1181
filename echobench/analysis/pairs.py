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
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from echobench.analysis.frame import Records, frame
from echobench.analysis.places import OF_TRAINING, Turn, is_once, set_apart, shares_processes, turns
from echobench.analysis.resampling import Integers, linked, numbered
from echobench.analysis.statistics import (
    ERROR,
    FEWEST_PAIRS,
    FEWEST_PROCESSES,
    ROUNDING,
    Estimate,
    Floats,
    censored_median,
    clustered,
    logarithms,
    ratio,
    signed_rank,
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
LOOKS = (5, 7, 11, 16, 25, 37)
"""The numbers of processes of each cell after which `--seeds auto` looks at the data."""
LEAST_SPREAD = 0.1
"""Standard deviation of a process' logarithm that `--seeds auto` takes for the least, as long as
there are too few processes for an exact test. Processes are often of two kinds, by the layout of
their memory, say; a few of one kind agree by chance, however far it is from the other."""
EACH = "each is a 95% interval, not corrected for their number"
"""What is said where several verdicts stand together."""
NOT_SHOWN = (
    f"an interval takes {FEWEST_PAIRS} pairs of trials; one of times takes {FEWEST_PROCESSES} "
    "processes too, where a process has trained several seeds"
)
"""What is said below a table in which some verdict has no interval."""
OF_THE_SEED = ("updates_to_target", "epochs_to_target", "epochs", "accuracy", "exact_match",
               "error_bound")  # fmt: skip # one line would be too long
"""What the seed decides, whichever process trains it: such trials are independent."""


class Outcome(NamedTuple):
    """What a trial took, what it had spent when it missed, nan where it has none; its process.

    Its turn says with which others it pairs; where the metric is no time of training, with all.
    """

    taken: float
    spent: float
    process: str = ""
    turn: Turn = Turn()


Outcomes: TypeAlias = Mapping[tuple[Any, ...], Outcome]
"""The outcomes of a cell's trials, by the columns in which two trials of a pair are equal."""


class Pairs(NamedTuple):
    """Ratios of the pairs of two cells, second over first.

    Attributes:
        ratios: of the pairs that say something, in the order of `RUN`.
        bounded: how many of these are bounds, because one trial of the pair missed.
        silent: how many pairs say nothing: both trials missed, one failed, or one missed
            having spent less than the other took.
        processes: the number of each ratio's processes (`resampling.linked`); None where each pair
            is independent of the others.
        apart: how many pairs are left out, since one is a first trial that is set apart.
    """

    ratios: Floats
    bounded: int = 0
    silent: int = 0
    processes: Integers | None = None
    apart: int = 0

    @property
    def are_enough(self) -> bool:
        """Return whether they have an interval: see `statistics.ratio`."""
        few = self.processes is not None and len(np.unique(self.processes)) < FEWEST_PROCESSES
        return len(self.ratios) >= FEWEST_PAIRS and not few

    @property
    def by_process(self) -> Floats:
        """Return the logarithms of the ratios by process: the median of its pairs."""
        logs = logarithms(self.ratios)
        if self.processes is None:
            return logs
        _, sizes = np.unique(self.processes, return_counts=True)
        ordered, first = logs[np.lexsort((logs, self.processes))], np.cumsum(sizes) - sizes
        middle: Floats = (ordered[first + (sizes - 1) // 2] + ordered[first + sizes // 2]) / 2
        return middle


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
        processes: how many processes of each cell have made its trials; None where the pairs are
            independent.
    """

    ratio: Estimate
    bounded: int = 0
    silent: int = 0
    is_bound: bool = False
    processes: int | None = None

    @property
    def how_many(self) -> str:
        """Return in words how many pairs there are: `10 pairs`, `10 pairs of 3 processes`."""
        pairs = f"{self.ratio.n} pair{'' if self.ratio.n == 1 else 's'}"
        if self.processes is None:
            return pairs
        return f"{pairs} of {self.processes} process{'' if self.processes == 1 else 'es'}"

    @property
    def too_few(self) -> str:
        """Return in words how many pairs there are, and how many an interval takes."""
        wanted = {"pairs": f"{FEWEST_PAIRS}", "processes": f"{FEWEST_PROCESSES} processes"}
        return f"{self.how_many}, too few for an interval, which takes {wanted[self.lacks]}"

    @property
    def lacks(self) -> str:
        """Return what there are too few of where there is no interval: pairs, or processes."""
        few = self.processes is None or self.ratio.n < FEWEST_PAIRS
        return "pairs" if few else "processes"

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
    taken, spent = measured(flat[has(flat, metric, clock)], metric, clock)
    return taken[~np.isnan(taken)], spent[~np.isnan(spent)]


def median(flat: pd.DataFrame, metric: str = TIME_TO_TARGET, clock: str = "train") -> Estimate:
    """Return the median of a cell's trials, misses censored, with its interval."""
    flat = flat[has(flat, metric, clock)]
    taken, spent = measured(flat, metric, clock)
    hit, missed = ~np.isnan(taken), ~np.isnan(spent)
    processes = None
    if metric not in OF_THE_SEED and shares_processes(flat):
        numbers = numbered(flat.process.astype(str))
        processes = np.concatenate([numbers[hit], numbers[missed]])
    return censored_median(taken[hit], spent[missed], processes)


def has(records: Records, metric: str, clock: str = "train") -> pd.Series[bool]:
    """Return which trials can have a metric: not those of which another trial has it.

    What a process has once, its first trial has. Where the first trials are set apart, the later
    ones have the times of training (`OF_TRAINING`).
    """
    flat = frame(records)
    if is_once(metric, clock):
        return flat.place == 0
    if metric in OF_TRAINING:
        return ~set_apart(flat)
    return pd.Series(True, index=flat.index)


def values(records: Records, field: str) -> pd.Series[float]:
    """Return a field of each trial as tables, figures and pages show it: empty where it is none's.

    Who summarises a time asks here: the frame has those of the first trials, too, also where they
    are set apart (`has`).
    """
    flat = frame(records)
    return flat[field].astype(float).where(has(flat, field))


def pair(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str = TIME_TO_TARGET,
    clock: str = "train",
    run: Sequence[str] = RUN,
) -> Pairs:
    """Return the pairs of two cells' trials: those that are equal in the columns `run`.

    Of several trials of a cell that are equal in them, the last counts. Pairs that share a process
    on either side, or are linked by others that do, are of one process.
    """
    return paired(*(outcomes(flat, metric, clock, run) for flat in (first, second)))


def outcomes(
    flat: pd.DataFrame, metric: str, clock: str = "train", run: Sequence[str] = RUN
) -> dict[tuple[Any, ...], Outcome]:
    """Return the outcomes of a cell's trials, of which `paired` leaves out those set apart.

    All trials of the cell are needed: they say whether its first ones differ. What a process has
    once, its first trial has. Where the seed decides, trials are of no process.
    """
    flat = flat[flat.place == 0] if is_once(metric, clock) else flat
    keys = zip(*(flat[name].tolist() for name in run), strict=True)
    taken, spent = measured(flat, metric, clock)
    of = [""] * len(flat) if metric in OF_THE_SEED else flat.process.astype(str)
    found = map(Outcome, taken.tolist(), spent.tolist(), of, turns(flat, metric, clock))
    return dict(zip(keys, found, strict=True))


def paired(ours: Outcomes, theirs: Outcomes) -> Pairs:
    """Return the pairs of two cells' outcomes whose turns compare: see `pair`."""
    both = [(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
    alike = [(*a, *b) for a, b in both if a.turn.compares(b.turn)]
    taken, spent, process, _, other_taken, other_spent, other, _ = (
        zip(*alike, strict=True) if alike else [()] * 8
    )
    found = ratios(taken, other_taken, spent, other_spent, (process, other))
    return found._replace(apart=len(both) - len(alike))


def ratios(
    first: ArrayLike,
    second: ArrayLike,
    spent: ArrayLike,
    other_spent: ArrayLike,
    processes: Sequence[Sequence[str]] = (),
) -> Pairs:
    """Return the ratios of pairs.

    `first` and `second` are what trials took, pair by pair, nan where they missed; `spent` and
    `other_spent` what they had spent then, nan where that is no bound; `processes` of each side the
    process of its trials. A pair with a zero says nothing, and links no others.
    """
    a, b, spent_a, spent_b = (
        np.asarray(side, float) for side in (first, second, spent, other_spent)
    )
    missed_a, missed_b = np.isnan(a), np.isnan(b)
    low, high = np.where(missed_a, spent_a, a), np.where(missed_b, spent_b, b)
    early = (missed_a & (high > low)) | (~missed_a & missed_b & (high < low))
    says = (low > 0) & (high > 0) & ~(missed_a & missed_b) & ~early
    bounded = int((says & (missed_a | missed_b)).sum())
    found = linked(*(list(itertools.compress(side, says)) for side in processes or [[""] * len(a)]))
    of = found if clustered(found) else None
    return Pairs(high[says] / low[says], bounded, int((~says).sum()), of)


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
        estimate = ratio(
            *(pairs.ratios for pairs in groups),
            processes=[pairs.processes for pairs in groups],
            contests=contests,
        )
    some = [pairs for pairs in groups if clustered(pairs.processes)]
    return Verdict(
        estimate,
        bounded=sum(pairs.bounded for pairs in groups),
        silent=sum(pairs.silent for pairs in groups),
        is_bound=any(2 * pairs.bounded >= len(pairs.ratios) for pairs in groups),
        processes=min((len(pairs.by_process) for pairs in some), default=None),
    )


def settled(pairs: Pairs, contests: int = 1) -> Decision | None:
    """Return what `--seeds auto` may conclude at one look; None while it needs more processes.

    To look at the data again and again, and to stop at the first winner, would find winners
    where there are none; so would to look at many pairs of cells. So looks and contests are fixed
    beforehand (`LOOKS`), and each look at a contest spends an equal part of `ERROR` (Bonferroni;
    Jennison and Turnbull 1999 have sharper ways).

    Pairs of one process are not independent; so each process says one thing, the median of its
    pairs' logarithms. As long as there are too few processes for Wilcoxon's signed-rank test to
    decide, a cell is faster if Student's interval of their mean excludes 0, for a standard
    deviation of `LEAST_SPREAD` at least; the two are alike if that for the measured one lies within
    the margin. From then on the interval of that exact test says both. A look concludes nothing
    that the verdict of the same pairs does not say.
    """
    logs, error = pairs.by_process, ERROR / (len(LOOKS) * contests)
    if len(logs) < LOOKS[0]:
        return None
    narrow = wide = signed_rank(logs, error)
    if narrow is None or wide is None:
        from scipy import stats  # slow to import, and not needed by every command

        n, mean, spread = len(logs), float(np.mean(logs)), float(np.std(logs, ddof=1))
        unit = float(stats.t.isf(error / 2, n - 1)) / n**0.5
        narrow, wide = (
            (mean - unit * s, mean + unit * s) for s in (spread, max(spread, LEAST_SPREAD))
        )
    differ = wide[0] > 0 or wide[1] < 0
    if not differ and max(map(abs, narrow)) >= np.log1p(MARGIN):
        return None
    verdict = judge(pairs)
    if differ:
        return verdict.decision if verdict.has_winner else None
    return Decision.ALIKE if verdict.within_margin else None


def _within_margin(low: float, high: float) -> bool:
    return low > 1 / (1 + MARGIN) and high < 1 + MARGIN


def _floats(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(float, na_value=np.nan)
