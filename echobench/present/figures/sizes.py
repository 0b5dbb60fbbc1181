"""The figure of what an update costs by size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from echobench.analysis.scaling import Axes as Sizes
from echobench.analysis.scaling import Curve, curves, remarks
from echobench.present.figures import COLOURS, figure, names_in, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MIN_DISTANCE = 0.06
"""Least distance of two names beside a panel, as a share of its height."""


def write_sizes(path: Path, measured: Sizes, base: Mapping[str, int]) -> None:
    """Write what an update costs by size: a panel per axis of the study, a line per backend.

    `base` is the size on each axis while another one varies.
    """
    words = ". ".join(remarks(measured))
    panels = curves(measured)
    names = names_in(panels)
    size = (4.0 * len(panels), 3.8)
    with figure(path, "What an update costs by size", words, size) as drawing:
        axes = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (axis, lines) in zip(axes, panels.items(), strict=True):
            _draw(panel, axis, lines, names)
            others = ", ".join(f"{size:,} {name}" for name, size in base.items() if name != axis)
            panel.set_title(f"at {others}" if others else "", loc="left")
        axes[0].set_ylabel("time of an update (ms)")
        low, high = axes[0].get_ylim()
        for panel, lines in zip(axes, panels.values(), strict=True):
            _name_lines(panel, lines, names, low, high)


def _draw(panel: Axes, axis: str, lines: Mapping[str, Curve], names: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    for name, line in lines.items():
        sizes = sorted(line)
        number = names.index(name)
        panel.plot(
            sizes,
            [line[size] * 1e3 for size in sizes],
            color=_colour(names, name),
            marker=MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],
            markersize=5,
            linewidth=1.4,
        )
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    # A tick for each measured size, and no other.
    panel.set_xticks(sorted({size for line in lines.values() for size in line}))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,g}"))
    panel.set_xlabel(axis)
    tidy(panel)


def _name_lines(
    panel: Axes, lines: Mapping[str, Curve], names: list[str], low: float, high: float
) -> None:
    """Write each line's name at its end, without overlap; `low` and `high` are the panel's ends.

    The names of lines that reach the largest size stand beside the panel; the name of a
    line that ends earlier stands above its end.
    """
    last = max(size for line in lines.values() for size in line)
    ends = {name: _height(line, low, high) for name, line in lines.items() if last in line}
    order = sorted(ends, key=lambda name: ends[name])
    beside = dict(zip(order, separated([ends[name] for name in order]), strict=True))
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
    """Return the height of a line's end, 0 at `low` milliseconds and 1 at `high`."""
    return math.log(line[max(line)] * 1e3 / low) / math.log(high / low)


def _colour(names: list[str], name: str) -> str:
    return COLOURS[names.index(name) % len(COLOURS)]


def separated(heights: list[float]) -> list[float]:
    """Return ascending heights of 0 to 1, moved until `MIN_DISTANCE` apart and below 1.

    Heights that are too close move together, about their mean.
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while (
            len(groups) > 1
            and _positions(groups[-1])[0] - _positions(groups[-2])[-1] < MIN_DISTANCE
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [height for group in groups for height in _positions(group)]


def _positions(group: list[float]) -> list[float]:
    first = sum(height - n * MIN_DISTANCE for n, height in enumerate(group)) / len(group)
    first = min(first, 1.0 - (len(group) - 1) * MIN_DISTANCE)
    return [first + n * MIN_DISTANCE for n in range(len(group))]
