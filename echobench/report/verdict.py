"""Which to choose: in plain words, and naming a winner only where the pairs show one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from echobench.results.footnotes import Course, break_even, course
from echobench.results.statistics import (
    FEWEST_PAIRS,
    Estimate,
    censored_median,
    paired,
    ratio,
)
from echobench.results.table import on_clock

Side = dict[tuple[int, str], tuple[float | None, float | None]]
"""By seed and repeat: what a trial took, or None and what it had spent when it missed."""


class Verdict(NamedTuple):
    """Who has the lowest median of some figure, and whether the pairs show it.

    Attributes:
        first: the cell with the lowest median; None where nothing was measured.
        shown: whether the paired interval against every other cell excludes 1.
        text: the same in words, without the name of a winner that is shown.
        few: whether there were too few pairs to say anything.
    """

    first: str | None
    shown: bool
    text: str
    few: bool = False

    @property
    def said(self) -> tuple[str, str]:
        """Return the winner, if one is shown, and the rest of the sentence."""
        return (self.first or "" if self.shown else ""), self.text


def to_target(flat: pd.DataFrame, clock: str) -> Side:
    """Return each trial's seconds to the target on a clock of `table.CLOCKS`."""
    counted = flat[flat.status.isin(["reached", "missed", "timeout"])]
    found: Side = {}
    for key, value, status in zip(
        _keys(counted), on_clock(counted, clock).to_numpy(float), counted.status, strict=True
    ):
        if not np.isnan(value):
            found[key] = (float(value), None) if status == "reached" else (None, float(value))
    return found


def of_update(flat: pd.DataFrame) -> Side:
    """Return each trial's seconds for an update."""
    there = flat[flat.seconds_per_update.notna()]
    values = there.seconds_per_update.to_numpy(float)
    return {key: (float(value), None) for key, value in zip(_keys(there), values, strict=True)}


def _keys(flat: pd.DataFrame) -> list[tuple[int, str]]:
    return [(int(s), str(again)) for s, again in zip(flat.seed, flat.again, strict=True)]


def median(side: Side) -> Estimate:
    """Return the median over trials, misses censored, with its interval."""
    hits = [value for value, _ in side.values() if value is not None]
    spent = [bound for _, bound in side.values() if bound is not None]
    return censored_median(hits, spent)


def verdict(sides: Mapping[str, Side]) -> Verdict:
    """Return which side is first.

    A rival is compared by pairs of trials with the same seed and repeat; where one of
    them missed, the ratio is the bound that it gives (`comparison.paired`).

    Args:
        sides: by the cell's name.
    """
    values = {name: middle for name, side in sides.items() if (middle := median(side).value)}
    if not values:
        return Verdict(None, False, "")
    first, *others = sorted(values, key=lambda name: values[name])
    # Who never got there may have been stopped early: also a rival.
    others += [name for name, side in sides.items() if side and name not in values]
    if not others:
        return Verdict(first, False, "only one was measured")
    nearest = None
    for rival in others:
        found, bounded = _against(sides[first], sides[rival])
        if found is None or found.low is None or found.high is None:
            pairs = found.n if found else 0
            return Verdict(
                first,
                False,
                f"no winner named: {pairs} usable pair{'' if pairs == 1 else 's'} of {first} and "
                f"{rival}, and {FEWEST_PAIRS} make an interval",
                few=True,
            )
        if not found.low > 1:
            return Verdict(
                first,
                False,
                f"no winner shown: {rival} takes {found.value:.3g}x the time of {first} "
                f"[{found.low:.3g}, {found.high:.3g}]",
            )
        if nearest is None:
            least = "at least " if 2 * bounded >= found.n else ""
            nearest = f"{least}{found.value:.3g}x faster than {rival} [{found.low:.3g}, "
            nearest += f"{found.high:.3g}]"
    return Verdict(first, True, f", {nearest}")


def _against(first: Side, rival: Side) -> tuple[Estimate | None, int]:
    keys = sorted(first.keys() & rival.keys())
    a, spent_a = np.array([first[key] for key in keys], float).reshape(-1, 2).T
    b, spent_b = np.array([rival[key] for key in keys], float).reshape(-1, 2).T
    found = paired(a, b, spent_a, spent_b)
    return (ratio(found.values) if len(found.values) else None), found.bounded


def courses(cells: Mapping[str, pd.DataFrame]) -> list[Course]:
    """Return the cells of a group as straight lines: seconds after so many updates."""
    return [found for name, flat in cells.items() if (found := course(name, [flat]))]


def even(lines: Sequence[Course]) -> str:
    """Return who is first, and up to how many updates; compiling counted; empty for one line."""
    if len(lines) < 2:
        return ""
    (_, first), *others = break_even(lines)
    then = "".join(f" up to {round(at):,} updates, then {line.name}" for at, line in others)
    return f"{first.name} first{then or ', however many'}"
