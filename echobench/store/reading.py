"""Read files of records line by line: nothing crashes, and nothing is dropped silently.

Only a newline ends a line, so that a damaged line never changes the number of another.
`Complaints` names and counts what cannot be read; `decoded` makes a record of a line.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from echobench.errors import DamagedError, NewerError, UsageError
from echobench.text import plain
from echobench.trial.record import (
    PREDICTION_SCHEMA_VERSION,
    SCHEMA_VERSION,
    AnyLine,
    JsonLine,
    Prediction,
    Record,
)

Parsed = TypeVar("Parsed")
PREDICTIONS = "predictions-"
"""Prefix of files with predictions."""
SEARCH = "search.jsonl"
"""The log of a search, in the folder of its records (`echobench.store.search_log`)."""
SET_ASIDE = ".damaged"
"""Suffix of files with damaged lines (`echobench.store.repair`)."""
MAX_LINE_BYTES = 16 * 2**20
"""Longest line that is held in memory; the longest record is a thousandth of it."""
CHUNK = 2**20
MAX_NAMED = 10
"""Damaged lines of a file that are named; further ones are only counted."""
MAX_MESSAGE = 200
"""Characters of a message about a line."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Written by some editors at the start of a file; not part of its first line."""
OTHER_FORMATS = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"\xff\xfe": "UTF-16; expected UTF-8",
    b"\xfe\xff": "UTF-16; expected UTF-8",
}
"""How files of other formats begin, and what they are."""
DEEPEST = 100
"""Brackets within brackets. Beyond, readers of JSON differ in what they accept."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
NEWEST: dict[type[JsonLine], int] = {Record: SCHEMA_VERSION, Prediction: PREDICTION_SCHEMA_VERSION}
"""The newest schema of each kind of line that this version reads."""


class Line(NamedTuple):
    """A line of a file: its number, counted from 1, and where it is.

    Attributes:
        start: offset of its first byte, after a byte order mark.
        size: in bytes, newline included.
        raw: these bytes; None if there are more than `MAX_LINE_BYTES`.
        hint: the format that the file seems to have instead, if known.
    """

    number: int
    start: int
    size: int
    raw: bytes | None
    hint: str | None = None


Kind = Literal["damaged", "newer", "refused", "file"]
KINDS: dict[Kind, tuple[str, str]] = {
    "damaged": ("damaged line", "damaged lines"),
    "newer": ("line of a newer echobench", "lines of a newer echobench"),
    "refused": ("record that cannot be true", "records that cannot be true"),
    "file": ("file that cannot be read", "files that cannot be read"),
}
"""Singular and plural of what is left out."""


@dataclass(frozen=True)
class Damage:
    """A line that is left out, and why; a whole file if the number is 0."""

    path: Path
    number: int
    why: str
    kind: Kind = "damaged"

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.number}" if self.number else str(self.path)

    def __str__(self) -> str:
        return f"{plain(self.where)}: {self.why}; left out"


Complain = Callable[[Damage], object]


@dataclass
class Complaints:
    """Everything that one load leaves out: the first of each file are named, all are counted.

    A context manager that prints a summary at its end, on stderr by default.
    """

    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
    counts: Counter[Kind] = field(default_factory=Counter)
    _by_file: Counter[Path] = field(default_factory=Counter)

    def __call__(self, damage: Damage) -> bool:
        """Count a damage, and name it if it is among the first of its file; return whether so."""
        self.counts[damage.kind] += 1
        self._by_file[damage.path] += 1
        count = self._by_file[damage.path]
        if count <= MAX_NAMED:
            self.say(str(damage))
        return count <= MAX_NAMED

    def add(self, messages: Sequence[str], others: Complaints) -> None:
        """Print what another process named, and count what it left out."""
        for line in messages:
            self.say(line)
        self.counts.update(others.counts)
        self._by_file.update(others._by_file)

    def unnamed(self) -> list[tuple[Path, int]]:
        """Return the files with damaged lines that were only counted, and their number."""
        return [
            (path, count - MAX_NAMED) for path, count in self._by_file.items() if count > MAX_NAMED
        ]

    def summary(self) -> list[str]:
        """Return the files with lines that were not named; in the last line all counts."""
        more = [
            f"{plain(str(path))}: {count:,} more lines like these; left out"
            for path, count in self.unnamed()
        ]
        counts = ", ".join(
            f"{count:,} {KINDS[kind][count > 1]}" for kind, count in self.counts.items()
        )
        return [*more, f"left out: {counts}"] if counts else []

    def __enter__(self) -> Complaints:
        return self

    def __exit__(self, *error: object) -> None:
        for line in self.summary():
            self.say(line)


def record_files(path: Path, *, deep: bool = False) -> list[Path]:
    """Return the files with records of trials: `path` itself, or those in this folder.

    In its subfolders too, if `deep`.

    Raises:
        UsageError: a folder cannot be read; its records would be missing silently.
    """
    return [
        file
        for file in json_lines_files(path, deep=deep)
        if file == path or not (file.name == SEARCH or file.name.startswith(PREDICTIONS))
    ]


def json_lines_files(path: Path, *, deep: bool = False) -> list[Path]:
    """Return all JSON Lines files, as `record_files` does; also predictions and search logs."""
    if path.name.endswith(SET_ASIDE):
        return []
    if path.is_file():
        return [path]
    paths: list[Path] = []
    for folder, folders, files in os.walk(path, onerror=_refuse):
        # A folder with such a name is reported later, as a file that cannot be read.
        paths += [Path(folder, name) for name in [*files, *folders] if name.endswith(".jsonl")]
        if not deep:
            break
    return sorted(paths)


def is_blank(path: Path) -> bool:
    """Return whether a file holds nothing but white space; what cannot be read is not known to."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return not any(chunk.strip() for chunk in iter(lambda: file.read(2**20), b""))
    except OSError:
        return False


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return  # no folder, so no records
    raise UsageError(
        f"{plain(str(error.filename))}: expected a folder that can be read; {error.strerror}"
    ) from error


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, holding at most `MAX_LINE_BYTES` in memory.

    Raises:
        DamagedError: the path is no regular file, or reading fails.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would block
            raise DamagedError("expected a file of records; it is none")
        with path.open("rb") as file:
            beginning = file.peek(4)
            hint = next(
                (why for start, why in OTHER_FORMATS.items() if beginning.startswith(start)), None
            )
            start = len(file.read(3)) if beginning.startswith(BYTE_ORDER_MARK) else 0
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                size = len(raw)
                whole: bytes | None = raw
                if size > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    whole = None
                    while (more := file.readline(CHUNK)) and not more.endswith(b"\n"):
                        size += len(more)
                    size += len(more)
                yield Line(number, start, size, whole, hint)
                start += size
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from error


