"""The share of seeds at certified 100% by time: Kaplan-Meier's estimate, misses censored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from echobench.results.figures.panels import Lines, something, write_lines
from echobench.results.figures.style import Looks, plain_numbers, tidy
from echobench.results.frame import frame
from echobench.results.record import Record
from echobench.results.statistics import Floats, censored_median
from echobench.results.table import on_clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "train": "training",
    "compile": "compiling and training",
    "wall": "from the process's start",
}


class Curve(NamedTuple):
    """Shares that reached the target.

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


def curve(records: Sequence[Record], clock: str = "train") -> Curve:
    """Return the Kaplan-Meier estimate of the share that reached the target by a time.

    Args:
        records: of a cell.
        clock: what counts: see `table.on_clock`.
    """
    hits, censored = _times(records, clock)
    times = np.unique(hits)
    at_risk = np.array([(hits >= t).sum() + (censored >= t).sum() for t in times], float)
    events = np.array([(hits == t).sum() for t in times], float)
    left = np.cumprod(1 - events / at_risk) if len(times) else np.array([])
    return Curve(times, 1 - left, np.sort(censored), len(hits) + len(censored))


def _times(records: Sequence[Record], clock: str) -> tuple[Floats, Floats]:
    flat = frame(records)
    flat = flat[flat.status.isin(["reached", "missed", "timeout"])]
    seconds = on_clock(flat, clock).dropna()
    reached = (flat.status[seconds.index] == "reached").to_numpy(bool)
    values = seconds.to_numpy(float)
    return np.asarray(values[reached], float), np.asarray(values[~reached], float)


def write_survival(path: Path, panels: Mapping[str, Lines], clock: str = "train") -> None:
    """Write the figure: steps, with a mark where a trial was given up.

    Args:
        path: the file.
        panels: records by panel and line.
        clock: what counts into the time.

    Raises:
        UsageError: there is nothing to draw, or the file cannot be written.
    """
    every = [records for lines in panels.values() for records in lines.values()]
    something((curve(records, clock).n for records in every), "times to the target, or to a miss")

    def draw(panel: Axes, lines: Lines, looks: Looks) -> None:
        found = {name: curve(records, clock) for name, records in lines.items()}
        all_times = np.concatenate([np.concatenate([c.times, c.censored]) for c in found.values()])
        all_times = all_times[all_times > 0]
        if not len(all_times):
            panel.text(0.5, 0.5, "no times", transform=panel.transAxes, ha="center")
            return
        start, end = all_times.min() / 1.5, all_times.max() * 1.3
        for name, one in found.items():
            look = looks(name)
            if one.n:
                times = [start, *one.times, end]
                shares = [0.0, *one.shares, one.shares[-1] if len(one.shares) else 0.0]
                panel.step(times, shares, where="post", linewidth=1.5, **look)
            given_up = np.unique(one.censored)
            if len(given_up):
                place = np.searchsorted(one.times, given_up, side="right")
                heights = np.concatenate([[0.0], one.shares])[place]
                panel.plot(given_up, heights, "|", color=look["color"], markersize=10, zorder=5)
        panel.set_xscale("log")
        panel.set_xlim(start, end)
        panel.set_ylim(-0.02, 1.02)
        panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        plain_numbers(panel.xaxis)
        tidy(panel)

    write_lines(
        path,
        panels,
        "Share of seeds at certified 100% by time",
        _message(panels, clock),
        draw,
        (f"seconds, {LABELS[clock]}", "seeds at certified 100%"),
    )


def _message(panels: Mapping[str, Lines], clock: str) -> str:
    said = []
    for panel, lines in panels.items():
        each = []
        for name, records in lines.items():
            hits, censored = _times(records, clock)
            half = censored_median(hits, censored).value
            known = "" if half is None else f", half of them by {half:.3g} s"
            each.append(f"{name} {len(hits)} of {len(hits) + len(censored)} seeds{known}")
        said.append(f"{panel}: {'; '.join(each)}")
    return ". ".join(said)
