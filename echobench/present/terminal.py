"""Tables for a terminal of any width."""

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
"""Prefix of the best figure of its group."""
WRAPPED = {"note": 22, "machine": 24}
"""Columns of sentences, which wrap, and their smallest widths."""
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
    it, and intervals below their figures; at last each row becomes a paragraph.

    Args:
        lines: the rows, by column.
        width: of the terminal.
        names: columns that identify a row: never wrapped, aligned left.
        dispensable: columns that may be left out, the first to go first.
    """
    lines = rows = [{plain(n): plain(text) for n, text in line.items()} for line in lines]
    names = [*map(plain, names)]
    shown = [name for name in (lines[0] if lines else {}) if any(line[name] for line in lines)]

    def fits(gap: int) -> bool:
        return sum(_width(rows, name) + gap for name in shown) <= width - 2  # the frame's

    hidden = []
    for name in dispensable:
        if name in shown and not fits(gap=2):
            shown.remove(name)
            hidden.append(name)
    below = [f"not shown for lack of room: {', '.join(reversed(hidden))}"] if hidden else []
    if fits(gap=2):
        return _table(rows, shown, names, below, gap=2)
    if not fits(gap=1) and len(lines) > 1:
        named = [name for name in (*names[1:], "note") if name in shown]
        shared = [name for name in named if len({line[name] for line in lines}) == 1]
        shown = [name for name in shown if name not in shared]
        if shared:
            below.append(f"in all rows: {', '.join(f'{n} {lines[0][n]}' for n in shared)}")
    if not fits(gap=1):
        rows = [_broken(line, names) for line in lines]
    if not fits(gap=1) and "note" in shown:
        shown.remove("note")
        named = [name for name in names if name in shown]
        below += [f"{_joined(line, named)}: {line['note']}" for line in lines if line["note"]]
    if fits(gap=1):
        return _table(rows, shown, names, below, gap=1)
    return _paragraphs(lines, names, hidden, below[: bool(hidden)])


def line_of(text: str, style: str = "") -> Text:
    """Return a text of unknown origin as one line, without markup, emoji or escapes."""
    return Text(plain(text), style)


def _width(lines: Lines, name: str) -> int:
    """Return a column's smallest width: its header may wrap between words, its cells may not.

    Rich measures headers and cells alike, by their longest word, so that a column as narrow
    as it allows would break figures such as `12 s [10, 14]`.
    """
    texts = [part for line in lines for part in line[name].split("\n")]
    longest = max(map(cell_len, [*name.split(), *texts]))
    return min(longest, WRAPPED.get(name, longest))


def _broken(line: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return a line whose intervals stand below their figures."""
    return {
        name: text if name in {*names, *WRAPPED} else text.replace(" [", "\n[", 1)
        for name, text in line.items()
    }


def _joined(line: Mapping[str, str], names: Sequence[str]) -> str:
    return " ".join(line[name] for name in names)


def _table(
    lines: Lines, shown: Sequence[str], names: Sequence[str], below: Sequence[str], gap: int
) -> RenderableType:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0))
    for name in shown:
        table.add_column(
            Text(name),
            justify="left" if name in {*names, *NAMES, *WRAPPED} else "right",
            no_wrap=name in names,
            min_width=None if name in WRAPPED else _width(lines, name),
        )
    figures = {*shown} - {*names, *WRAPPED}
    for line in lines:
        best = {name for name in figures if line[name].startswith(MARK)}
        # A Text, since rich would read [n_out=2] in a string as markup.
        table.add_row(*(Text(line[n], "bold green" if n in best else "") for n in shown))
    if len(below) < 2:
        table.caption = Text(below[0]) if below else None
        return table
    return Group(table, *(Text(text, style="dim italic") for text in below))


def _paragraphs(
    lines: Lines, names: Sequence[str], hidden: Sequence[str], below: Sequence[str]
) -> RenderableType:
    parts: list[RenderableType] = []
    for line in lines:
        named = [name for name in names if line.get(name)]
        parts.append(Text(_joined(line, named), style="bold"))
        figures = [n for n, text in line.items() if text and n not in {*names, *hidden}]
        parts.append(Padding(Text("; ".join(f"{n} {line[n]}" for n in figures)), (0, 0, 0, 4)))
    return Group(*parts, *(Text(text, style="dim italic") for text in below))
