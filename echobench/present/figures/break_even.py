"""Who is first after how many updates, compiling counted: straight lines, and where they cross."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from echobench.analysis.footnotes import Course, break_even, who_is_first
from echobench.present.figures.panels import Lines, something, write_lines
from echobench.present.figures.style import Looks, plain_numbers, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 1000
"""Updates that the axis holds at least."""


def courses(lines: Lines) -> list[Course]:
    """Return the lines of cells: their median compile time and median time of an update."""
    found = []
    for name, records in lines.items():
        compiling = [r.compile_s for r in records if r.compile_s is not None]
        updating = [r.seconds_per_update for r in records if r.seconds_per_update is not None]
        if compiling and updating:
            found.append(Course(name, median(compiling), median(updating)))
    return found


def write_break_even(path: Path, panels: Mapping[str, Lines]) -> None:
    """Write the figure: seconds by updates, a dot where another becomes the first.

    Args:
        path: the file.
        panels: records by panel and line.

    Raises:
        UsageError: there is nothing to draw, or the file cannot be written.
    """
    something(map(courses, panels.values()), "times of compiling and of updates")

    def draw(panel: Axes, lines: Lines, looks: Looks) -> None:
        found = courses(lines)
        if not found:
            panel.text(0.5, 0.5, "no times", transform=panel.transAxes, ha="center")
            return
        overtaking = break_even(found)[1:]
        end = 10 * max([FEWEST / 10, *(at for at, _ in overtaking)])
        updates = np.geomspace(1, end, 200)
        for one in found:
            seconds = one.compile_s + updates * one.seconds_per_update
            panel.plot(updates, seconds, linewidth=1.4, **looks(one.name))
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(1, end)
        for place, (at, one) in enumerate(overtaking):
            height = one.compile_s + at * one.seconds_per_update
            panel.plot(at, height, "o", color=looks(one.name)["color"], markersize=6, zorder=5)
            panel.annotate(
                f"{at:,.0f}",
                (at, height),
                xytext=(4, 6 if place % 2 else -11),
                textcoords="offset points",
                fontsize=7.5,
            )
        plain_numbers(panel.xaxis, "{:,.0f}")
        plain_numbers(panel.yaxis)
        tidy(panel)

    write_lines(
        path,
        panels,
        "Compiling and updates: who is first up to how many",
        _message(panels),
        draw,
        ("updates", "compiling and updates (s)"),
    )


def _message(panels: Mapping[str, Lines]) -> str:
    said = []
    for panel, lines in panels.items():
        found = courses(lines)
        if found:
            said.append(f"{panel}, compiling counted: {who_is_first(found)}")
    return ". ".join(said)
