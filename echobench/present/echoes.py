"""Echoes on a terminal: tokens aligned in columns, errors marked by a sign and a colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from echobench.core.spelling import DOT, Token
from echobench.text import plain
from echobench.trial.record import Sample

SIGNS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("", "")}
GAP = 2
"""Columns between tokens."""


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
    """Return lines of tokens in common columns, wrapped together.

    Args:
        lines: tokens by the line's name; a line may be shorter than the others.
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
