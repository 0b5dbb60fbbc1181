"""The figure of what an update costs by size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from echobench.analysis.scaling import Curve, remarks
from echobench.present.figures.style import COLOURS, MARKERS, figure, spread, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_sizes(
    path: Path, drawn: Mapping[str, Mapping[str, Curve]], base: Mapping[str, int]
) -> None:
    """Write the figure of what an update costs by size: a panel an axis, a line a backend.

    Args:
        path: the file, its ending one of `FORMS`.
        drawn: seconds by axis, by name, by size (`echobench.analysis.scaling.curves`).
        base: where on the other axes each panel lies.

    Raises:
        UsageError: the file cannot be written.
    """
    said = ". ".join(remarks(drawn))
    with figure(
        path, "What an update costs by size", said, figsize=(4.0 * len(drawn), 3.8)
    ) as sheet:
        panels = sheet.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        names = sorted({name for lines in drawn.values() for name in lines})
        for panel, (axis, lines) in zip(panels, drawn.items(), strict=True):
            _panel(panel, axis, lines, names)
            others = ", ".join(f"{size:,} {name}" for name, size in base.items() if name != axis)
            panel.set_title(f"at {others}" if others else "", loc="left")
        panels[0].set_ylabel("time of an update (ms)")
        low, high = panels[0].get_ylim()
        for panel, lines in zip(panels, drawn.values(), strict=True):
            _name_lines(panel, lines, names, low, high)


def _panel(panel: Axes, axis: str, lines: Mapping[str, Curve], names: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    for name, line in lines.items():
        sizes = sorted(line)
        panel.plot(
            sizes,
            [line[size] * 1e3 for size in sizes],
            color=_colour(names, name),
            marker=MARKERS[(names.index(name) + names.index(name) // len(COLOURS)) % len(MARKERS)],
            markersize=5,
            linewidth=1.4,
        )
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    # Only what was measured is a tick.
    panel.set_xticks(sorted({size for line in lines.values() for size in line}))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,g}"))
    panel.set_xlabel(axis)
    tidy(panel)


def _name_lines(
    panel: Axes, lines: Mapping[str, Curve], names: list[str], low: float, high: float
) -> None:
    """Write each line's name where it ends, none over another.

    A line that ends before others has its name above that place, the others beside the panel.

    Args:
        panel: drawn.
        lines: seconds by size, by name.
        names: of all panels' lines.
        low: milliseconds at the panel's bottom.
        high: those at its top.
    """
    last = max(size for line in lines.values() for size in line)
    ends = {name: _height(line, low, high) for name, line in lines.items() if last in line}
    order = sorted(ends, key=lambda name: ends[name])
    beside = dict(zip(order, spread([ends[name] for name in order]), strict=True))
    for name, line in lines.items():
        whole = last in line
        panel.annotate(
            name,
            (1.0, beside[name]) if whole else (max(line), line[max(line)] * 1e3),
            xycoords="axes fraction" if whole else "data",
            xytext=(5, 0) if whole else (0, 6),
            textcoords="offset points",
            va="center" if whole else "bottom",
            ha="left" if whole else "center",
            color=_colour(names, name),
        )


def _height(line: Curve, low: float, high: float) -> float:
    """Return where a line ends, in heights of a panel from `low` to `high` milliseconds."""
    return math.log(line[max(line)] * 1e3 / low) / math.log(high / low)


def _colour(names: list[str], name: str) -> str:
    return COLOURS[names.index(name) % len(COLOURS)]
