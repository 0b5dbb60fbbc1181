"""Damaged lines set aside: out of the file of records, byte for byte into one beside it.

`FILE.damaged` holds for each line a header, one line of JSON that says when, from which line,
why, and how many bytes follow; then exactly these bytes; then a newline.

The order of the steps keeps everything on disk at any moment: the damaged lines are in
`FILE.damaged` for good before the file without them takes the place of the file. One that is
interrupted in between leaves them in both, and can be run again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from echobench.errors import DamagedError, NewerError, UsageError
from echobench.store.decoding import decoded, prediction
from echobench.store.reading import PIECE, PREDICTIONS, SET_ASIDE, Line, lines_of, parse_line
from echobench.text import plain

PAUSE = 0.1
"""Seconds in which a run that had opened the file writes its line."""
OURS = ("records-", PREDICTIONS)
"""How the files begin that runs write. Of others, one without any record is left alone."""


@dataclass(frozen=True)
class Repaired:
    """What was done to a file: how many lines were set aside, how many bytes, and where."""

    path: Path
    lines: int
    bytes: int
    aside: Path


def repair(path: Path) -> Repaired | None:
    """Set the damaged lines of a file of records aside; None where there are none.

    Good lines stay byte for byte, and so do those of a newer echobench. A record that is there
    twice is no damage and stays.

    Raises:
        UsageError: it cannot be read or written, or changed meanwhile; it is as it was.
    """
    path = path.resolve()
    if not path.is_file():
        return None  # what cannot be read at all is not set aside
    aside = path.with_name(path.name + SET_ASIDE)
    try:
        with path.open("rb") as source:
            before = os.fstat(source.fileno())
            damaged, others = _damaged(path)
            if not damaged:
                return None
            if not (others or path.name.startswith(OURS)):
                raise DamagedError("it holds no record at all: what is it?")
            _set_aside(source, damaged, aside)
            _replace(source, damaged, path, before)
    except (OSError, DamagedError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"--repair {plain(str(path))}: expected a file that can be read and written, in a "
            f"folder that can; {why}"
        ) from error
    return Repaired(path, len(damaged), sum(line.size for line, _ in damaged), aside)


def _damaged(path: Path) -> tuple[list[tuple[Line, str]], int]:
    """Return the damaged lines, without their bytes, and why they are; how many others hold."""
    parse = prediction if path.name.startswith(PREDICTIONS) else decoded
    damaged: list[tuple[Line, str]] = []
    others = 0
    for line in lines_of(path):
        if line.raw is not None and line.raw.isspace():
            continue
        try:
            parse_line(line, parse)
            others += 1
        except NewerError:
            others += 1
        except DamagedError as error:
            damaged.append((line._replace(raw=None), str(error)))
    return damaged, others


def _set_aside(source: IO[bytes], damaged: list[tuple[Line, str]], aside: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with aside.open("ab") as file:
        if file.tell() and aside.read_bytes()[-1:] != b"\n":
            file.write(b"\n")  # one that was interrupted here
        for line, why in damaged:
            told = {"set_aside_at": now, "line": line.number, "why": why, "bytes": line.size}
            file.write(json.dumps(told).encode() + b"\n")
            _copy(source, file, line.start, line.size)
            file.write(b"\n")
        _keep(file)
    keep_names(aside.parent)


def _replace(
    source: IO[bytes], damaged: list[tuple[Line, str]], path: Path, before: os.stat_result
) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".repair", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            at = 0
            for line, _ in damaged:
                _copy(source, file, at, line.start - at)
                at = line.start + line.size
            _copy(source, file, at, before.st_size - at)
            shutil.copystat(path, name)
            _keep(file)
        if _changed(before, path.stat()):
            raise UsageError(
                f"--repair {plain(str(path))}: expected a file that nobody writes to; it changed "
                "meanwhile, and was left as it is; wait for the run that writes it"
            )
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    keep_names(path.parent)
    # What a run wrote between the last look and the exchange went to the old file. One that had
    # opened it by then writes at once.
    told = before.st_size
    for wait in (0.0, PAUSE):
        time.sleep(wait)
        late = os.fstat(source.fileno()).st_size - told
        if late > 0:
            with path.open("ab") as file:
                _copy(source, file, told, late)
                _keep(file)
            told += late


def _changed(before: os.stat_result, after: os.stat_result) -> bool:
    facts = [(told.st_ino, told.st_size, told.st_mtime_ns) for told in (before, after)]
    return facts[0] != facts[1]


def _copy(source: IO[bytes], target: IO[bytes], start: int, size: int) -> None:
    source.seek(start)
    while size > 0 and (piece := source.read(min(size, PIECE))):
        target.write(piece)
        size -= len(piece)


def _keep(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def keep_names(folder: Path) -> None:
    """Have the disk keep which files are in a folder, as far as its file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
