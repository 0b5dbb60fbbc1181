"""The results folder: one JSON Lines file per run, of which no line is ever seen half written."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from echobench import interrupts
from echobench.errors import StorageError, UsageError
from echobench.store.locks import lock_writing
from echobench.store.reading import PREDICTIONS, Complaints, decoded, read_lines, record_files
from echobench.text import counted, say
from echobench.trial.record import Machine, Prediction, Record, latest

DONE = ("reached", "missed", "unsupported")
"""Statuses that the same trial would have again, so that it need not run again."""
RECORDS = "records-"
"""Prefix of the names of files with records."""
ROOM = 16 * 2**20
"""Bytes that must be free before a trial starts, for its record and its log."""
STAMP, STAMPED = "%Y%m%dT%H%M%SZ", re.compile(r"-(\d{8}T\d{6}Z)-")
"""Time stamp in the name of a file: when it was created. Files are read in this order."""


class Store:
    """Records under a folder; quick records live apart, in its `quick/`."""

    def __init__(self, folder: Path, *, quick: bool = False) -> None:
        self.folder = folder / "quick" if quick else folder
        self._files: dict[str, Path] = {}
        self._written: set[Path] = set()

    @property
    def logs(self) -> Path:
        """Return the folder of the workers' logs."""
        return self.folder / "logs"

    def check_writable(self, option: str = "--results") -> None:
        """Raise UsageError, which names the option, unless files can be written here."""
        try:
            self._probe()
        except OSError as error:
            is_file = isinstance(error, FileExistsError | NotADirectoryError)
            why = "it is a file, or in one" if is_file else error.strerror
            raise UsageError(
                f"{option} {self.folder}: expected a folder that can be written; {why}"
            ) from error

    def check_room(self) -> None:
        """Raise StorageError unless the folder and its disk can take the record of a trial."""
        self._report_removal()
        try:
            self._probe()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise StorageError(f"{error.strerror} ({self.folder})") from error
        if free < ROOM:
            raise StorageError(
                f"{free / 2**20:.0f} MiB are free, of {ROOM / 2**20:.0f} needed ({self.folder})"
            )

    def _probe(self) -> None:
        """Create and remove a file, and the folder if it does not exist."""
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = self.folder / ".probe"  # always this name, so that a killed run leaves one at most
        probe.touch()
        probe.unlink(missing_ok=True)

    def _report_removal(self) -> None:
        """Report if this run's files were removed meanwhile; later records go into new ones."""
        if not all(path.exists() for path in self._written):
            self._written.clear()
            say(f"{self.folder}: the records of this run so far are gone from here; it goes on")

    def append(self, *records: Record | Prediction) -> None:
        """Append records of one kind, a line each, which are on disk when this returns.

        Records of predictions go into another file. An interrupt waits for the lines.

        Raises:
            StorageError: the file cannot be written; the message says where the lines that it did
                not take were saved.
        """
        if not records:
            return
        prefix = PREDICTIONS if isinstance(records[0], Prediction) else RECORDS
        # Validated again: a NaN, which code may put into a record, would be written as null.
        lines = [type(record).from_dict(record.to_dict()).to_json() for record in records]
        with interrupts.shielded():
            path = self._file(prefix)
            self._report_removal()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                while lines:
                    append_line(path, lines[0])
                    self._written.add(path)
                    lines.pop(0)
            except OSError as error:
                kept = rescue(path, "\n".join(lines))
                one = len(lines) == 1
                last = "the last record is" if one else f"the last {len(lines)} records are"
                where = (
                    f"{last} kept in {kept}: mv it to {self.folder} once that can be written"
                    if kept
                    else f"{last} printed above, since nothing takes {'it' if one else 'them'}"
                )
                raise StorageError(f"{error.strerror} ({path}); {where}") from error

    def _file(self, prefix: str) -> Path:
        """Return this run's file for records of a kind; its name sorts after all existing ones."""
        if prefix not in self._files:
            stamp = later_stamp(path.name for path in self.folder.glob("*.jsonl"))
            self._files[prefix] = self.folder / f"{prefix}{stamp}-{uuid.uuid4().hex[:6]}.jsonl"
        return self._files[prefix]

    def load(self) -> list[Record]:
        """Return all records of training, oldest file first; name damaged lines on stderr."""
        return self.read(self.folder)

    @staticmethod
    def read(path: Path) -> list[Record]:
        """Return the records of training in a file, or in a folder's files, oldest first."""
        return list(_records(path))

    def of(self, machine: Machine | None, keys: Container[str] | None = None) -> Iterator[Record]:
        """Yield the records of these trials on this machine, oldest file first; None is for all."""
        for record in _records(self.folder):
            here = machine is None or record.machine_class == machine.kind
            if here and (keys is None or record.key in keys):
                yield record

    def done(self, machine: Machine, also: Sequence[str] = ()) -> dict[str, Record]:
        """Return the trials that need not run again on this machine; `also` has more statuses."""
        return {r.key: r for r in self.of(machine) if r.status in (*DONE, *also)}


