"""The share of seeds at certified 100% by time: Kaplan-Meier's estimate, misses censored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from echobench.analysis.curves import Arrival, arrival, times
from echobench.analysis.frame import frame
from echobench.analysis.statistics import censored_median
from echobench.present.figures.panels import Lines, something, write_lines
from echobench.present.figures.style import Looks, plain_numbers, tidy
from echobench.trial.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "train": "training",
    "compile": "compiling and training",
    "wall": "from the process's start",
}


def curve(records: Sequence[Record], clock: str) -> Arrival:
    """Return the share of a cell's trials that reached the target by each time."""
    return arrival(frame(records), clock)


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
            hits, censored = times(frame(records), clock)
            half = censored_median(hits, censored).value
            known = "" if half is None else f", half of them by {half:.3g} s"
            each.append(f"{name} {len(hits)} of {len(hits) + len(censored)} seeds{known}")
        said.append(f"{panel}: {'; '.join(each)}")
    return ". ".join(said)
