"""Figures with one row per cell: the time of an update, and the phases of the wall time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from echobench.analysis.curves import PHASES, phases
from echobench.analysis.pairs import SECONDS_PER_UPDATE, values
from echobench.present import figures
from echobench.trial.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASE_COLOURS = (*figures.COLOURS[:6], "#666666", "#BBBBBB")
ROW = 0.24
"""Height of a row in inches."""


class Span(NamedTuple):
    """Milliseconds of an update over seeds."""

    median: float
    smallest: float
    largest: float


def span(records: Sequence[Record]) -> Span | None:
    """Return the time of a cell's update; None where it was not measured."""
    times = 1e3 * values(records, SECONDS_PER_UPDATE)
    times = times[times > 0]
    return None if times.empty else Span(times.median(), times.min(), times.max())


def write_updates(path: Path, panels: figures.RecordPanels) -> None:
    """Write the time of an update: median, smallest and largest over seeds, fastest cell on top."""
    spans_of = _measured(panels, span, "times of updates")
    styles = figures.LineStyles(figures.names_in(panels))
    heights = [len(spans) + 1.6 for spans in spans_of.values()]
    words = figures.description(
        spans_of, _spans_in_words, ", ms an update, median [smallest, largest]"
    )
    size = (6.4, ROW * sum(heights) + 0.5)
    with figures.figure(path, "Time of an update", words, size) as drawing:
        axes = _stacked(drawing, heights, sharex=True)
        for panel, (title, spans) in zip(axes, spans_of.items(), strict=True):
            order = sorted(spans, key=lambda name: spans[name].median, reverse=True)
            for row, name in enumerate(order):
                middle, smallest, largest = spans[name]
                colour = styles(name)["color"]
                panel.plot([smallest, largest], [row, row], color=colour, linewidth=2.2)
                panel.plot(middle, row, marker="o", color=colour, markersize=5)
                figures.label(panel, f"{middle:.3g}", (largest, row), (7, 0))
            panel.set_yticks(range(len(order)), order)
            panel.set_ylim(-0.7, len(order) - 0.3)
            panel.set_xscale("log")
            panel.set_title(title, loc="left")
            panel.margins(x=0.12)
            figures.tidy(panel, axis="x")
        figures.plain_numbers(axes[-1].xaxis)
        axes[-1].set_xlabel("time of an update (ms): median, smallest and largest over seeds")


def _spans_in_words(spans: Mapping[str, Span]) -> list[str]:
    return [f"{n} {s.median:.3g} [{s.smallest:.3g}, {s.largest:.3g}]" for n, s in spans.items()]


def write_phases(path: Path, panels: figures.RecordPanels) -> None:
    """Write the mean seconds of each phase of the wall time, stacked."""
    from matplotlib.patches import Patch

    bars_of = _measured(panels, phases, "phases of the wall time")
    heights = [len(bars) + 1.8 for bars in bars_of.values()]
    words = figures.description(bars_of, _phases_in_words, "")
    colours = dict(zip(PHASES, PHASE_COLOURS, strict=True))
    size = (6.8, ROW * sum(heights) + 0.9)
    with figures.figure(path, "Where the wall time goes", words, size) as drawing:
        axes = _stacked(drawing, heights)
        for panel, (title, bars) in zip(axes, bars_of.items(), strict=True):
            names = list(bars)[::-1]
            ends = [0.0] * len(names)
            for phase, colour in colours.items():
                lengths = [bars[name][phase] for name in names]
                panel.barh(names, lengths, left=ends, color=colour, height=0.72, label=phase)
                ends = [a + b for a, b in zip(ends, lengths, strict=True)]
            for row, total in enumerate(ends):
                figures.label(panel, f"{total:.3g} s", (total, row), (4, 0))
            panel.set_xlim(0, 1.12 * max(ends))
            panel.set_title(title, loc="left")
            figures.tidy(panel, axis="x")
        axes[-1].set_xlabel("mean seconds from the process's start to the record")
        figures.legend(drawing, {phase: Patch(color=colour) for phase, colour in colours.items()})


def _phases_in_words(bars: Mapping[str, Mapping[str, float]]) -> list[str]:
    texts = []
    for name, seconds in bars.items():
        longest = max(seconds, key=lambda phase: seconds[phase])
        total = sum(seconds.values())
        texts.append(f"{name} {total:.3g} s, most of it {longest} ({seconds[longest]:.3g} s)")
    return texts


def _measured(
    panels: figures.RecordPanels,
    measure: Callable[[Sequence[Record]], figures.Value | None],
    quantity: str,
) -> dict[str, dict[str, figures.Value]]:
    """Return a measurement of each line; lines and panels without it are left out."""
    found = {
        panel: {name: value for name, value in lines.items() if value is not None}
        for panel, lines in figures.by_line(panels, measure).items()
    }
    figures.require(found.values(), quantity)
    return {panel: lines for panel, lines in found.items() if lines}


def _stacked(drawing: Figure, heights: Sequence[float], **more: Any) -> list[Axes]:
    """Return panels above each other, as high as their rows."""
    ratios = {"height_ratios": heights}
    axes = drawing.subplots(len(heights), 1, squeeze=False, gridspec_kw=ratios, **more)
    return list(axes[:, 0])
