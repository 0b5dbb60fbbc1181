"""Figures of what is recorded, drawn with matplotlib, which is an extra."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from echobench.errors import UsageError
from echobench.results.sizes import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("svg", "png", "pdf")
# Okabe and Ito (2008), told apart by colour-blind readers too; not its yellow, pale on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "xtick.labelsize": 8.0,
    "svg.fonttype": "none",  # text stays text: searched, read aloud, small
    "svg.hashsalt": "echobench",  # the same figure is the same bytes
}
NEAREST = 0.06
"""Least distance of two names beside a panel, in its heights."""


def form_of(path: Path) -> str:
    """Return what a figure's file is: one of `FORMS`.

    Raises:
        UsageError: the file's name says something else.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise UsageError(
            f"--output: expected a file that ends in .{', .'.join(FORMS[:-1])} or .{FORMS[-1]}; "
            f"received {str(path)!r}"
        )
    return form


def write_sizes(
    path: Path, drawn: Mapping[str, Mapping[str, Curve]], base: Mapping[str, int]
) -> None:
    """Write the figure of what an update costs by size: a panel an axis, a line a backend.

    Args:
        path: the file, its ending one of `FORMS`.
        drawn: seconds by axis, by name, by size (`echobench.results.sizes.curves`).
        base: where on the other axes each panel lies.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # not the user's
        figure = Figure(figsize=(4.0 * len(drawn), 3.8), layout="constrained")
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        names = sorted({name for lines in drawn.values() for name in lines})
        for panel, (axis, lines) in zip(panels, drawn.items(), strict=True):
            _panel(panel, axis, lines, names)
            others = ", ".join(f"{size:,} {name}" for name, size in base.items() if name != axis)
            panel.set_title(f"at {others}" if others else "", loc="left")
        panels[0].set_ylabel("time of an update (ms)")
        low, high = panels[0].get_ylim()
        for panel, lines in zip(panels, drawn.values(), strict=True):
            _name_lines(panel, lines, names, low, high)
        _save(figure, path)


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
    panel.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


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


def spread(heights: list[float]) -> list[float]:
    """Return ascending heights of 0 to 1, moved as keeps them `NEAREST` apart and below 1.

    Those that would touch move together, about their mean.
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _placed(groups[-1])[0] - _placed(groups[-2])[-1] < NEAREST:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [height for group in groups for height in _placed(group)]


def _placed(group: list[float]) -> list[float]:
    first = sum(height - place * NEAREST for place, height in enumerate(group)) / len(group)
    first = min(first, 1.0 - (len(group) - 1) * NEAREST)
    return [first + place * NEAREST for place in range(len(group))]


def _colour(names: list[str], name: str) -> str:
    return COLOURS[names.index(name) % len(COLOURS)]


def _save(figure: Figure, path: Path) -> None:
    form = form_of(path)
    # No dates: the same figure is the same bytes.
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format=form, dpi=160, metadata=dates[form])
    except OSError as error:
        raise UsageError(
            f"--output {path}: expected a file that can be written; {error.strerror}"
        ) from error
