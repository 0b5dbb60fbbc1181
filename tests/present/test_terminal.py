"""Tokens aligned in columns, at any width."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from echobench.present.terminal import DISPENSABLE, aligned, correctness, drawn, signs, token_text


@pytest.mark.parametrize("width", [12, 24, 40, 200])
def test_columns_stay_below_each_other_where_they_wrap(width: int) -> None:
    heard = [str(7**at) for at in range(8)]
    text = aligned({"heard": heard, "echoed": heard[:3]}, width).plain
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [word for block in blocks for word in block[0].split()[1:]] == heard
    for block in blocks:
        for line in block[1:]:
            ends = [i for i, c in enumerate(line) if c != " " and not line[i + 1 : i + 2].strip()]
            assert all(block[0][end].strip() for end in ends[1:])
    assert max(map(len, text.splitlines())) <= max(width, 16)


def test_signs_not_colours_alone_say_what_is_wrong() -> None:
    right = correctness([1, 2, None], [1, 3, 4])
    assert right == [True, False, None]
    assert [mark.plain for mark in signs(right)] == ["✓", "✗", ""]


def test_a_token_harms_no_terminal() -> None:
    assert token_text("\x1b[2J") == r"\x1b[2J"
    assert (token_text(None), token_text(7), token_text("né")) == (".", "7", "né")


NOTE = "disturbed (4 trials): training took 2.45x the time of its fastest tenth"
NAMES = ("task", "backend", "engine", "division")


@pytest.mark.parametrize("width", range(30, 260))
def test_no_figure_and_no_note_is_cut_at_any_width(width: int) -> None:
    def line(backend: str, note: str) -> dict[str, str]:
        names = {"task": "whole", "backend": backend, "engine": "native", "division": "open"}
        figures = {name: f"{n} [{n}.5, 1{n}.25]" for n, name in enumerate(reversed(DISPENSABLE))}
        return {
            **names,
            "time to target": "* 0.0308 s [0.00758 s, 0.0665 s]",
            **figures,
            "note": note,
        }

    lines = [
        line("flax", NOTE),
        line("jax", ""),
        line("torch-native", f"{NOTE}; 100% did not last"),
    ]
    written = io.StringIO()
    Console(file=written, width=width).print(drawn(lines, width, NAMES))
    text = written.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    hidden = text.partition("not shown for lack of room")[2]
    figures = [*["*", "0.0308", "s", "[0.00758", "s,", "0.0665", "s]"]]
    figures += [
        word
        for name in DISPENSABLE
        if name.split()[0] not in hidden
        for word in lines[0][name].split()
    ]
    for word in [*figures, *NOTE.split(), "last"]:
        assert word in text
