"""Records by panel and by line: a panel a task and division, a line a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from echobench.analysis.frame import cell_of
from echobench.analysis.scaling import line_names
from echobench.errors import UsageError
from echobench.present.figures.style import Looks, figure, legend, short
from echobench.trial.record import Record, machine_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Found = TypeVar("Found")
Lines = Mapping[str, Sequence[Record]]
"""Records by the name of their cell."""
COLUMNS = 3
"""Panels side by side, at most."""


def panels_of(records: Sequence[Record]) -> dict[str, dict[str, list[Record]]]:
    """Return records by task and division, and in each by cell, every cell by a name of its own.

    Args:
        records: the latest of each trial; those that failed the parity gate are left out.
    """
    kept = [record for record in records if not record.failed_parity]
    found: dict[str, dict[str, dict[str, list[Record]]]] = defaultdict(dict)
    for record, name in zip(kept, line_names(kept), strict=True):
        cell = cell_of(record.trial) + machine_class(record.provenance.get("machine"))
        lines = found[short(f"{record.task} ({record.division})")]
        lines.setdefault(short(name), {}).setdefault(cell, []).append(record)
    return {
        panel: {
            name if len(cells) == 1 else f"{name} ({number})": cell
            for name, cells in sorted(lines.items())
            for number, cell in enumerate(cells.values(), start=1)
        }
        for panel, lines in sorted(found.items())
    }


def names_in(panels: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the names of all panels' lines, in order."""
    return sorted({name for lines in panels.values() for name in lines})


def of_each(
    panels: Mapping[str, Lines], what: Callable[[Sequence[Record]], Found | None]
) -> dict[str, dict[str, Found]]:
    """Return what there is of each line, by panel and line; without lines and panels of nothing.

    Args:
        panels: records by panel and line.
        what: of a line's records; None where there is nothing.
    """
    found = {
        panel: {n: one for n, records in lines.items() if (one := what(records)) is not None}
        for panel, lines in panels.items()
    }
    return {panel: lines for panel, lines in found.items() if lines}


def something(found: Iterable[object], what: str) -> None:
    """Raise UsageError unless there is something to draw.

    Args:
        found: what each panel has; empty where it has nothing.
        what: it should be.
    """
    if not any(found):
        raise UsageError(f"plot: expected records with {what}; found none")


def write_lines(
    path: Path,
    panels: Mapping[str, Lines],
    title: str,
    message: str,
    draw: Callable[[Axes, Lines, Looks], None],
    labels: tuple[str, str],
) -> None:
    """Write a figure of lines: panels side by side, one legend above them.

    Args:
        path: the file.
        panels: what `panels_of` returns.
        title: what it shows.
        message: what it says, in words.
        draw: draws one panel's lines.
        labels: of the axes.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.lines import Line2D

    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    looks = Looks(names_in(panels))
    width = max(4.6, 3.4 * columns)
    with figure(path, title, message, figsize=(width, 2.8 * rows + 0.5)) as sheet:
        axes = list(sheet.subplots(rows, columns, squeeze=False).flat)
        for panel, (name, lines) in zip(axes, panels.items(), strict=False):
            draw(panel, lines, looks)
            panel.set_title(name, loc="left")
            panel.set_xlabel(labels[0])
            panel.set_ylabel(labels[1])
        for panel in axes[len(panels) :]:
            panel.set_visible(False)
        legend(sheet, {n: Line2D([], [], **looks(n)) for n in names_in(panels)}, width)
