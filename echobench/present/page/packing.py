"""Many records in few bytes: what trials of a cell share is kept once, and all is compressed."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from echobench.trial.record import Record


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
    def told(self) -> str:
        """Return what is left out, in words; empty if nothing is."""
        if self.digits is None:
            return ""
        return (
            f"So that the page stays small, a record here holds {self.digits} significant digits, "
            f"at most {self.points} of its evaluations and {self.samples} of its samples and last "
            "log lines. The files of records hold all."
        )


LEVELS = (Level(), Level(6, 60, 8), Level(4, 12, 3), Level(3, 4, 1))
"""From everything to what 10,000 trials leave room for."""


def packed(value: Any) -> str:
    """Return a value as JSON, gzip and base64: text that ends no element of a page."""
    # What is no number (NaN) becomes null. The same value gives the same bytes.
    return base64.b64encode(gzip.compress(msgspec.json.encode(value), 9, mtime=0)).decode()


def builtins(record: Record) -> dict[str, Any]:
    """Return a record as an object of JSON, whichever way it was read."""
    if isinstance(record, msgspec.Struct):
        told: dict[str, Any] = msgspec.to_builtins(record)
        return told
    return record.model_dump(mode="json")


def kept(record: Mapping[str, Any], level: Level) -> dict[str, Any]:
    """Return what a level leaves of a record."""
    if level.digits is None:
        return dict(record)
    thinner = {
        "evaluations": thinned(record["evaluations"], level.points),
        "samples": record["samples"][: level.samples],
        "log_tail": record["log_tail"][-(level.samples or 0) :],
    }
    told: dict[str, Any] = rounded({**record, **thinner}, level.digits)
    return told


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
    """Return at most `count` points, evenly chosen, the first and the last among them."""
    if count is None or len(points) <= count:
        return list(points)
    if count == 1:
        return [points[-1]]
    return [points[round(place * (len(points) - 1) / (count - 1))] for place in range(count)]


def columns(values: Sequence[Any]) -> dict[str, Any]:
    """Return values of one kind as a tree that holds once what all of them share.

    `{"same": value}` where all are equal, `{"object": {name: tree}}` where all are objects
    of the same names, `{"list": [trees]}` where all are lists of one length, else
    `{"each": values}`. The page's `restored` is the way back.
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
        return {"list": [columns(list(place)) for place in zip(*values, strict=True)]}
    return {"each": list(values)}
