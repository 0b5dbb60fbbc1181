"""Files of data: known by name and content wherever they lie, and read line by line.

A record must say which data a trial had, and must not say where these lie. So the parameter of a
task that is a file reads `chat.jsonl@3f2a9c1b7d04`, its name and a digest of its content.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo
from pydantic_core import PydanticCustomError

LARGEST = 10_000_000
"""Bytes of a file."""
DIGITS = 12
IDENTITY = re.compile(rf"(?P<name>[^/\\]+)@(?P<digest>[0-9a-f]{{{DIGITS}}})")
INTEGER = re.compile(r"[+-]?\d{1,18}")
"""An integer that a record can hold; one with more digits is a word."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NOT_READ = "data_file"
"""Type of the validation error of a task whose file cannot be read here."""
NO_IDENTITY = "data_file_of_record"
"""Type of the error of a record that names a file otherwise than by its identity."""
RECORDED = "recorded"
"""Validation context of parameters that a record holds: no path in them is ever opened."""

Token: TypeAlias = "int | str"
"""A token as a file spells it."""


@dataclass(frozen=True)
class DataContent:
    """The name of a file, without its folder, and its bytes; `str` gives name and digest."""

    name: str
    content: bytes = field(repr=False)

    @functools.cached_property
    def digest(self) -> str:
        """The first digits of the content's SHA-256."""
        return hashlib.sha256(self.content).hexdigest()[:DIGITS]

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}"

    @property
    def text(self) -> str:
        """The content as text.

        Raises:
            ValueError: it is not UTF-8, or holds a null byte.
        """
        if b"\0" in self.content:
            raise ValueError(f"expected a text file in UTF-8; {self.name} is binary")
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.content.count(b"\n", 0, error.start) + 1
            raise ValueError(
                f"{self.name}, line {line}: expected text in UTF-8; received the byte "
                f"{self.content[error.start]:#04x}"
            ) from error


_known: dict[str, DataContent] = {}
"""Files of this process by identity: what it read, and what came with its job."""
_read: dict[str, str] = {}
"""Identities of the files of this process by the path, with a folder, that it was asked to read."""


def named(parameters: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the content of each file that parameters of a task name, by its identity."""
    texts = [value for value in parameters.values() if isinstance(value, str)]
    return {text: _known[text].content for text in texts if text in _known}


def without_folders(text: str) -> str:
    """Return a text, such as a command line, with the identity of each file that was read by path.

    Only the paths with a folder are replaced, the longest first.
    """
    for path, identity in sorted(_read.items(), key=lambda item: -len(item[0])):
        text = text.replace(path, identity)
    return text


def provide(contents: Mapping[str, bytes]) -> None:
    """Make files known that came from another process, by their identities."""
    for identity, content in contents.items():
        name, _, _ = identity.rpartition("@")
        _known[identity] = DataContent(name, content)


def load(path: Any, info: ValidationInfo) -> Any:
    """Return the file at a path, relative to the current folder, or the one of an identity.

    What is no path is returned as it is, and pydantic refuses it.

    Raises:
        PydanticCustomError: there is no such file here, or it has another content; or a record
            names a path.
    """
    if not isinstance(path, str | Path) or str(path) in _known:
        return _known.get(str(path), path)
    place = Path(path)
    identity = IDENTITY.fullmatch(str(path))
    recorded = info.context == RECORDED
    if recorded and not identity:
        raise PydanticCustomError(
            NO_IDENTITY, "expected a file of data by name and digest, as chat.jsonl@3f2a9c1b7d04"
        )
    if identity and (recorded or not _exists(place)):
        place = Path(identity["name"])
    try:
        place.name.encode()
    except UnicodeEncodeError:
        raise _refused(
            f"expected a file whose name is text in UTF-8, as records hold it; received "
            f"{place.name!a}: rename it"
        ) from None
    try:
        file = _content(place.expanduser())
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        where = " in the current folder" if identity else ""
        raise _refused(f"expected a file of data{where}, {place}: {why}") from error
    if identity and place != Path(path) and file.digest != identity["digest"]:
        raise _refused(
            f"expected {place} in the current folder with the content {identity['digest']}; it "
            f"has another, {file.digest}"
        )
    if str(path) != place.name:
        _read[str(path)] = str(file)
    return _known.setdefault(str(file), file)


DataFile = Annotated[DataContent, BeforeValidator(load), PlainSerializer(str)]
"""The type of a task's field that is a file: `--task 'NAME[path=chat.jsonl]'`."""


def _refused(message: str) -> PydanticCustomError:
    # The library fills in what stands in braces, and a name may have some.
    return PydanticCustomError(NOT_READ, "{message}", {"message": message})


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError):
        return False


def _content(place: Path) -> DataContent:
    if not place.is_file():  # a pipe or a device may never end
        place.stat()
        raise ValueError("it is a folder" if place.is_dir() else "it is no regular file")
    with place.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    return DataContent(place.name, content)