def smoke_runs_only(folder: Path) -> str:
    """Return in words that a folder without records has smoke runs; empty if it has none."""
    count = len(latest(Store(folder, quick=True).load())) if folder.is_dir() else 0
    if not count:
        return ""
    shows = "shows it" if count == 1 else "shows them"
    return (
        f"no records in {folder} but {counted(count, 'smoke run')}; echobench table --quick {shows}"
    )


def _records(path: Path) -> Iterator[Record]:
    with Complaints() as complain:
        for file in record_files(path):
            yield from read_lines(file, decoded, complain)


def later_stamp(names: Iterable[str]) -> str:
    """Return a stamp for a new file: now, or later than those in names, whatever the clock says.

    A clock may have been set back since these were made.
    """
    stamp = datetime.now(UTC).strftime(STAMP)
    last = max((found[1] for name in names if (found := STAMPED.search(name))), default="")
    if stamp > last:
        return stamp
    try:
        return (datetime.strptime(last, STAMP) + timedelta(seconds=1)).strftime(STAMP)
    except (ValueError, OverflowError):  # digits that are no time, or the last one
        return last


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, which may not exist yet, and sync it.

    The file is locked meanwhile, so that lines of several processes do not mix. Where another
    process replaces it before it is locked (`validate --repair`), the line is in the new one.

    Raises:
        OSError: the line could not be written; the file is unchanged.
    """
    new = not path.exists()
    file = _open_locked(path)
    try:
        size = os.fstat(file).st_size
        # Do not continue a line that was cut off.
        cut_off = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        left = memoryview((b"\n" if cut_off else b"") + line.encode() + b"\n")
        try:
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if new:
        sync_folder(path.parent)


def _open_locked(path: Path) -> int:
    """Open a file to append to it, locked, that still has its name."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    before: os.stat_result | None = None
    while True:
        file = os.open(path, flags, 0o666)
        try:
            lock_writing(file)
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                named = path.stat()
                is_same = os.path.samestat(os.fstat(file), named)
                # A file system may give a file one number here and another there.
                if is_same or (before is not None and os.path.samestat(before, named)):
                    return file
                before = named
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file and its folders; readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rescue(path: Path, lines: str) -> Path | None:
    """Write lines that their file did not take to a file in the temporary folder; return that file.

    Its name lets it be moved into the folder of `path`. If it cannot be written either, they
    are printed on stderr, and None returned.
    """
    rescued = None
    try:
        file, name = tempfile.mkstemp(prefix=f"{path.stem}-rescued-", suffix=path.suffix)
        os.close(file)
        rescued = Path(name)
        append_line(rescued, lines)
    except OSError:
        if rescued is not None:
            with contextlib.suppress(OSError):
                rescued.unlink()  # empty
        print(lines, file=sys.stderr, flush=True)
        return None
    return rescued


def sync_folder(folder: Path) -> None:
    """Sync the names of the files in a folder."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
