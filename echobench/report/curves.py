"""What the page draws of a cell: learning curves, shares at the target, spreads and phases."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from echobench.report.packing import rounded, thinned
from echobench.results.record import Record
from echobench.results.statistics import reached_by
from echobench.results.table import CLOCKS, on_clock

PHASES = ("import", "build", "compile", "first_update", "train", "eval", "sustain", "other")
POINTS = 40
"""Places along a curve: enough for its form, few enough for hundreds of cells."""
DIGITS = 4


def learning(records: Sequence[Record], against: str) -> list[list[float]]:
    """Return accuracy over seeds as points [x, median, lower quartile, upper quartile].

    A trial that was certified keeps its last accuracy, for it had no more to learn; the
    curve ends where the first of the others does, and begins where all were evaluated.
    Time is the median over the trials that were evaluated at an epoch.

    Args:
        records: trials of one cell.
        against: `time`, seconds of training, or `updates`.
    """
    there = [r for r in records if r.evaluations and not r.failed_parity]
    if not there:
        return []
    trials = [{point.epoch: point for point in record.evaluations} for record in there]
    ends = [max(trial) for r, trial in zip(there, trials, strict=True) if r.status != "reached"]
    end = min(ends) if ends else max(map(max, trials))
    start = max(map(min, trials))
    epochs = sorted({epoch for trial in trials for epoch in trial if start <= epoch <= end})
    points: list[list[float]] = []
    for epoch in thinned(epochs, POINTS):
        x = _place(there, trials, epoch, against)
        if x is None:
            continue
        seen = [trial[max(e for e in trial if e <= epoch)].accuracy for trial in trials]
        low, middle, high = map(float, np.quantile(seen, (0.25, 0.5, 0.75)))
        # Where the slow have arrived and the fast go on, time does not run back.
        points.append([max(x, points[-1][0]) if points else x, middle, low, high])
    return list(rounded(points, DIGITS))


def _place(
    records: Sequence[Record], trials: Sequence[dict[int, Any]], epoch: int, against: str
) -> float | None:
    """Return where an epoch lies: updates, or the median seconds of the trials that were there."""
    if against == "updates":
        pairs = [
            pair
            for r in records
            # Older records hold updates only where the target was reached.
            for pair in ((r.updates, r.epochs), (r.updates_to_target, r.epochs_to_target))
        ]
        each = [updates / epochs for updates, epochs in pairs if updates and epochs]
        return epoch * each[0] if each else None
    times = [trial[epoch].train_s for trial in trials if epoch in trial]
    known = [time for time in times if time is not None]
    return median(known) if known else None


def survival(flat: pd.DataFrame) -> dict[str, list[list[float]]]:
    """Return the share of trials at the target by each time, on every clock, as steps."""
    counted = flat[flat.status.isin(["reached", "missed", "timeout"])]
    found = {}
    for clock in CLOCKS:
        seconds = on_clock(counted, clock).dropna()
        reached = counted.status[seconds.index] == "reached"
        steps = reached_by(seconds[reached].to_numpy(float), seconds[~reached].to_numpy(float))
        found[clock] = list(rounded([list(step) for step in thinned(steps, POINTS)], DIGITS))
    return found


def spread(values: pd.Series[float]) -> list[float] | None:
    """Return median, quartiles and ends over trials: what an interval is drawn of."""
    there = values.dropna().to_numpy(float)
    if not len(there):
        return None
    found = np.quantile(there, (0.5, 0.25, 0.75, 0.0, 1.0))
    return list(rounded(list(map(float, found)), DIGITS))


def phases(records: Sequence[Record]) -> list[float | None]:
    """Return the median seconds of each of `PHASES`; None where it was not measured."""
    found: list[float | None] = []
    for name in PHASES:
        values: list[float] = [
            value for record in records if (value := getattr(record, f"{name}_s")) is not None
        ]
        found.append(float(f"{median(values):.4g}") if values else None)
    return found


def echo(records: Sequence[Record], count: int = 8) -> dict[str, Any] | None:
    """Return the sample echoes of the trial with the lowest seed that has some."""
    for record in sorted(records, key=lambda record: record.seed):
        if record.samples:
            pairs = [[list(s.expected), list(s.predicted)] for s in record.samples[:count]]
            return {"seed": record.seed, "key": record.key, "pairs": pairs}
    return None
