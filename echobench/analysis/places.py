"""The first trial of a process and those after it: whether their updates take the same time.

A process trains its trials in turn. The first may find caches cold, an allocator that has not
grown yet, or a clock that the processor has not raised; the later ones may find memory in pieces.
So their times are compared within each process, and where they differ the first are set apart.
Then two trials are comparable if neither is a first one, whichever cell of the two it is that
differs: a cell of one trial a process does not show that it does.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from echobench.analysis.statistics import FEWEST_PROCESSES, Estimate, student
from echobench.trial.cell import Cell

MARGIN = 0.05
"""Differences of the first trials that are smaller than this set none apart."""
OF_THE_PROCESS = ("compile_s", "wall_s", "wall_to_target_s")
"""What a process has once, with its first trial."""
OF_TRAINING = ("time_to_target_s", "seconds_per_update", "sequences_per_s", "limit_fraction")
"""What the later trials have alone, where the first are set apart."""


_last: tuple[Callable[[], pd.DataFrame | None], list[Apart]] = (lambda: None, [])
"""The frame last asked about, and what was found: who summarises a cell asks for each metric."""


class Apart(NamedTuple):
    """A cell on a machine: the time of an update of first trials over that of the later ones."""

    cell: Cell
    machine: str
    ratio: Estimate


class Turn(NamedTuple):
    """When in its process a trial ran, as far as that decides with which others it compares.

    Attributes:
        place: how many trials that process had trained before; None where the trial has no time,
            such as a crash, which is one at whatever place.
        apart: whether the first trials of its cell, on its machine, differ from the later ones.
    """

    place: int | None = None
    apart: bool = False

    def compares(self, other: Turn) -> bool:
        """Return whether the times of two trials compare: none of a first one set apart."""
        if self.place is None or other.place is None or not (self.apart or other.apart):
            return True
        return self.place > 0 and other.place > 0


def first_over_later(flat: pd.DataFrame) -> list[Apart]:
    """Return for each cell the time of an update of first trials over that of later ones.

    Each process gives one logarithm, of its first over the geometric mean of the later ones. The
    interval is Student's over processes (Kalibera and Jones 2013); fewer than `FEWEST_PROCESSES`
    with a first and a later trial have none. A cell without such a process is left out.
    """
    there = flat[(flat.process.astype(str) != "") & (flat.seconds_per_update > 0)]
    keys = ["cell", "machine", "process", "later"]
    logs = there.assign(later=there.place > 0, log=np.log(there.seconds_per_update.to_numpy(float)))
    means = logs.groupby(keys, sort=False, observed=True).log.mean().unstack("later")
    if not {False, True} <= {*means.columns}:
        return []
    differences = (means[False] - means[True]).dropna()
    groups = differences.groupby(level=["cell", "machine"], sort=False, observed=True)
    return [
        Apart(*cast("tuple[Cell, str]", names), student(values.to_numpy(float), FEWEST_PROCESSES))
        for names, values in groups
    ]


def apart(flat: pd.DataFrame) -> list[Apart]:
    """Return the cells whose first trials differ from the later ones, surely and by the margin."""
    global _last
    if not (flat.place > 0).any():
        return []
    asked, found = _last
    if asked() is not flat:
        found = [one for one in first_over_later(flat) if _differ(one.ratio)]
        _last = weakref.ref(flat), found
    return found


def shares_processes(flat: pd.DataFrame) -> bool:
    """Return whether some trials were trained by one process, in turn or together."""
    named = flat.process[flat.process != ""]
    return bool(named.duplicated().any())


def is_once(metric: str, clock: str = "train") -> bool:
    """Return whether a process has a metric once, with its first trial."""
    return metric in OF_THE_PROCESS or (metric == "time_to_target_s" and clock != "train")


def turns(flat: pd.DataFrame, metric: str, clock: str = "train") -> list[Turn]:
    """Return the turn of each trial; where a metric is no time of training, one like all others."""
    if is_once(metric, clock) or metric not in OF_TRAINING:
        return [Turn()] * len(flat)
    return [
        Turn(place if timed else None, differs)
        for place, timed, differs in zip(flat.place, _timed(flat), _differing(flat), strict=True)
    ]


def set_apart(flat: pd.DataFrame) -> pd.Series[bool]:
    """Return which trials have the time of a first, or only, one of a process where these differ.

    Their turns compare with none that has a time, not even with themselves.
    """
    return (flat.place == 0) & _timed(flat) & _differing(flat)


def _timed(flat: pd.DataFrame) -> pd.Series[bool]:
    return flat.seconds_per_update.notna() | flat.time_to_target_s.notna()


def _differing(flat: pd.DataFrame) -> pd.Series[bool]:
    """Return which trials are of a cell, on a machine, whose first trials differ."""
    found = {(one.cell, one.machine) for one in apart(flat)}
    differing = [pair in found for pair in zip(flat.cell, flat.machine, strict=True)]
    return pd.Series(differing, index=flat.index, dtype=bool)


def remarks(flat: pd.DataFrame) -> list[str]:
    """Return a note for each cell whose first trials are set apart."""
    several = flat.machine.nunique() > 1
    return [
        f"{one.cell}{f' on {one.machine}' if several else ''}: an update takes "
        f"{one.ratio.value:.3g}x {one.ratio.interval} the time in the first trial of a process: "
        "times are those of the later ones"
        for one in apart(flat)
    ]


def _differ(ratio: Estimate) -> bool:
    if ratio.low is None or ratio.high is None:
        return False
    return ratio.low > 1 + MARGIN or ratio.high < 1 / (1 + MARGIN)
