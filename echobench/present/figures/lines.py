"""Figures of curves: learning, the share of seeds at the target, and the break-even."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from echobench.analysis.curves import AXES, Learning, arrival, learning
from echobench.analysis.footnotes import Course, course, leads, who_is_first
from echobench.analysis.frame import frame
from echobench.analysis.pairs import hits_and_misses
from echobench.analysis.statistics import censored_median
from echobench.present import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 400
"""Points of a line, at most."""
MOST_COLUMNS = 3
"""Panels side by side, at most."""
FEWEST_UPDATES = 1000
"""Least extent of the break-even's axis."""
CLOCK_LABELS = {
    "train": "training",
    "compile": "compiling and training",
    "wall": "from the process's start",
}


def write_learning(path: Path, panels: figures.RecordPanels) -> None:
    """Write accuracy by training time and by updates: median and middle half of the seeds."""
    from matplotlib.lines import Line2D

    curves = {axis: figures.by_line(panels, partial(learning, axis=axis)) for axis in AXES}
    every = [panel.values() for axis in curves.values() for panel in axis.values()]
    figures.require(chain(*every), "evaluations")
    names = figures.names_in(panels)
    styles = figures.LineStyles(names)
    title = "Accuracy on fresh sequences by training time and by updates"
    words = figures.description(curves["updates"], _learning_in_words, ", median accuracy")
    with figures.figure(path, title, words, (7.2, 2.6 * len(panels) + 0.5)) as drawing:
        rows = drawing.subplots(len(panels), len(AXES), squeeze=False, sharey=True)
        for row, name in zip(rows, panels, strict=True):
            for panel, (axis, axis_label) in zip(row, AXES.items(), strict=True):
                # Evaluations come at the same updates of each seed, but not at the same seconds.
                _draw_learning(panel, curves[axis][name], styles, steps=axis == "seconds")
                panel.set_xlabel(axis_label)
            row[0].set_title(name, loc="left")
            row[0].set_ylabel("accuracy")
        figures.legend(drawing, {name: Line2D([], [], **styles(name)) for name in names})


def _thinned(curve: Learning) -> Learning:
    """Return a curve with no more points than can be seen."""
    if len(curve.at) <= MOST_POINTS:
        return curve
    kept = np.unique(np.geomspace(1, len(curve.at), MOST_POINTS).astype(int) - 1)
    return Learning(*(column[kept] for column in curve))


def _draw_learning(
    panel: Axes, curves: Mapping[str, Learning | None], styles: figures.LineStyles, *, steps: bool
) -> None:
    _share_axis(panel, low=0)
    drawn = {name: _thinned(curve) for name, curve in curves.items() if curve}
    for name, curve in drawn.items():
        style, shape = styles(name), "steps-post" if steps else None
        panel.plot(curve.at, curve.median, linewidth=1.4, drawstyle=shape, **style)
        band: dict[str, Any] = {"step": "post" if steps else None, "color": style["color"]}
        panel.fill_between(curve.at, curve.low, curve.high, alpha=0.15, linewidth=0, **band)
    if drawn:
        panel.set_xscale("log")
        figures.plain_numbers(panel.xaxis)
    else:
        panel.set_xticks([])
        _note(panel, "not recorded")
    figures.tidy(panel)


def _learning_in_words(curves: Mapping[str, Learning | None]) -> list[str]:
    return [
        f"{name} ends at {curve.median[-1]:.1%} after {curve.at[-1]:,.0f} updates"
        for name, curve in curves.items()
        if curve
    ]


def write_survival(path: Path, panels: figures.RecordPanels, clock: str = "train") -> None:
    """Write the share of seeds at certified 100% by time (Kaplan-Meier), misses marked."""
    frames = figures.by_line(panels, frame)
    flats = [flat for lines in frames.values() for flat in lines.values()]
    seconds = (len(some) for flat in flats for some in hits_and_misses(flat, clock=clock))
    figures.require(seconds, "times to the target, or to a miss")

    def draw(panel: Axes, lines: Mapping[str, pd.DataFrame], styles: figures.LineStyles) -> None:
        curves = {name: arrival(flat, clock) for name, flat in lines.items()}
        seconds = np.concatenate([np.concatenate([c.times, c.censored]) for c in curves.values()])
        seconds = seconds[seconds > 0]
        if not len(seconds):
            _note(panel, "no times")
            return
        start, end = seconds.min() / 1.5, seconds.max() * 1.3
        for name, curve in curves.items():
            style = styles(name)
            if curve.n:
                at = [start, *curve.times, end]
                shares = [0.0, *curve.shares, curve.shares[-1] if len(curve.shares) else 0.0]
                panel.step(at, shares, where="post", linewidth=1.5, **style)
            misses = np.unique(curve.censored)
            if len(misses):
                before = np.searchsorted(curve.times, misses, side="right")
                heights = np.concatenate([[0.0], curve.shares])[before]
                panel.plot(misses, heights, "|", color=style["color"], markersize=10, zorder=5)
        panel.set_xscale("log")
        panel.set_xlim(start, end)
        _share_axis(panel, low=-0.02)
        figures.plain_numbers(panel.xaxis)
        figures.tidy(panel)

    def in_words(lines: Mapping[str, pd.DataFrame]) -> list[str]:
        texts = []
        for name, flat in lines.items():
            hits, misses = hits_and_misses(flat, clock=clock)
            half = censored_median(hits, misses).value
            by = "" if half is None else f", half of them by {half:.3g} s"
            texts.append(f"{name} {len(hits)} of {len(hits) + len(misses)} seeds{by}")
        return texts

    _write_panels(
        path,
        frames,
        "Share of seeds at certified 100% by time",
        figures.description(frames, in_words, ""),
        draw,
        (f"seconds, {CLOCK_LABELS[clock]}", "seeds at certified 100%"),
    )


