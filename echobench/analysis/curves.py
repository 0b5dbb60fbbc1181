"""What figures and the page draw of a cell: how it learns, when it arrives, where time goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from echobench.analysis.statistics import Floats
from echobench.analysis.table import on_clock
from echobench.trial.record import Record

AXES = {"seconds": "training time (s)", "updates": "updates"}
"""What accuracy is drawn against."""
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
"""Phases in the order in which they come, each with its field of the record."""


class Learning(NamedTuple):
    """Accuracies of a cell's seeds over time or updates, each 0 to 1.

    Attributes:
        at: seconds or updates, ascending.
        median, low, high: over seeds; the quartiles.
    """

    at: Floats
    median: Floats
    low: Floats
    high: Floats


def learning(records: Sequence[Record], axis: str) -> Learning | None:
    """Return how accuracy rises; None where there is nothing to draw.

    Between two evaluations a seed has the accuracy of the earlier one. One that was certified
    keeps its last accuracy, for it had no more to learn; the curve ends where the first of
    the others does, and begins where every seed has been evaluated.

    Args:
        records: of a cell, a seed each.
        axis: one of `AXES`.
    """
    seeds = [
        (record.status == "reached", *found)
        for record in records
        if len((found := _points(record, axis))[0])
    ]
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
    """Return where a trial was evaluated, and its accuracy there."""
    if axis == "seconds":
        told = [(p.train_s, p.accuracy) for p in record.evaluations if p.train_s is not None]
    else:
        an_epoch = _updates_an_epoch(record)
        told = [(p.epoch * an_epoch, p.accuracy) for p in record.evaluations if an_epoch]
    at, accuracy = np.array(told, float).reshape(-1, 2).T
    return at, accuracy


def _updates_an_epoch(record: Record) -> float:
    """Return how many updates an epoch has; 0 where an older record does not say."""
    if record.updates and record.epochs:
        return record.updates / record.epochs
    if record.updates_to_target and record.epochs_to_target:
        return record.updates_to_target / record.epochs_to_target
    return 0.0


class Arrival(NamedTuple):
    """Shares of trials that reached the target: Kaplan-Meier's estimate, misses censored.

    Attributes:
        times: seconds at which the share changes, ascending.
        shares: from each of them on, 0 to 1.
        censored: seconds at which a trial was given up.
        n: trials.
    """

    times: Floats
    shares: Floats
    censored: Floats
    n: int


def arrival(flat: pd.DataFrame, clock: str = "train") -> Arrival:
    """Return the share that reached the target by each time.

    Args:
        flat: a cell's records, their fields the columns.
        clock: what counts: see `table.on_clock`.
    """
    from scipy import stats  # heavy, and not every command's

    hits, censored = times(flat, clock)
    if not len(hits):
        return Arrival(hits, hits, np.sort(censored), len(censored))
    curve = stats.ecdf(stats.CensoredData(hits, right=censored)).cdf
    at = np.unique(hits)
    shares = np.asarray(curve.evaluate(at), float)
    return Arrival(at, shares, np.sort(censored), len(hits) + len(censored))


def times(flat: pd.DataFrame, clock: str) -> tuple[Floats, Floats]:
    """Return the seconds of those that reached the target, and of those that were given up."""
    flat = flat[flat.status.isin(["reached", "missed", "timeout"])]
    seconds = on_clock(flat, clock).dropna()
    reached = (flat.status[seconds.index] == "reached").to_numpy(bool)
    values = seconds.to_numpy(float)
    return np.asarray(values[reached], float), np.asarray(values[~reached], float)


def phases(records: Sequence[Record]) -> dict[str, float] | None:
    """Return the mean seconds of each of `PHASES`, which add up to the mean wall time.

    None where no trial has a ledger. What an older record does not split is `other`.
    """
    whole = [record for record in records if record.wall_s is not None]
    if not whole:
        return None
    sums = dict.fromkeys(PHASES, 0.0)
    for record in whole:
        told = {phase: getattr(record, field) or 0.0 for phase, field in PHASES.items()}
        if record.other_s is None:
            told["other"] = max(0.0, (record.wall_s or 0.0) - sum(told.values()))
        for phase, seconds in told.items():
            sums[phase] += seconds / len(whole)
    return sums
