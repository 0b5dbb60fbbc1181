"""Untrusted text on terminals, in spreadsheets, in Markdown and in names of files."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from echobench.text import counted, file_name, markdown, percent, plain, say, spreadsheet
from tests.hostile import BROKEN, KINDS, SPOKEN, STEERING

ALL = [*SPOKEN, *BROKEN]
ANY = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text("[]()*_`|\\<>&!~$@:/.w#'\"=+-;\n\r\t "),
    st.sampled_from(ALL),
)
"""Any text, including half surrogate pairs and characters with a special meaning."""
TABLE = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@given(ANY)
def test_a_line_on_a_terminal_holds_nothing_that_it_obeys(text: str) -> None:
    shown = plain(text)
    assert not STEERING.search(shown)
    assert "\n" not in shown
    kinds = {unicodedata.category(character) for character in shown}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode()  # a terminal's encoding takes it


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_what_harms_nobody_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_what_is_spelt_out_can_be_read() -> None:
    assert plain("a\x1b[31m\nb\x9b\u202e\ud800") == r"a\x1b[31m\nb\x9b\u202e\ud800"
    assert plain("Zo\u0308e späť 宽 ✓") == "Zo\u0308e späť 宽 ✓"
    flood = plain("z" + "\u0300" * 200)
    assert sum(map(bool, map(unicodedata.combining, flood))) == 4


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("first\nforged", "second\r")
    assert capsys.readouterr().err == "first\\nforged\nsecond\\r\n"


@given(ANY)
def test_a_cell_of_a_spreadsheet_is_no_formula_wherever_it_is_split(text: str) -> None:
    cell = spreadsheet(text)
    for part in cell.split(";"):
        assert not part.strip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d"))
    file = io.StringIO()
    csv.writer(file).writerow([cell, 1.5])
    assert len(file.getvalue().splitlines()) == 1
    assert list(csv.reader([file.getvalue()])) == [[cell, "1.5"]]


@given(ANY, ANY)
def test_a_row_of_markdown_keeps_its_cells_and_nothing_in_it_lives(one: str, two: str) -> None:
    row = f"| {markdown(one)} | {markdown(two)} |"
    tokens = TABLE.parse(f"| a | b |\n|---|---|\n{row}\n")
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert [token.type for token in tokens].count("tr_open") == 2
    assert len(cells) == 2
    for cell, text in zip(cells, (one, two), strict=True):
        assert {child.type for child in cell.children or []} <= {"text"}
        shown = "".join(child.content for child in cell.children or [])
        assert shown.split() == plain(text).split()
    # Addresses become links on their own elsewhere.
    assert not re.search(r"(?<!\\)://|www\.", row, re.IGNORECASE)


def test_an_interval_and_a_name_need_no_escapes_in_markdown() -> None:
    assert markdown("* 1.5 s [1, 2]") == "* 1.5 s [1, 2]"
    assert markdown("partial[n_in=8] seconds_per_update") == "partial[n_in=8] seconds_per_update"


@given(ANY)
def test_a_name_of_a_file_is_one_part_of_a_path_on_every_system(text: str) -> None:
    name = file_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_=][A-Za-z0-9._=-]{0,120}", name)
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    assert not name.endswith(".")


def test_a_file_of_every_hostile_name_lies_in_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    for text in ALL:
        (inside / f"{file_name(text)}.keras").touch()
    found = [path for path in tmp_path.rglob("*.keras") if path.is_file()]
    assert {path.parent for path in found} == {inside}
    assert file_name("partial[n_in=8]") == "partial_n_in=8"


def test_the_list_has_what_it_says() -> None:
    assert len(KINDS) == 14
    assert len(set(SPOKEN)) == len(SPOKEN) > 180


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100%"), (0.0390481, "3.905%"), (0.5, "50%"), (0.999996, "99.9996%"),
     (1 - 1e-9, "99.9999999%"), (0.0, "0%")],
)  # fmt: skip # each beside its text
def test_only_what_is_all_is_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1200, "1,200 trials")]
)
def test_a_number_has_its_noun(number: int, said: str) -> None:
    assert counted(number, "trial") == said
