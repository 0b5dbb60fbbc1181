"""Accuracy against training time and against updates: median and middle half of the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from echobench.analysis.curves import AXES, Learning, learning
from echobench.present.figures.panels import Lines, names_in, something
from echobench.present.figures.style import Looks, figure, legend, plain_numbers, tidy
from echobench.trial.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 400
"""Points of a line, at most."""


def write_learning(path: Path, panels: Mapping[str, Lines]) -> None:
    """Write the figure: a row a task and division, time at the left, updates at the right.

    Args:
        path: the file.
        panels: records by panel and line.

    Raises:
        UsageError: there is nothing to draw, or the file cannot be written.
    """
    from matplotlib.lines import Line2D

    every = [records for lines in panels.values() for records in lines.values()]
    found = ([_thinned(records, axis) for axis in AXES] for records in every)
    something((any(one is not None for one in curves) for curves in found), "evaluations")
    looks, names = Looks(names_in(panels)), names_in(panels)
    title = "Accuracy on fresh sequences by training time and by updates"
    with figure(path, title, _message(panels), figsize=(7.2, 2.6 * len(panels) + 0.5)) as sheet:
        rows = sheet.subplots(len(panels), len(AXES), squeeze=False, sharey=True)
        for row, (name, lines) in zip(rows, panels.items(), strict=True):
            for panel, (axis, label) in zip(row, AXES.items(), strict=True):
                _draw(panel, lines, axis, looks)
                panel.set_xlabel(label)
            row[0].set_title(name, loc="left")
            row[0].set_ylabel("accuracy")
        lines_of = {n: Line2D([], [], **looks(n)) for n in names}
        legend(sheet, lines_of, 7.2)


def _thinned(records: Sequence[Record], axis: str) -> Learning | None:
    """Return the curve with as many points as can be seen."""
    found = learning(records, axis)
    if found is None or len(found.at) <= MOST:
        return found
    kept = np.unique(np.geomspace(1, len(found.at), MOST).astype(int) - 1)
    return Learning(*(column[kept] for column in found))


def _draw(panel: Axes, lines: Lines, axis: str, looks: Looks) -> None:
    panel.set_ylim(0, 1.02)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    found = {n: c for n, records in lines.items() if (c := _thinned(records, axis)) is not None}
    for name, one in found.items():
        look = looks(name)
        # Evaluations are at the same updates, and not at the same seconds.
        timed = axis == "seconds"
        panel.plot(
            one.at, one.median, linewidth=1.4, drawstyle="steps-post" if timed else None, **look
        )
        panel.fill_between(
            one.at,
            one.low,
            one.high,
            step="post" if timed else None,
            color=look["color"],
            alpha=0.15,
            linewidth=0,
        )
    if found:
        panel.set_xscale("log")
        plain_numbers(panel.xaxis)
    else:
        panel.set_xticks([])
        panel.text(0.5, 0.5, "not recorded", transform=panel.transAxes, ha="center")
    tidy(panel)


def _message(panels: Mapping[str, Lines]) -> str:
    said = []
    for panel, lines in panels.items():
        each = []
        for name, records in lines.items():
            one = learning(records, "updates")
            if one is not None:
                each.append(f"{name} ends at {one.median[-1]:.1%} after {one.at[-1]:,.0f} updates")
        said.append(f"{panel}, median accuracy: {'; '.join(each)}")
    return ". ".join(said)
