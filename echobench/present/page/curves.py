"""What the page draws of a cell: learning curves, shares at the target, spreads and phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from echobench.analysis import curves
from echobench.analysis.statistics import Floats
from echobench.analysis.table import CLOCKS
from echobench.present.page.packing import rounded, thinned
from echobench.trial.record import Record

POINTS = 40
"""Places along a curve: enough for its form, few enough for hundreds of cells."""
DIGITS = 4


def learning(records: Sequence[Record], axis: str) -> list[list[float]]:
    """Return accuracy over seeds as points [x, median, lower quartile, upper quartile].

    Args:
        records: trials of one cell.
        axis: one of `curves.AXES`.
    """
    found = curves.learning([r for r in records if not r.failed_parity], axis)
    return _points(*found) if found else []


def survival(flat: pd.DataFrame) -> dict[str, list[list[float]]]:
    """Return the share of trials at the target by each time, on every clock, as steps."""
    return {clock: _steps(curves.arrival(flat, clock)) for clock in CLOCKS}


def _steps(found: curves.Arrival) -> list[list[float]]:
    """Return times and shares, to the last observation."""
    times, shares = found.times, found.shares
    if len(found.censored) and found.censored[-1] > (times[-1] if len(times) else 0.0):
        times = np.append(times, found.censored[-1])
        shares = np.append(shares, shares[-1] if len(shares) else 0.0)
    return _points(times, shares)


def _points(*columns: Floats) -> list[list[float]]:
    """Return columns as rows, as many and as exact as can be seen."""
    rows = [list(map(float, row)) for row in zip(*columns, strict=True)]
    return list(rounded(thinned(rows, POINTS), DIGITS))


def spread(values: pd.Series[float]) -> list[float] | None:
    """Return median, quartiles and ends over trials: what an interval is drawn of."""
    there = values.dropna().to_numpy(float)
    if not len(there):
        return None
    found = np.quantile(there, (0.5, 0.25, 0.75, 0.0, 1.0))
    return list(rounded(list(map(float, found)), DIGITS))


def phases(records: Sequence[Record]) -> list[float]:
    """Return the mean seconds of each of `curves.PHASES`; nothing where there is no ledger."""
    found = curves.phases(records) or {}
    return [float(f"{seconds:.4g}") for seconds in found.values()]


def echo(records: Sequence[Record], count: int = 8) -> dict[str, Any] | None:
    """Return the sample echoes of the trial with the lowest seed that has some.

    `over` are those while it trained, each with its epoch; older records hold none.
    """
    for record in sorted(records, key=lambda record: record.seed):
        if record.samples:
            pairs = [[s.expected, s.predicted] for s in record.samples[:count]]
            over = [
                [point.epoch, point.sample.expected, point.sample.predicted]
                for point in record.evaluations
                if point.sample is not None
            ]
            return {"seed": record.seed, "key": record.key, "pairs": pairs, "over": over}
    return None
