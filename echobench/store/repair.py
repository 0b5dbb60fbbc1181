"""Move damaged lines out of a file of records, byte for byte, into a file beside it.

`FILE.damaged` holds for each line a header, one line of JSON that says when it was moved, from
which line, why, and how many bytes follow; then exactly these bytes; then a newline.

Everything is on disk at any moment: the damaged lines are synced in `FILE.damaged` before the
file without them replaces the file. An interruption in between leaves them in both, and the
repair can be run again.
"""

from __future__ import annotations

import contextlib
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
from echobench.store.folder import RECORDS, sync_folder
from echobench.store.locks import lock_writing
from echobench.store.reading import (
    CHUNK,
    PREDICTIONS,
    SET_ASIDE,
    Line,
    decoded,
    decoded_prediction,
    lines_of,
    parse_line,
)
from echobench.text import plain

LATE_WRITE_S = 0.1
"""Time for a run to write its line that has opened the file where no file can be locked."""
OURS = (RECORDS, PREDICTIONS)
"""Prefixes of files that runs write. Another file without any record is left alone."""


@dataclass(frozen=True)
class Repaired:
    """How much was moved out of a file, and the file beside it that holds that now."""

    path: Path
    lines: int
    bytes: int
    aside: Path


def repair(path: Path) -> Repaired | None:
    """Move the damaged lines of a file of records aside; None if there are none.

    Good lines stay byte for byte, and so do those of a newer echobench. A duplicate record is
    no damage and stays.

    Raises:
        UsageError: the file cannot be read or written, or changed meanwhile; it is unchanged.
    """
    path = path.resolve()
    if not path.is_file():
        return None  # only files can be repaired
    aside = path.with_name(path.name + SET_ASIDE)
    try:
        with _opened(path) as source:
            is_locked = lock_writing(source.fileno())
            before = os.fstat(source.fileno())
            damaged, intact = _damaged_lines(path)
            if not damaged:
                return None
            if not (intact or path.name.startswith(OURS)):
                raise DamagedError("it holds no record at all: what is it?")
            _write_aside(source, damaged, aside)
            _replace(source, damaged, path, before, is_locked)
    except (OSError, DamagedError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"--repair {plain(str(path))}: expected a file that can be read and written, in a "
            f"folder that can; {why}"
        ) from error
    return Repaired(path, len(damaged), sum(line.size for line, _ in damaged), aside)


def _opened(path: Path) -> IO[bytes]:
    """Open a file to read it, and to lock it: some file systems lock only what can be written."""
    try:
        return path.open("r+b")
    except PermissionError:  # its folder is what must be writable
        return path.open("rb")


def _damaged_lines(path: Path) -> tuple[list[tuple[Line, str]], int]:
    """Return the damaged lines, without their bytes, each with its reason; and count the others."""
    parse = decoded_prediction if path.name.startswith(PREDICTIONS) else decoded
    damaged: list[tuple[Line, str]] = []
    intact = 0
    for line in lines_of(path):
        if line.raw is not None and line.raw.isspace():
            continue
        try:
            with contextlib.suppress(NewerError):
                parse_line(line, parse)
            intact += 1
        except DamagedError as error:
            damaged.append((line._replace(raw=None), str(error)))
    return damaged, intact


def _write_aside(source: IO[bytes], damaged: list[tuple[Line, str]], aside: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with aside.open("ab") as file:
        if file.tell() and aside.read_bytes()[-1:] != b"\n":
            file.write(b"\n")  # an earlier repair was interrupted here
        for line, why in damaged:
            header = {"set_aside_at": now, "line": line.number, "why": why, "bytes": line.size}
            file.write(json.dumps(header).encode() + b"\n")
            _copy(source, file, line.start, line.size)
            file.write(b"\n")
        _sync(file)
    _sync_names(aside.parent)


def _replace(
    source: IO[bytes],
    damaged: list[tuple[Line, str]],
    path: Path,
    before: os.stat_result,
    is_locked: bool,
) -> None:
    """Replace a file by one without its damaged lines, unless it has changed since `before`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".repair", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            copied = 0
            for line, _ in damaged:
                _copy(source, file, copied, line.start - copied)
                copied = line.start + line.size
            _copy(source, file, copied, before.st_size - copied)
            shutil.copystat(path, name)
            _sync(file)
        if _identity(before) != _identity(path.stat()):
            raise UsageError(
                f"--repair {plain(str(path))}: expected a file that nobody writes to; it changed "
                "meanwhile, and was left as it is; wait for the run that writes it"
            )
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_names(path.parent)
    # Without locks, a run may have appended to the old file between the check and the replacement,
    # or may have opened it by then and append at once.
    copied = before.st_size
    for wait in (0.0,) if is_locked else (0.0, LATE_WRITE_S):
        time.sleep(wait)
        late = os.fstat(source.fileno()).st_size - copied
        if late > 0:
            with path.open("ab") as file:
                _copy(source, file, copied, late)
                _sync(file)
            copied += late


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _copy(source: IO[bytes], target: IO[bytes], start: int, size: int) -> None:
    source.seek(start)
    while size > 0 and (chunk := source.read(min(size, CHUNK))):
        target.write(chunk)
        size -= len(chunk)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_names(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a file system that cannot
        sync_folder(folder)
