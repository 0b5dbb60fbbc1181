"""The gate of `compare --fail-if`: which limits are broken, and which cannot be decided.

A gate that has nothing to judge must not pass. So each limit needs a verdict in each cell of side
A: an interval of the ratios of pairs, of which the upper end is known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from echobench.analysis.comparison import Comparison, Framed, cells
from echobench.analysis.pairs import (
    METRICS,
    Outcome,
    Outcomes,
    Pairs,
    has,
    judge,
    measured,
    outcomes,
    paired,
)
from echobench.analysis.resampling import numbered
from echobench.analysis.statistics import clustered
from echobench.errors import UsageError

NEVER_RAN = ("unsupported",)
"""Statuses of trials that set no baseline: such a cell cannot get worse."""


@dataclass(frozen=True)
class Limit:
    """The largest ratio B / A of a metric that passes, such as `seconds_per_update>+10%`."""

    metric: str
    factor: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Parse a limit; raise UsageError if it is malformed or names an unknown metric."""
        match = re.fullmatch(r"(\w+)\s*>\s*\+(\d+(?:\.\d+)?)%", text.strip())
        if not match or match[1] not in METRICS:
            raise UsageError(
                "--fail-if: expected METRIC>+N%, such as seconds_per_update>+10%, the metric one "
                f"of {', '.join(METRICS)}; received {text!r}"
            )
        return cls(match[1], 1 + float(match[2]) / 100)

    def broken(self, comparisons: Iterable[Comparison]) -> list[Comparison]:
        """Return the comparisons whose whole interval lies beyond the limit, each by itself."""
        return [one for one in comparisons if one.metric == self.metric and self._is_broken(one)]

    def _is_broken(self, comparison: Comparison | None) -> bool:
        low = comparison.verdict.ratio.low if comparison else None
        return low is not None and low > self.factor

    def undecided(self, framed: Framed, comparisons: Sequence[Comparison]) -> Iterator[str]:
        """Yield the cells of side A that have no verdict, one line each: which, and why."""
        found = {(one.task, one.cell): one for one in comparisons if one.metric == self.metric}
        for (task, name), ours in cells(framed.ours):
            if not ours.status.isin(NEVER_RAN).all() and not self._is_broken(
                comparison := found.get((task, name))
            ):
                few = comparison is None or comparison.verdict.ratio.low is None
                pairs = _CellPairs.of(framed, ours, self.metric)
                why = pairs.why_too_few() if few else pairs.why_open()
                if why:
                    yield f"{task} {name} {self.metric}: {why}"


def new_cells(framed: Framed) -> list[str]:
    """Return the cells that only side B has: there is nothing to compare them with."""
    known = {cell for cell, _ in cells(framed.ours)}
    return [" ".join(cell) for cell, _ in cells(framed.theirs) if cell not in known]


@dataclass(frozen=True)
class _CellPairs:
    """The pairs of a cell and a metric, and the trials that are in none.

    Attributes:
        without: the cell's trials of side A that lack the metric.
        theirs: the cell's trials of side B.
        lost: the status and the reason of trials of side B without the metric, where the partner in
            A has it; of a trial that has no record the status is `no record`.
        pairs: all others.
        worst: all pairs, if the lost trials were infinitely slow.
        elsewhere: machines on which B ran the cell.
    """

    without: pd.DataFrame
    theirs: pd.DataFrame
    lost: list[tuple[str, str]]
    pairs: Pairs
    worst: Pairs
    elsewhere: list[str]

    @classmethod
    def of(cls, framed: Framed, ours: pd.DataFrame, metric: str) -> _CellPairs:
        theirs = framed.partners(ours)
        keys, their_keys = framed.runs(ours), framed.runs(theirs)
        rows = dict(zip(their_keys, theirs.itertuples(), strict=True))
        declared = [*theirs.declared.unique()] if {"seed", "again"} <= {*framed.run} else []
        sides = [outcomes(flat, metric, run=framed.run) for flat in (ours, theirs)]
        lost: dict[tuple[Any, ...], tuple[str, str]] = {}
        for key, trial in zip(keys, ours.itertuples(), strict=True):
            outcome, other = (side.get(key) for side in sides)
            if outcome is None or np.isnan(outcome.taken):
                continue
            if other is not None:
                if np.isnan(other.taken) and outcome.turn.compares(other.turn):
                    lost[key] = (str(rows[key].status), _text(rows[key].reason))
            elif key in rows:  # another trial of its process has the metric
                continue
            elif any(one.includes(trial.seed, trial.repeat) for one in declared):
                lost[key] = ("no record", "")
        kept = {key: outcome for key, outcome in sides[0].items() if key not in lost}
        return cls(
            without=ours[np.isnan(measured(ours, metric)[0]) & has(ours, metric)],
            theirs=theirs,
            lost=[*lost.values()],
            pairs=paired(kept, sides[1]),
            worst=paired(sides[0], {**sides[1], **_infinite(lost, *sides)}),
            elsewhere=sorted({*map(str, framed.partners(ours, anywhere=True).machine)}),
        )

    def why_too_few(self) -> str:
        """Return why there are too few pairs for an interval."""
        if self.theirs.empty:
            on = f"; B ran it on {' and '.join(self.elsewhere)}" if self.elsewhere else ""
            return f"B has no trial of it{on}"
        missing = [judge(self.pairs).too_few]
        if self.pairs.apart:
            missing.append(f"{self.pairs.apart} more have the first trial of a process")
        without = [(str(row.status), _text(row.reason)) for row in self.without.itertuples()]
        missing += [f"A: {_counted(without)}"] if without else []
        missing += [f"B: {_counted(self.lost)}"] if self.lost else []
        return "; ".join(missing)

    def why_open(self) -> str | None:
        """Return why the upper end of the interval is unknown; None where it is known.

        A trial that B lost may have been infinitely slow. Where the interval then reaches from
        within the limit to infinity, the trials that are left pass only because those are.
        """
        if not self.lost:
            return None
        high = judge(self.worst).ratio.high
        if high is not None and np.isfinite(high):
            return None
        lost, whole = len(self.lost), len(self.worst.ratios)
        return f"B has no figure in {lost} of {whole} pairs: {_counted(self.lost)}"


def _infinite(lost: Iterable[tuple[Any, ...]], ours: Outcomes, theirs: Outcomes) -> Outcomes:
    """Return the outcomes of side B's lost trials, if they were infinitely slow.

    A process that is lost loses all its trials at once. One without a record names no process: its
    partner's says which belong together; where A has a process for each, all may be of one.
    """
    alone = not _shares(ours) and _shares(theirs)
    unknown = Outcome(np.nan, np.nan, "without a record" if alone else "")
    return {key: theirs.get(key, unknown)._replace(taken=np.nan, spent=np.inf) for key in lost}


def _shares(side: Outcomes) -> bool:
    return clustered(numbered(outcome.process for outcome in side.values()))


def _text(reason: Any) -> str:
    return reason if isinstance(reason, str) else ""


def _counted(trials: Sequence[tuple[str, str]]) -> str:
    """Return how many trials have which status: `3 failed (killed), 2 missed`."""
    counts = Counter(status for status, _ in trials)
    reasons = dict(reversed([(status, reason) for status, reason in trials if reason]))
    return ", ".join(
        f"{count} {status}{f' ({reasons[status]})' if status in reasons else ''}"
        for status, count in counts.most_common()
    )
