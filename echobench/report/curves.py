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

    Args:
        records: trials of one cell.
        against: `time`, seconds of training, or `updates`.
    """
    curves = [found for record in records if (found := _curve(record, against))]
    if not curves:
        return []
    open_ends = [xs[-1] for reached, xs, _ in curves if not reached]
    end = min(open_ends) if open_ends else max(xs[-1] for _, xs, _ in curves)
    start = max(xs[0] for _, xs, _ in curves)
    places = sorted({x for _, xs, _ in curves for x in xs if start <= x <= end})
    grid = thinned(places, POINTS)
    if not grid:
        return []
    seeds = np.array(
        [np.asarray(ys)[np.searchsorted(xs, grid, side="right") - 1] for _, xs, ys in curves]
    )
    low, middle, high = np.quantile(seeds, (0.25, 0.5, 0.75), axis=0)
    found = [list(map(float, at)) for at in zip(grid, middle, low, high, strict=True)]
    return list(rounded(found, DIGITS))


def _curve(record: Record, against: str) -> tuple[bool, list[float], list[float]] | None:
    """Return whether a trial was certified, where it was evaluated, and its accuracy there."""
    if record.failed_parity or not record.epochs or not record.updates:
        return None
    each = record.updates / record.epochs
    points = [
        (point.epoch * each if against == "updates" else point.train_s, point.accuracy)
        for point in record.evaluations
    ]
    there = [(x, y) for x, y in points if x is not None]
    if not there:
        return None
    xs, ys = zip(*there, strict=True)
    return record.status == "reached", list(xs), list(ys)


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
