"""Tokens aligned in columns, at any width."""

from __future__ import annotations

import pytest

from echobench.present.terminal import aligned, correctness, signs, token_text


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
