"""Where the wall time goes: the phases of the ledger, stacked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from echobench.analysis.curves import PHASES, phases
from echobench.present.figures.panels import Lines, of_each, something
from echobench.present.figures.style import COLOURS, figure, legend, tidy

SHADES = (*COLOURS[:6], "#666666", "#BBBBBB")


def write_phases(path: Path, panels: Mapping[str, Lines]) -> None:
    """Write the figure: a panel a task and division, a bar a cell.

    Args:
        path: the file.
        panels: records by panel and line.

    Raises:
        UsageError: there is nothing to draw, or the file cannot be written.
    """
    from matplotlib.patches import Patch

    found = of_each(panels, phases)
    something(found.values(), "phases of the wall time")
    heights = [len(bars) + 1.8 for bars in found.values()]
    size = (6.8, 0.24 * sum(heights) + 0.9)
    with figure(path, "Where the wall time goes", _message(found), figsize=size) as sheet:
        axes = sheet.subplots(len(found), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[
            :, 0
        ]
        for panel, (title, bars) in zip(axes, found.items(), strict=True):
            names = list(bars)[::-1]
            starts = [0.0] * len(names)
            for phase, shade in zip(PHASES, SHADES, strict=True):
                lengths = [bars[name][phase] for name in names]
                panel.barh(names, lengths, left=starts, color=shade, height=0.72, label=phase)
                starts = [a + b for a, b in zip(starts, lengths, strict=True)]
            for row, total in enumerate(starts):
                panel.annotate(
                    f"{total:.3g} s",
                    (total, row),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7.5,
                )
            panel.set_xlim(0, 1.12 * max(starts))
            panel.set_title(title, loc="left")
            tidy(panel, axis="x")
        axes[-1].set_xlabel("mean seconds from the process's start to the record")
        legend(sheet, {p: Patch(color=s) for p, s in zip(PHASES, SHADES, strict=True)}, 6.8)


def _message(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    said = []
    for panel, bars in found.items():
        each = []
        for name, spent in bars.items():
            most = max(spent, key=lambda phase: spent[phase])
            total = sum(spent.values())
            each.append(f"{name} {total:.3g} s, most of it {most} ({spent[most]:.3g} s)")
        said.append(f"{panel}: {'; '.join(each)}")
    return ". ".join(said)
