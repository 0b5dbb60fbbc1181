"""Which to choose: in plain words, and naming a winner only where the pairs show one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from echobench.analysis.footnotes import Course, break_even, course, who_is_first
from echobench.analysis.statistics import FEWEST_PAIRS, Estimate, censored_median, ratio
from echobench.present.sentences import against


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


def median(side: pd.DataFrame) -> Estimate:
    """Return the median over trials, misses censored, with its interval."""
    return censored_median(side.value.dropna(), side.spent.dropna())


def verdict(sides: Mapping[str, pd.DataFrame]) -> Verdict:
    """Return which side is first.

    A rival is compared by pairs of trials with the same seed and repeat; where one of
    them missed, the ratio is the bound that it gives (`statistics.paired`).

    Args:
        sides: by the cell's name, what `verdicts.measured` returns.
    """
    values = {name: middle for name, side in sides.items() if (middle := median(side).value)}
    if not values:
        return Verdict(None, False, "")
    first, *others = sorted(values, key=lambda name: values[name])
    # Who never got there may have been stopped early: also a rival.
    others += [
        name for name, side in sides.items() if side.notna().any(axis=None) and name not in values
    ]
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


def _against(first: pd.DataFrame, rival: pd.DataFrame) -> tuple[Estimate | None, int]:
    found, _ = against(first, rival)
    return (ratio(found.values) if len(found.values) else None), found.bounded


def courses(cells: Mapping[str, pd.DataFrame]) -> list[Course]:
    """Return the cells of a group as straight lines: seconds after so many updates."""
    return [found for name, flat in cells.items() if (found := course(name, [flat]))]


def even(lines: Sequence[Course]) -> str:
    """Return who is first, and up to how many updates; compiling counted; empty for one line."""
    if len(lines) < 2:
        return ""
    always = "" if len(break_even(lines)) > 1 else ", however many"
    return who_is_first(lines) + always
