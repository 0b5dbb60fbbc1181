"""The curves of a cell: accuracy, share of trials at the target, and phases of the wall time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from echobench.analysis.pairs import TIME_TO_TARGET, has, hits_and_misses
from echobench.analysis.statistics import Floats
from echobench.trial.record import Record

AXES = {"seconds": "training time (s)", "updates": "updates"}
"""The horizontal axes of a learning curve."""
PHASES = {
    "import": "import_s",
    "build": "build_s",
    "compile": "compile_s",
    "first update": "first_update_s",
    "train": "train_s",
    "evaluate": "eval_s",
    "after the hit": "sustain_s",
    "other": "other_s",
}
"""Phases of a trial in order, each with its field of the record."""


class Learning(NamedTuple):
    """The accuracy of a cell, 0 to 1, over time or updates: median and quartiles over its seeds."""

    at: Floats
    median: Floats
    low: Floats
    high: Floats


def learning(records: Sequence[Record], axis: str) -> Learning | None:
    """Return the learning curve of a cell, one record for each seed; None if there is none to draw.

    Between two evaluations a seed has the accuracy of the earlier one. A certified seed keeps
    its last accuracy. The curve begins where every seed has been evaluated, and ends where the
    first uncertified seed does. Over seconds there are no first trials that are set apart.
    """
    if axis == "seconds" and not all(record.is_first for record in records):
        records = [*itertools.compress(records, has(records, TIME_TO_TARGET))]
    points = [(record.status == "reached", *_points(record, axis)) for record in records]
    seeds = [(done, at, accuracy) for done, at, accuracy in points if len(at)]
    if not seeds:
        return None
    start = max(at[0] for _, at, _ in seeds)
    end = min((at[-1] for done, at, _ in seeds if not done), default=np.inf)
    places = np.unique(np.concatenate([at for _, at, _ in seeds]))
    places = places[(places >= start) & (places <= max(start, end))]
    values = np.array(
        [accuracy[np.searchsorted(at, places, side="right") - 1] for _, at, accuracy in seeds]
    )
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    return Learning(places, median, low, high)


def _points(record: Record, axis: str) -> tuple[Floats, Floats]:
    """Return the positions of a trial's evaluations on an axis, and the accuracies."""
    if axis == "seconds":
        points = [(p.train_s, p.accuracy) for p in record.evaluations if p.train_s is not None]
    else:
        per_epoch = _updates_per_epoch(record)
        points = [(p.epoch * per_epoch, p.accuracy) for p in record.evaluations if per_epoch]
    at, accuracy = np.array(points, float).reshape(-1, 2).T
    return at, accuracy


def _updates_per_epoch(record: Record) -> float:
    """Return the updates of an epoch; 0 where an older record lacks them."""
    if record.updates and record.epochs:
        return record.updates / record.epochs
    if record.updates_to_target and record.epochs_to_target:
        return record.updates_to_target / record.epochs_to_target
    return 0.0


class Arrival(NamedTuple):
    """The share of trials at the target over time: Kaplan-Meier's estimate, misses censored.

    Attributes:
        times: seconds at which the share changes, ascending.
        shares: from each of these times on, 0 to 1.
        censored: seconds at which a trial ended without the target; not of those that could never
            have arrived, whatever time they had had.
        n: trials, those included.
    """

    times: Floats
    shares: Floats
    censored: Floats
    n: int


def arrival(flat: pd.DataFrame, clock: str = "train") -> Arrival:
    """Return the share of a cell's trials at the target by each time on a clock: see `on_clock`."""
    from scipy import stats  # slow to import, and not needed by every command

    hits, censored = hits_and_misses(flat, clock=clock)
    ends, n = np.sort(censored[np.isfinite(censored)]), len(hits) + len(censored)
    if not len(hits):
        return Arrival(hits, hits, ends, n)
    right = np.minimum(censored, np.nextafter(hits.max(), np.inf))
    curve = stats.ecdf(stats.CensoredData(hits, right=right)).cdf
    at = np.unique(hits)
    shares = np.asarray(curve.evaluate(at), float)
    return Arrival(at, shares, ends, n)


def phases(records: Sequence[Record]) -> dict[str, float] | None:
    """Return the mean seconds of each of `PHASES`; together they are the mean wall time.

    Of processes that trained several seeds in turn, the first trials count: later ones have no
    start. None where no record has phases. Time that an older record does not attribute is `other`.
    """
    whole = [record for record in records if record.wall_s is not None and record.is_first]
    if not whole:
        return None
    sums = dict.fromkeys(PHASES, 0.0)
    for record in whole:
        spent = {phase: getattr(record, field) or 0.0 for phase, field in PHASES.items()}
        if record.other_s is None:
            spent["other"] = max(0.0, (record.wall_s or 0.0) - sum(spent.values()))
        for phase, seconds in spent.items():
            sums[phase] += seconds / len(whole)
    return sums
