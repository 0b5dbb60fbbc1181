"""What is ahead of a run, as a table for a terminal."""

from __future__ import annotations

from rich.console import RenderableType

from echobench.harness.outlook import Outlook, total_text
from echobench.present.terminal import drawn, line_of
from echobench.text import duration

NAMES = ("task", "backend", "engine", "division")


def outlook_table(outlook: Outlook, width: int) -> list[RenderableType]:
    """Return a table and the lines below it, to be printed one after the other.

    It has a row for each task and backend; engine and division where they vary.
    """
    rows = outlook.rows()
    varying = [n for n in NAMES[2:] if len({getattr(row, n) for row in rows}) > 1]
    # Peers have engines of their own: a backend's only one says nothing.
    per_backend = {(row.backend, row.engine) for row in rows}
    if "engine" in varying and len(per_backend) == len({row.backend for row in rows}):
        varying.remove("engine")
    lines = [
        {
            **{name: getattr(row, name) for name in (*NAMES[:2], *varying)},
            "to run": f"{row.to_run:,}",
            "done": f"{row.done:,}",
            "expected": _expected(row.to_run, row.expected_s),
            "at worst": duration(row.worst_s) if row.to_run else "",
        }
        for row in rows
    ]
    return [
        drawn(lines, width, [*NAMES[:2], *varying], ()),
        *(line_of(note, "dim") for note in outlook.notes()),
        *_totals(outlook),
    ]


def _totals(outlook: Outlook) -> list[RenderableType]:
    lines: list[RenderableType] = [line_of(outlook.total)]
    if outlook.most is not None and outlook.most.trials:
        most = total_text(outlook.most, outlook.budget_s)
        lines.append(line_of(f"up to {most}, if the last look is needed"))
    if outlook.at_limits is not None:
        lines.append(line_of(outlook.at_limits))
    return lines


def _expected(to_run: int, seconds: float | None) -> str:
    if not to_run:
        return ""
    return "unknown" if seconds is None else duration(seconds)
