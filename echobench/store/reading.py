"""What is on disk, line by line: whatever a file holds, nothing crashes and nothing is dropped.

A line ends with a newline and with nothing else, so a damaged one never moves the number of
another. What cannot be read is told to a `Complaints`, which names it and counts it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, TypeVar

from echobench.errors import DamagedError, NewerError, UsageError
from echobench.text import plain

Parsed = TypeVar("Parsed")
PREDICTIONS = "predictions-"
"""What the names of files with predictions begin with."""
SEARCH = "search.jsonl"
"""The log of a search, among its records (`echobench.store.search_log`)."""
SET_ASIDE = ".damaged"
"""What the names of files with damaged lines end with (`echobench.store.repair`)."""
MAX_LINE_BYTES = 16 * 2**20
"""Bytes of a line that are held in memory; the longest record is a thousandth of it."""
PIECE = 2**20
NAMED = 10
"""Damaged lines of a file that are named; the others are counted."""
SHOWN = 200
"""Characters of what is wrong with a line."""
MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors begin a file with; no part of its first line."""
MISTAKEN = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"\xff\xfe": "UTF-16; expected UTF-8",
    b"\xfe\xff": "UTF-16; expected UTF-8",
}
"""Beginnings of files that were never lines of JSON."""


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        number: counted from 1.
        start: of its first byte in the file; behind a byte order mark.
        size: in bytes, its newline included.
        raw: these bytes; None where they are more than `MAX_LINE_BYTES`.
        hint: what the file seems to be instead, if its beginning says so.
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
"""What may be left out, one and several."""


@dataclass(frozen=True)
class Damage:
    """What cannot be read.

    Attributes:
        path: the file.
        number: of the line; 0 for the file as a whole.
        why: what is wrong, fit to be shown.
        kind: what it is instead of a record.
    """

    path: Path
    number: int
    why: str
    kind: Kind = "damaged"

    @property
    def where(self) -> str:
        """Return file and line."""
        return f"{self.path}:{self.number}" if self.number else str(self.path)

    def __str__(self) -> str:
        return f"{plain(self.where)}: {self.why}; left out"


Complain = Callable[[Damage], object]


@dataclass
class Complaints:
    """All that one load leaves out: the first of each file are named, all are counted.

    As a context it says at its end, in one line, how many there were.

    Attributes:
        say: takes a line to show; stderr's by default.
        counts: how much was left out, by kind.
    """

    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
    counts: Counter[Kind] = field(default_factory=Counter)
    _of: Counter[Path] = field(default_factory=Counter)

    def __call__(self, damage: Damage) -> bool:
        """Count a damage, and name it unless enough of this file are; return whether it was."""
        self.counts[damage.kind] += 1
        self._of[damage.path] += 1
        count = self._of[damage.path]
        if count <= NAMED:
            self.say(str(damage))
        return count <= NAMED

    def add(self, told: Sequence[str], others: Complaints) -> None:
        """Say what another process named, and count what it left out."""
        for line in told:
            self.say(line)
        self.counts.update(others.counts)
        self._of.update(others._of)

    def unnamed(self) -> list[tuple[Path, int]]:
        """Return the files of which not every damaged line was named, and how many were not."""
        return [(path, count - NAMED) for path, count in self._of.items() if count > NAMED]

    def summary(self) -> list[str]:
        """Return what was not named, and in the last line how much was left out."""
        more = [
            f"{plain(str(path))}: {count:,} more lines like these; left out"
            for path, count in self.unnamed()
        ]
        told = ", ".join(
            f"{count:,} {KINDS[kind][count > 1]}" for kind, count in self.counts.items()
        )
        return [*more, f"left out: {told}"] if told else []

    def __enter__(self) -> Complaints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for line in self.summary():
            self.say(line)


def record_files(path: Path, pattern: str = "*.jsonl") -> list[Path]:
    """Return the files with records of training: `path` itself, or those in this folder.

    Args:
        path: a file or a folder.
        pattern: of files in the folder; `**/*.jsonl` for those in its folders too.

    Raises:
        UsageError: a folder cannot be read: its records would be missing without a word.
    """
    return [
        file
        for file in json_lines_files(path, pattern)
        if file == path or not (file.name == SEARCH or file.name.startswith(PREDICTIONS))
    ]


def json_lines_files(path: Path, pattern: str = "*.jsonl") -> list[Path]:
    """Return all JSON Lines files, as `record_files` does, predictions and logs too."""
    if path.name.endswith(SET_ASIDE):
        return []
    if path.is_file():
        return [path]
    deep = pattern.startswith("**/")
    found: list[Path] = []
    for folder, folders, files in os.walk(path, onerror=_refuse):
        # A folder that has such a name is told as one that cannot be read, when it is read.
        found += [Path(folder, name) for name in [*files, *folders] if name.endswith(".jsonl")]
        if not deep:
            break
    return sorted(found)


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return  # gone meanwhile, or never there: no records
    raise UsageError(
        f"{plain(str(error.filename))}: expected a folder that can be read; {error.strerror}"
    ) from error


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 for what cannot be read: that is told when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of a file; none is held in memory beyond `MAX_LINE_BYTES` bytes.

    Raises:
        DamagedError: it is no file, or cannot be read (further).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would be waited for
            raise DamagedError("expected a file of records; it is none")
        with path.open("rb") as file:
            beginning = file.peek(4)
            hint = next((why for at, why in MISTAKEN.items() if beginning.startswith(at)), None)
            start = len(file.read(3)) if beginning.startswith(MARK) else 0
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                size = len(raw)
                whole: bytes | None = raw
                if size > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    whole = None
                    while (more := file.readline(PIECE)) and not more.endswith(b"\n"):
                        size += len(more)
                    size += len(more)
                yield Line(number, start, size, whole, hint)
                start += size
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from error


def parse_line(line: Line, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return what is made of a line.

    Raises:
        DamagedError: it is damaged; the message is fit to be shown.
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
        cut = why if len(why) <= SHOWN else why[:SHOWN] + "…"
        raise DamagedError(f"not a record ({plain(cut)})") from error


def read_numbered(
    path: Path, parse: Callable[[bytes], Parsed], complain: Complain
) -> Iterator[tuple[Line, Parsed]]:
    """Yield the lines of a file that hold something, with what is parsed of them.

    Args:
        path: a file of records.
        parse: makes something of a line; a DamagedError means that it is damaged.
        complain: told which line is damaged, and how; it is left out.
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
    """Yield what is parsed of a file's lines; see `read_numbered`."""
    return (found for _, found in read_numbered(path, parse, complain))