def parse_line(line: Line, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Parse a line.

    Raises:
        DamagedError: the line is damaged; the message is printable.
    """
    if line.raw is None:
        raise DamagedError(f"not a record (longer than {MAX_LINE_BYTES // 2**20} MiB)")
    try:
        return parse(line.raw)
    except NewerError:
        raise
    except DamagedError as error:
        why = line.hint or str(error)
        if not (line.hint or line.raw.endswith(b"\n")):
            why = f"cut off: {why}"
        short = why if len(why) <= MAX_MESSAGE else why[:MAX_MESSAGE] + "…"
        raise DamagedError(f"not a record ({plain(short)})") from error


def read_numbered(
    path: Path, parse: Callable[[bytes], Parsed], complain: Complain
) -> Iterator[tuple[Line, Parsed]]:
    """Yield the lines of a file that are not blank, each with its parsed content.

    `parse` raises DamagedError for a damaged line; it is left out, and `complain` is called.
    """
    try:
        for line in lines_of(path):
            if line.raw is not None and line.raw.isspace():
                continue
            try:
                yield line, parse_line(line, parse)
            except DamagedError as error:
                kind: Kind = "newer" if isinstance(error, NewerError) else "damaged"
                complain(Damage(path, line.number, str(error), kind))
    except DamagedError as error:
        complain(Damage(path, 0, str(error), "file"))


def read_lines(
    path: Path, parse: Callable[[bytes], Parsed], complain: Complain
) -> Iterator[Parsed]:
    """Yield the parsed lines of a file; see `read_numbered`."""
    return (content for _, content in read_numbered(path, parse, complain))


class _Version(msgspec.Struct):
    schema_version: int


def decoded(line: bytes) -> Record:
    """Return the record that a line holds.

    Raises:
        DamagedError: the line holds none; NewerError where it is one of a newer echobench.
    """
    return _decoded(line, Record)


def decoded_prediction(line: bytes) -> Prediction:
    """Return the prediction that a line holds, as `decoded` does with records."""
    return _decoded(line, Prediction)


def canonical(line: JsonLine) -> bytes:
    """Return a record as JSON, the same for lines that say the same in another form."""
    return _encoder.encode(line.to_dict())


def _decoded(line: bytes, kind: type[AnyLine]) -> AnyLine:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DamagedError(f"no UTF-8 at byte {error.start}") from error
    try:
        found = _parsed(text, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _newer(text, kind) or DamagedError(str(error)) from error
    version = found.schema_version
    if not 1 <= version <= NEWEST[kind]:
        raise _newer(text, kind) or DamagedError(f"no such schema version: {version}")
    _check_depth(text, found)
    return found


def _parsed(text: str, kind: type[AnyLine]) -> AnyLine:
    try:
        found: AnyLine = _decoders[kind].decode(text)
    except msgspec.ValidationError as error:
        if "unknown field" not in str(error):
            raise
    else:
        if found.beyond is msgspec.UNSET:
            return found
    # Slow, and rare: the line has fields that this version does not know.
    return kind.from_dict(msgspec.json.decode(text))


def _newer(text: str, kind: type[JsonLine]) -> NewerError | None:
    """Return the error for a line of a newer echobench, if it is such a line."""
    try:
        version = msgspec.json.decode(text, type=_Version).schema_version
    except (msgspec.MsgspecError, RecursionError):
        return None
    if version <= NEWEST[kind]:
        return None
    newest = f"this one reads up to {NEWEST[kind]}"
    return NewerError(f"written by a newer echobench (schema {version}; {newest})")


def _check_depth(text: str, found: JsonLine) -> None:
    """Refuse a line that is nested too deep; only lines with many brackets are parsed for it."""
    points = len(getattr(found, "evaluations", ())) + len(getattr(found, "after_hit", ()))
    samples = 3 * len(getattr(found, "samples", ()))
    if text.count("{") + text.count("[") - points - samples <= DEEPEST:
        return
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise DamagedError(f"nested deeper than {DEEPEST}")


_decoders: dict[type[JsonLine], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in NEWEST
}
_encoder = msgspec.json.Encoder(order="deterministic")