def write_break_even(path: Path, panels: figures.RecordPanels) -> None:
    """Write seconds by updates, compiling counted, the stretches shaded where another overtakes."""
    frames = figures.by_line(panels, frame)
    every = (course(name, [flat]) for lines in frames.values() for name, flat in lines.items())
    figures.require(every, "times of compiling and of updates")

    def draw(panel: Axes, lines: Mapping[str, pd.DataFrame], styles: figures.LineStyles) -> None:
        medians = [course(name, [flat]) for name, flat in lines.items()]
        courses: list[Course] = [line for line in medians if line is not None]
        if not courses:
            _note(panel, "no times")
            return
        found = leads(lines)
        # One cell before and after, and between the two both are possible.
        overtaking = [
            (between.start, after.start, after.names[0])
            for before, between, after in zip(found, found[1:], found[2:], strict=False)
            if len(before.names) == len(after.names) == 1
        ]
        end = 10 * max([FEWEST_UPDATES / 10, *(high for _, high, _ in overtaking)])
        updates = np.geomspace(1, end, 200)
        for line in courses:
            seconds = line.compile_s + updates * line.seconds_per_update
            panel.plot(updates, seconds, linewidth=1.4, **styles(line.name))
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(1, end)
        for number, (low, high, name) in enumerate(overtaking):
            (line,) = (line for line in courses if line.name == name)
            middle = (low * high) ** 0.5
            height = line.compile_s + middle * line.seconds_per_update
            panel.axvspan(low, high, color=styles(name)["color"], alpha=0.25, linewidth=0)
            at, gap = (high, height), (4, 6 if number % 2 else -11)
            figures.label(panel, f"{low:,.0f} to {high:,.0f}", at, gap)
        figures.plain_numbers(panel.xaxis, "{:,.0f}")
        figures.plain_numbers(panel.yaxis)
        figures.tidy(panel)

    def in_words(lines: Mapping[str, pd.DataFrame]) -> list[str]:
        return [who_is_first(lines) or "too few trials to say who is first"]

    _write_panels(
        path,
        frames,
        "Compiling and updates: who is first up to how many",
        figures.description(frames, in_words, ", compiling counted"),
        draw,
        ("updates", "compiling and updates (s)"),
    )


def _write_panels(
    path: Path,
    panels: figures.Panels[figures.Value],
    title: str,
    words: str,
    draw: Callable[[Axes, Mapping[str, figures.Value], figures.LineStyles], None],
    labels: tuple[str, str],
) -> None:
    """Write panels side by side, one legend above them; `draw` draws one panel's lines."""
    from matplotlib.lines import Line2D

    columns = 2 if len(panels) == 4 else min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    names = figures.names_in(panels)
    styles = figures.LineStyles(names)
    with figures.figure(path, title, words, (max(4.6, 3.4 * columns), 2.8 * rows + 0.5)) as drawing:
        axes = list(drawing.subplots(rows, columns, squeeze=False).flat)
        for panel, (name, lines) in zip(axes, panels.items(), strict=False):
            draw(panel, lines, styles)
            panel.set_title(name, loc="left")
            panel.set_xlabel(labels[0])
            panel.set_ylabel(labels[1])
        for panel in axes[len(panels) :]:
            panel.set_visible(False)
        figures.legend(drawing, {name: Line2D([], [], **styles(name)) for name in names})


def _share_axis(panel: Axes, low: float) -> None:
    panel.set_ylim(low, 1.02)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])


def _note(panel: Axes, text: str) -> None:
    """Write in an empty panel why it is empty."""
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center")
