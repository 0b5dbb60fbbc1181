"""Tables, and echoes with their errors marked, for a terminal of any width."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from echobench.core.spelling import DOT, Token
from echobench.text import plain
from echobench.trial.record import Sample

DISPENSABLE = (
    "of limit", "sequences/s", "wall", "compile", "error bound", "judged wrong", "units", "epochs",
    "exact match", "epochs to target", "updates to target", "accuracy", "ms/update",
)  # fmt: skip # one line reads better
MARK = "* "
"""Prefix of the best figure of its group."""
WRAPPED = {"note": 22, "machine": 24}
"""Columns of sentences, which wrap, and their smallest widths."""
NAMES = {"task", "backend", "engine", "division", "device"}
"""Columns that are aligned left in every table."""
Lines = Sequence[Mapping[str, str]]
SIGNS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("", "")}
GAP = 2
"""Columns between the tokens of an echo."""


def drawn(
    lines: Lines,
    width: int,
    names: Sequence[str],
    dispensable: Sequence[str] = DISPENSABLE,
) -> RenderableType:
    """Return lines as a table for a terminal of `width` columns.

    Columns that do not fit are left out, the least important first, and named below the
    table. Where that is not enough, names that all rows share and then notes stand below
    it, and intervals below their figures; at last each row becomes a paragraph. The columns
    in `names` identify a row, and are never wrapped; those in `dispensable` may be left out,
    the first to go first.
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
        return _table(rows, width, shown, names, below, gap=2)
    if not fits(gap=1) and len(lines) > 1:
        named = [name for name in (*names[1:], "note") if name in shown]
        shared = [name for name in named if len({line[name] for line in lines}) == 1]
        shown = [name for name in shown if name not in shared]
        if shared:
            below.append(f"in all rows: {', '.join(f'{n} {lines[0][n]}' for n in shared)}")
    if not fits(gap=1) and "note" in shown:
        shown.remove("note")
        named = [name for name in names if name in shown]
        below += [f"{_joined(line, named)}: {line['note']}" for line in lines if line["note"]]
    if not fits(gap=1):
        rows = [_broken(line, names) for line in lines]
    if fits(gap=1):
        return _table(rows, width, shown, names, below, gap=1)
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
    lines: Lines,
    width: int,
    shown: Sequence[str],
    names: Sequence[str],
    below: Sequence[str],
    gap: int,
) -> RenderableType:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0))
    widths = {name: _width(lines, name) for name in shown}
    headers = _headers(widths, width - 2 - gap * len(shown))
    for name in shown:
        # Only sentences are left for rich to wrap: of a column that it has made too narrow it
        # restores the smallest width, and cuts the rows off at the terminal's.
        table.add_column(
            Text(headers[name]),
            justify="left" if name in {*names, *NAMES, *WRAPPED} else "right",
            no_wrap=name not in WRAPPED,
            min_width=None if name in WRAPPED else widths[name],
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


def _headers(widths: Mapping[str, int], room: int) -> dict[str, str]:
    """Return the headers of columns of these widths, in as few lines as there is room for."""
    for most in (1, 2):
        headers = {name: _wrapped(name, width, most) for name, width in widths.items()}
        longest = {n: max(map(cell_len, text.split("\n"))) for n, text in headers.items()}
        if sum(max(widths[name], longest[name]) for name in widths) <= room:
            return headers
    return {name: _wrapped(name, width, len(name)) for name, width in widths.items()}


def _wrapped(name: str, width: int, most: int) -> str:
    """Return a header in at most so many lines, as narrow as that can be, down to a width."""
    while len(lines := textwrap.wrap(name, width, break_long_words=False)) > most:
        width += 1
    return "\n".join(lines)


def _paragraphs(
    lines: Lines, names: Sequence[str], hidden: Sequence[str], below: Sequence[str]
) -> RenderableType:
    parts: list[RenderableType] = []
    if names and names[0] not in NAMES:  # it says what the lines are of, such as a metric
        parts.append(Text(names[0], style="bold underline"))
    for line in lines:
        named = [name for name in names if line.get(name)]
        parts.append(Text(_joined(line, named), style="bold"))
        figures = [n for n, text in line.items() if text and n not in {*names, *hidden}]
        parts.append(Padding(Text("; ".join(f"{n} {line[n]}" for n in figures)), (0, 0, 0, 4)))
    return Group(*parts, *(Text(text, style="dim italic") for text in below))


def token_text(token: Token) -> str:
    """Return a token as plain text; a dot if it is missing."""
    return DOT if token is None else plain(str(token))


def signs(correct: Sequence[bool | None]) -> list[Text]:
    """Return a sign for each token: right, wrong, or none if that is unknown."""
    return [Text(*SIGNS[one]) for one in correct]


def correctness(expected: Sequence[Token], echoed: Sequence[Token]) -> list[bool | None]:
    """Return which tokens are right; None where none is expected."""
    pairs = zip(expected, echoed, strict=True)
    return [None if token is None else token == answer for token, answer in pairs]


def aligned(lines: Mapping[str, Sequence[str | Text]], width: int) -> Text:
    """Return lines of tokens, which may differ in length, in common columns, wrapped together."""
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


def side_by_side(samples: Sequence[Sample], width: int) -> Text:
    """Return as many sample echoes as fit beside each other, at least the first, errors marked."""
    for count in range(len(samples), 0, -1):
        lines: dict[str, list[str | Text]] = {"expected": [], "predicted": [], "": []}
        for sample in samples[:count]:
            correct = correctness(sample.expected, sample.predicted)
            answers = [
                token if known is not None else None
                for token, known in zip(sample.predicted, correct, strict=True)
            ]
            cells: list[list[str | Text]] = [
                [*map(token_text, sample.expected)],
                [*map(token_text, answers)],
                [*signs(correct)],
            ]
            for line, more in zip(lines.values(), cells, strict=True):
                line += ["│", *more] if line else more
        text = aligned(lines, width)
        if text.plain.count("\n") <= len(lines):
            break
    return text
