"""What the page's script reads: the charts of each cell, and whole records in few bytes."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from echobench.analysis import curves
from echobench.analysis.pairs import CLOCKS, SECONDS_PER_UPDATE, values
from echobench.analysis.statistics import Floats
from echobench.trial.record import Record

POINTS = 40
"""Points of a curve: enough for its form, few enough for hundreds of cells."""
DIGITS = 4
"""Significant digits of a chart's numbers."""
ECHOES = 8
"""Sample echoes of a cell, at most."""


def charts(records: Sequence[Record], flat: pd.DataFrame) -> dict[str, Any]:
    """Return what the charts of a cell draw; `flat` is the frame of its records."""
    return {
        "curves": {"time": learning(records, "seconds"), "updates": learning(records, "updates")},
        "survival": {clock: _steps(curves.arrival(flat, clock)) for clock in CLOCKS},
        "update": _spread(values(flat, SECONDS_PER_UPDATE) * 1e3),
        "limit": _spread(values(flat, "limit_fraction") * 100),
        "phases": [rounded(seconds, 4) for seconds in (curves.phases(records) or {}).values()],
        "echo": _echoes(records),
    }


def learning(records: Sequence[Record], axis: str) -> list[list[float]]:
    """Return a cell's accuracy as points [x, median, lower quartile, upper quartile]."""
    curve = curves.learning([r for r in records if r.contradiction is None], axis)
    return _points(*curve) if curve else []


def _steps(arrival: curves.Arrival) -> list[list[float]]:
    """Return times and the share at the target from each on, up to the last observation."""
    times, shares = arrival.times, arrival.shares
    if len(arrival.censored) and arrival.censored[-1] > (times[-1] if len(times) else 0.0):
        times = np.append(times, arrival.censored[-1])
        shares = np.append(shares, shares[-1] if len(shares) else 0.0)
    return _points(times, shares)


def _points(*columns: Floats) -> list[list[float]]:
    """Return columns as rows, as many and as exact as can be seen."""
    rows = [list(map(float, row)) for row in zip(*columns, strict=True)]
    return list(rounded(thinned(rows, POINTS), DIGITS))


def _spread(figures: pd.Series[float]) -> list[float] | None:
    """Return median, quartiles, smallest and largest over trials."""
    known = figures.dropna().to_numpy(float)
    if not len(known):
        return None
    quantiles = np.quantile(known, (0.5, 0.25, 0.75, 0.0, 1.0))
    return list(rounded(list(map(float, quantiles)), DIGITS))


def _echoes(records: Sequence[Record]) -> dict[str, Any] | None:
    """Return the sample echoes of the trial with the lowest seed that has any.

    `over` are those made during training, each with its epoch; older records have none.
    """
    for record in sorted(records, key=lambda record: record.seed):
        if record.samples:
            pairs = [[s.expected, s.predicted] for s in record.samples[:ECHOES]]
            over = [
                [point.epoch, point.sample.expected, point.sample.predicted]
                for point in record.evaluations
                if point.sample is not None
            ]
            return {"seed": record.seed, "key": record.key, "pairs": pairs, "over": over}
    return None


class Level(NamedTuple):
    """How much of a record is kept; None for all of it.

    Attributes:
        digits: significant digits of a number that is not whole.
        points: evaluations of a learning curve.
        samples: sample echoes, and lines of the log's end.
    """

    digits: int | None = None
    points: int | None = None
    samples: int | None = None

    @property
    def note(self) -> str:
        """Return a sentence on what is left out; empty if nothing is."""
        if self.digits is None:
            return ""
        return (
            f"To keep this page small, each record here has {self.digits} significant digits and "
            f"at most {self.points} evaluations, {self.samples} samples and {self.samples} last "
            "log lines. The files of records hold everything."
        )


LEVELS = (Level(), Level(6, 60, 8), Level(4, 12, 3), Level(3, 4, 1))
"""From everything to what 10,000 trials leave room for."""


def packed(value: Any) -> str:
    """Return a value as JSON, gzip and base64: text that cannot end an HTML element."""
    # NaN becomes null. Without a time stamp (mtime), the same value gives the same bytes.
    return base64.b64encode(gzip.compress(msgspec.json.encode(value), 9, mtime=0)).decode()


def kept(record: Mapping[str, Any], level: Level) -> dict[str, Any]:
    """Return the part of a record that a level keeps."""
    if level.digits is None:
        return dict(record)
    thinner = {
        "evaluations": thinned(record["evaluations"], level.points),
        "samples": record["samples"][: level.samples],
        "log_tail": record["log_tail"][-(level.samples or 0) :],
    }
    return dict(rounded({**record, **thinner}, level.digits))


def rounded(value: Any, digits: int) -> Any:
    """Return a value of JSON, its floats rounded to significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    if isinstance(value, dict):
        return {name: rounded(item, digits) for name, item in value.items()}
    return value


def thinned(points: Sequence[Any], count: int | None) -> list[Any]:
    """Return at most `count` evenly spaced points, at least the first and the last."""
    if count is None or len(points) <= count:
        return list(points)
    return [points[round(n * (len(points) - 1) / (count - 1))] for n in range(count)]


def columns(values: Sequence[Any]) -> dict[str, Any]:
    """Return similar values as a tree that holds once what they share.

    `{"same": value}` if all are equal, `{"object": {name: tree}}` if all are objects
    of the same names, `{"list": [trees]}` if all are lists of one length, else
    `{"each": values}`. The page's `restored` is the inverse.
    """
    first = values[0]
    if all(value == first and type(value) is type(first) for value in values[1:]):
        return {"same": first}
    if isinstance(first, dict) and all(
        isinstance(value, dict) and value.keys() == first.keys() for value in values
    ):
        return {"object": {name: columns([value[name] for value in values]) for name in first}}
    if isinstance(first, list) and all(
        isinstance(value, list) and len(value) == len(first) for value in values
    ):
        return {"list": [columns(list(items)) for items in zip(*values, strict=True)]}
    return {"each": list(values)}
