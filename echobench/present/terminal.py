"""Lines as a table for a terminal, however narrow it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from echobench.text import plain

DISPENSABLE = (
    "of limit", "sequences/s", "wall", "compile", "error bound", "units", "epochs", "exact match",
    "epochs to target", "updates to target", "accuracy", "ms/update",
)  # fmt: skip # one line reads better
MARK = "* "
"""What the best figure of its group begins with."""
BEST = "bold green"
WRAPPED = {"note": 22, "machine": 24}
"""Columns of sentences, which wrap, and how narrow they may become."""
NAMES = {"task", "backend", "engine", "division", "device"}
"""Columns that are aligned left in every table."""
Lines = Sequence[Mapping[str, str]]


def drawn(
    lines: Lines,
    width: int,
    names: Sequence[str],
    dispensable: Sequence[str] = DISPENSABLE,
) -> RenderableType:
    """Return lines as a table for a terminal of `width` columns.

    Columns that do not fit are left out, the least important first, and named below the
    table. Where that is not enough, names that all rows share and then notes stand below
    it, and intervals below their figures; at last each row is a paragraph.

    Args:
        lines: the rows, by column.
        width: of the terminal.
        names: columns that say what a row is: never wrapped, aligned left.
        dispensable: columns that may be left out, the first to go first.
    """
    lines = [{plain(name): plain(text) for name, text in line.items()} for line in lines]
    names = [*map(plain, names)]
    shown = [name for name in (lines[0] if lines else {}) if any(line[name] for line in lines)]
    room = width - 2  # the frame's
    hidden = []
    for name in dispensable:
        if name in shown and not _fits(lines, shown, room, gap=2):
            shown.remove(name)
            hidden.append(name)
    below = []
    if hidden:
        below.append(f"not shown for lack of room: {', '.join(reversed(hidden))}")
    if _fits(lines, shown, room, gap=2):
        return _table(lines, shown, names, below, gap=2)
    if not _fits(lines, shown, room, gap=1):
        shared = [n for n in (*names[1:], "note") if n in shown and _shared(lines, n)]
        shown = [name for name in shown if name not in shared]
        if shared:
            below.append(f"in all rows: {', '.join(f'{n} {lines[0][n]}' for n in shared)}")
    if not _fits(lines, shown, room, gap=1):
        lines = [_broken(line, names) for line in lines]
    if not _fits(lines, shown, room, gap=1) and "note" in shown:
        shown.remove("note")
        below += [
            f"{' '.join(line[name] for name in names if name in shown)}: {line['note']}"
            for line in lines
            if line["note"]
        ]
    if _fits(lines, shown, room, gap=1):
        return _table(lines, shown, names, below, gap=1)
    return _paragraphs(lines, names, below[: bool(hidden)])


def line_of(text: str, style: str = "") -> Text:
    """Return a stranger's text as a line of its own: no markup, no emoji, no escape in it."""
    return Text(plain(text), style)


def _fits(lines: Lines, shown: Sequence[str], room: int, gap: int) -> bool:
    return sum(_width(lines, name) + gap for name in shown) <= room


def _width(lines: Lines, name: str) -> int:
    """Return how wide a column is: its header may wrap between its words, a cell not at all."""
    texts = [part for line in lines for part in line[name].split("\n")]
    longest = max(map(cell_len, [*name.split(), *texts]))
    return min(longest, WRAPPED[name]) if name in WRAPPED else longest


def _shared(lines: Lines, name: str) -> bool:
    return len(lines) > 1 and len({line[name] for line in lines}) == 1


def _broken(line: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return a line whose intervals stand below their figures."""
    return {
        name: text if name in {*names, *WRAPPED} else text.replace(" [", "\n[", 1)
        for name, text in line.items()
    }


def _table(
    lines: Lines, shown: Sequence[str], names: Sequence[str], below: Sequence[str], gap: int
) -> RenderableType:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0))
    for name in shown:
        left = name in {*names, *NAMES, *WRAPPED}
        table.add_column(
            Text(name),
            justify="left" if left else "right",
            no_wrap=name in names,
            min_width=None if name in WRAPPED else _width(lines, name),
        )
    for line in lines:
        table.add_row(*(_cell(name, line[name], names) for name in shown))
    if len(below) < 2:
        table.caption = Text(below[0]) if below else None
        return table
    return Group(table, *(Text(text, style="dim italic") for text in below))


def _cell(name: str, text: str, names: Sequence[str]) -> Text:
    best = text.startswith(MARK) and name not in {*names, *WRAPPED}
    return Text(text, style=BEST if best else "")  # a Text: task[n_out=2] is no markup


def _paragraphs(lines: Lines, names: Sequence[str], below: Sequence[str]) -> RenderableType:
    parts: list[RenderableType] = []
    hidden = {name for text in below for name in text.partition(": ")[2].split(", ")}
    for line in lines:
        parts.append(Text(" ".join(line[name] for name in names if line.get(name)), style="bold"))
        figures = [
            f"{name} {text}".replace("\n", " ")
            for name, text in line.items()
            if text and name not in {*names, *hidden}
        ]
        parts.append(Padding(Text("; ".join(figures)), (0, 0, 0, 4)))
    return Group(*parts, *(Text(text, style="dim italic") for text in below))