@dataclass(frozen=True)
class Line:
    """A line of a file that is not empty: its number, from 1, and its cells.

    A cell is a token or, in a file of JSON, may be a list of tokens.
    """

    number: int
    cells: list[Any]


@functools.lru_cache(8)
def lines(file: DataContent) -> tuple[Line, ...]:
    """Return the lines of a file, by the end of its name.

    `.csv` and `.tsv`: the cells of a row. `.jsonl` and `.ndjson`: the elements of an array.
    Any other: words, separated by spaces. Where all are integers they are read as such.

    Raises:
        ValueError: a line is not of that form; the message names it.
    """
    suffix = _suffix(file)
    if suffix == ".json":
        raise ValueError(f"{file.name}: expected an array of JSON in each line of a .jsonl file")
    if suffix in {".jsonl", ".ndjson"}:
        found = tuple(_json(file))
        words = any(isinstance(token, str) for line in found for token in _tokens(line))
        return tuple(Line(one.number, _spelt(one.cells)) for one in found) if words else found
    found = _words(file)
    if suffix in {".csv", ".tsv"}:
        _check_numbers(file.name, found)
    if _are_integers(found):
        return tuple(Line(line.number, [int(str(token)) for token in line.cells]) for line in found)
    return found


def spelt_twice(file: DataContent) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return two spellings of one integer, such as 007 and 7, each with its line; None without."""
    if _suffix(file) in {".jsonl", ".ndjson"} or not _are_integers(found := _words(file)):
        return None
    first: dict[int, tuple[str, int]] = {}
    for line in found:
        for token in map(str, line.cells):
            before = first.setdefault(int(token), (token, line.number))
            if before[0] != token:
                return before, (token, line.number)
    return None


def _suffix(file: DataContent) -> str:
    return Path(file.name).suffix.lower()


@functools.lru_cache(8)
def _words(file: DataContent) -> tuple[Line, ...]:
    """Return the lines of a table or a text, all cells as they are spelt."""
    separator = {".csv": ",", ".tsv": "\t"}.get(_suffix(file))
    if separator is not None:
        return tuple(_table(file, separator))
    rows = enumerate(io.StringIO(file.text), start=1)
    return tuple(Line(number, [*text.split()]) for number, text in rows if text.strip())


def _are_integers(found: Iterable[Line]) -> bool:
    return all(INTEGER.fullmatch(str(token)) for line in found for token in line.cells)


def _table(file: DataContent, separator: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(file.text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:  # as a spreadsheet fills shorter rows
                cells.pop()
            if "" in cells:
                raise ValueError(
                    f"{file.name}, line {reader.line_num}: expected a token in each cell; cell "
                    f"{cells.index('') + 1} is empty"
                )
            if cells:
                yield Line(reader.line_num, [*cells])
    except csv.Error as error:
        raise ValueError(f"{file.name}, line {reader.line_num}: {error}") from error


def _check_numbers(name: str, found: tuple[Line, ...]) -> None:
    """Refuse a table of numbers with a header, or with numbers that are not integers."""
    first, rest = found[:1], [(line, str(cell)) for line in found[1:] for cell in line.cells]
    header = [str(cell) for line in first for cell in line.cells]
    if not rest or not all(NUMBER.fullmatch(cell) for _, cell in rest):
        return
    if not any(NUMBER.fullmatch(cell) for cell in header):
        raise ValueError(f"{name}, line {first[0].number}: expected numbers as below, no header")
    cells = [*((first[0], cell) for cell in header), *rest]
    for line, cell in cells:
        if NUMBER.fullmatch(cell) and not INTEGER.fullmatch(cell):
            raise ValueError(
                f"{name}, line {line.number}: expected integers or words; received the number "
                f"{cell}: round it, or give each range of numbers a word"
            )


def _json(file: DataContent) -> Iterator[Line]:
    for number, text in enumerate(io.StringIO(file.text), start=1):
        if not text.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: expected JSON; {error}") from error
        if not isinstance(cells, list):
            raise ValueError(f"{where}: expected an array; received {text.strip()[:40]}")
        line = Line(number, cells)
        for token in _tokens(line):
            if not _is_token(token):
                raise ValueError(
                    f"{where}: expected integers of at most 18 digits, or words; received "
                    f"{json.dumps(token)[:40]}"
                )
        yield line


def _tokens(line: Line) -> Iterator[Token]:
    for cell in line.cells:
        yield from cell if isinstance(cell, list) else [cell]


def _is_token(token: Any) -> bool:
    """Return whether a value of JSON is a word, or an integer that a record can hold."""
    if isinstance(token, str):
        return token != "" and not any("\ud800" <= letter <= "\udfff" for letter in token)
    return type(token) is int and INTEGER.fullmatch(str(token)) is not None


def _spelt(cells: list[Any]) -> list[Any]:
    return [[*map(str, cell)] if isinstance(cell, list) else str(cell) for cell in cells]
