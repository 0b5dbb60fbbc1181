"""Files of data: one by its content, whatever its folder; and each fault with its line."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from echobench.core import files
from echobench.core.files import DataContent, DataFile

FILE = TypeAdapter(DataFile)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "_known", {})
    monkeypatch.chdir(tmp_path)


def test_the_same_content_in_another_folder_is_the_same_file(tmp_path: Path) -> None:
    for folder, text in (("a", "1 2\n"), ("b", "1 2\n"), ("c", "1 3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(text)
    one, same, other = (FILE.validate_python(f"{folder}/x.txt") for folder in "abc")
    assert one == same != other
    # The first digits of `printf '1 2\n' | sha256sum`.
    assert FILE.dump_python(one) == FILE.dump_python(same) == "x.txt@f251ddc12234"
    assert str(tmp_path) not in repr(one)


def test_an_edited_file_is_another_one_in_the_same_process(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a b")
    first = FILE.validate_python("x.txt")
    path.write_text("b a")
    assert FILE.validate_python("x.txt") != first
    assert FILE.validate_python(str(first)) == first  # by its identity it is still known


def test_what_a_record_names_is_looked_for_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("1 2\n")
    assert FILE.validate_python("x.txt@f251ddc12234").content == b"1 2\n"
    with pytest.raises(
        ValidationError, match="with the content 000000000000; it has another, f251"
    ):
        FILE.validate_python("x.txt@000000000000")
    with pytest.raises(ValidationError, match=r"in the current folder, y\.txt: No such file") as it:
        FILE.validate_python("y.txt@f251ddc12234")
    assert it.value.errors()[0]["type"] == files.NOT_READ


def test_a_file_comes_with_its_job_and_needs_no_folder(tmp_path: Path) -> None:
    files.provide({"x.txt@f251ddc12234": b"1 2\n"})
    found = FILE.validate_python("x.txt@f251ddc12234")
    assert (found.name, found.content) == ("x.txt", b"1 2\n")
    parameters = {"path": "x.txt@f251ddc12234", "symbols": 3, "level": "word"}
    assert files.named(parameters) == {"x.txt@f251ddc12234": b"1 2\n"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.txt", "No such file or directory"),
        (".", "it is a folder"),
        ("pipe", "no regular file"),
        ("large.txt", "more than 10,000,000 bytes"),
        ("nul\0.txt", "null"),
        ("~nobody-of-that-name/x", "home directory"),
        ("\udcff.txt", r"name is text in UTF-8, as records hold it; received '\\udcff.txt'"),
        ("x{y}.txt", r"x\{y\}\.txt: No such file"),
    ],
)
def test_what_is_no_file_is_said(path: str, message: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(files.LARGEST + 1)
    with pytest.raises(ValidationError, match=message):
        FILE.validate_python(path)


ROWS = [["7", "3", "9"], ["1", "-4"], ["+2"]]
WORDS = [["How", "are", "you"], ["3", "fine", "it's"]]


@pytest.mark.parametrize("rows", [ROWS, WORDS])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.txt"])
def test_a_file_is_read_back_as_it_was_written(name: str, rows: list[list[str]]) -> None:
    with Path(name).open("w", newline="", encoding="utf-8-sig") as file:
        if name.endswith("v"):
            csv.writer(file, delimiter="," if name == "x.csv" else "\t").writerows(rows)
        else:
            lines = map(json.dumps if name == "x.jsonl" else " ".join, rows)
            file.write("\n\n".join(lines))
    found = [line.cells for line in files.lines(FILE.validate_python(name))]
    numbers = rows is ROWS and name != "x.jsonl"
    assert found == [[int(cell) for cell in row] if numbers else row for row in rows]


def lines(name: str, content: bytes) -> list[tuple[int, list[object]]]:
    return [(line.number, line.cells) for line in files.lines(DataContent(name, content))]


def test_arrays_may_hold_arrays_and_numbers_beside_words_are_words() -> None:
    assert lines("x.jsonl", b'[[1], [2, 3]]\n\n["a", 1]\n') == [
        (1, [["1"], ["2", "3"]]),
        (3, ["a", "1"]),
    ]
    assert lines("x.jsonl", b"[[1], [2, 3]]") == [(1, [[1], [2, 3]])]


def test_a_row_that_a_spreadsheet_filled_up_is_shorter() -> None:
    assert lines("x.csv", b"1,2,3\r\n4,,\r\n,,\r\n") == [(1, [1, 2, 3]), (2, [4])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.txt",
            b"a b\nc \xff\n",
            r"x\.txt, line 2: expected text in UTF-8; .* byte 0xff",
        ),
        ("x.txt", b"a\0b", r"x\.txt is binary"),
        (
            "x.csv",
            b"1,2\n3,,4\n",
            r"x\.csv, line 2: expected a token .*; cell 2 is empty",
        ),
        ("x.csv", b"1,2\n3,1.5\n", r"x\.csv, line 2: .* received the number 1\.5: round it"),
        ("x.csv", b"a,b\n3,4\n", r"x\.csv, line 1: expected numbers as below, no header"),
        ("x.csv", b'1,"2\n3,4\n', r"x\.csv, line 2: unexpected end of data"),
        ("x.jsonl", b"[1]\n[2\n", r"x\.jsonl, line 2: expected JSON"),
        ("x.jsonl", b"[1]\n{}\n", r"x\.jsonl, line 2: expected an array; received \{\}"),
        ("x.jsonl", b"[1]\n[1.5]\n", r"line 2: expected integers .* received 1\.5"),
        ("x.jsonl", b"[true]\n", r"line 1: expected integers .* received true"),
        ("x.jsonl", b"[9000000000000000000000]\n", "received 9000000000000000000000"),
        ("x.jsonl", b'["\\ud800"]\n', r"received \"\\ud800"),
        ("x.jsonl", b'[["a", null]]\n', "received null"),
        ("x.jsonl", b'[[["a"]]]\n', r'received \["a"\]'),
        ("x.jsonl", b"[" * 100_000, "line 1: expected JSON"),
        ("x.json", b"[]", r"x\.json: expected an array of JSON in each line of a \.jsonl file"),
    ],
)
def test_a_line_that_is_none_is_named(name: str, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        lines(name, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("named", ["x.txt", "/etc/passwd", "sub/x.txt@f251ddc12234", "."])
def test_no_path_in_a_record_is_opened(named: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("x.txt", "sub/x.txt"):
        (tmp_path / name).write_text("1 2\n")
    with pytest.raises(ValidationError, match="expected a file of data by name and digest"):
        FILE.validate_python(named, context=files.RECORDED)
    identity = "x.txt@f251ddc12234"
    assert str(FILE.validate_python(identity, context=files.RECORDED)) == identity
