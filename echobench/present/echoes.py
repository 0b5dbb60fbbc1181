"""An echo as people read it: tokens below each other, errors marked by a sign and a colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from echobench.core.spelling import Token
from echobench.text import plain

RIGHT, WRONG, NONE = "✓", "✗", "."
GAP = 2


def shown(token: Token) -> str:
    """Return a token that harms no terminal; a dot for none."""
    return NONE if token is None else plain(str(token))


def marks(right: Sequence[bool | None]) -> list[Text]:
    """Return a sign for each token: right, wrong, or nothing where there is no saying."""
    signs = {True: (RIGHT, "green"), False: (WRONG, "bold red"), None: ("", "")}
    return [Text(*signs[one]) for one in right]


def compared(expected: Sequence[Token], echoed: Sequence[Token]) -> list[bool | None]:
    """Return which tokens are right; None where none is expected."""
    pairs = zip(expected, echoed, strict=True)
    return [None if wanted is None else wanted == given for wanted, given in pairs]


def aligned(lines: Mapping[str, Sequence[str | Text]], width: int) -> Text:
    """Return lines of cells, each column below each other, wrapped together.

    Args:
        lines: cells by the line's name; one may have fewer than another.
        width: columns of the terminal.
    """
    cells = {
        name: [c if isinstance(c, Text) else Text(c) for c in line] for name, line in lines.items()
    }
    columns = max(map(len, cells.values()), default=0)
    widths = [
        max(line[at].cell_len for line in cells.values() if at < len(line)) + GAP
        for at in range(columns)
    ]
    label = max(map(len, cells), default=0) + 1
    text = Text()
    start = 0
    while start < columns:
        stop, room = start + 1, width - label - widths[start]
        while stop < columns and widths[stop] <= room:
            room -= widths[stop]
            stop += 1
        if start:
            text.append("\n")
        for name, line in cells.items():
            if not line[start:stop]:
                continue
            text.append(f" {name:{label - 1}}", style="dim")
            for at, cell in enumerate(line[start:stop], start):
                text.append(" " * (widths[at] - cell.cell_len))
                text.append(cell)
            text.rstrip()
            text.append("\n")
        start = stop
    return text
