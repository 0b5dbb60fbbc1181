"""What an update takes: median, smallest and largest over seeds, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from echobench.present.figures.panels import Lines, names_in, of_each, something
from echobench.present.figures.style import Looks, figure, plain_numbers, tidy
from echobench.trial.record import Record


class Span(NamedTuple):
    """Milliseconds of an update over seeds."""

    middle: float
    least: float
    most: float


def span(records: Sequence[Record]) -> Span | None:
    """Return what an update of a cell takes; None where it was not measured."""
    values = [1e3 * r.seconds_per_update for r in records if r.seconds_per_update]
    return Span(median(values), min(values), max(values)) if values else None


def write_updates(path: Path, panels: Mapping[str, Lines]) -> None:
    """Write the figure: a panel a task and division, a row a cell, the quickest above.

    Args:
        path: the file.
        panels: records by panel and line.

    Raises:
        UsageError: there is nothing to draw, or the file cannot be written.
    """
    found = of_each(panels, span)
    something(found.values(), "times of updates")
    said = ". ".join(
        f"{panel}, ms an update: "
        + "; ".join(f"{n} {s.middle:.3g} [{s.least:.3g}, {s.most:.3g}]" for n, s in spans.items())
        for panel, spans in found.items()
    )
    looks = Looks(names_in(panels))
    heights = [len(spans) + 1.6 for spans in found.values()]
    size = (6.4, 0.24 * sum(heights) + 0.5)
    with figure(path, "Time of an update", said, figsize=size) as sheet:
        axes = sheet.subplots(
            len(found), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        for panel, (title, spans) in zip(axes, found.items(), strict=True):
            order = sorted(spans, key=lambda name: spans[name].middle, reverse=True)
            for row, name in enumerate(order):
                one, look = spans[name], looks(name)
                panel.plot([one.least, one.most], [row, row], color=look["color"], linewidth=2.2)
                panel.plot(one.middle, row, marker="o", color=look["color"], markersize=5)
                panel.annotate(
                    f"{one.middle:.3g}",
                    (one.most, row),
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7.5,
                )
            panel.set_yticks(range(len(order)), order)
            panel.set_ylim(-0.7, len(order) - 0.3)
            panel.set_xscale("log")
            panel.set_title(title, loc="left")
            panel.margins(x=0.12)
            tidy(panel, axis="x")
        plain_numbers(axes[-1].xaxis)
        axes[-1].set_xlabel("time of an update (ms): median, smallest and largest over seeds")
