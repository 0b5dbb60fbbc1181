"""Merge folders of records: validate them, keep each record once, in files that are reproducible.

Merged records are kept in files of their own, `records-DAY-merged-PART-DIGEST.jsonl` for each
day (UTC) on which trials started, sorted by start and key. Contents and names of these files
depend only on the set of records, not on the order of merges. A record is identified by its
content (`reading.canonical`), not by how its line is formatted; of several lines with one
content, that with the smallest digest is kept unchanged.

Files that a run writes in the target are read, to avoid duplicates, but never changed. New
files are complete before the merged files that they replace are removed: an interrupted merge
leaves duplicates at worst, which the next merge removes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from echobench.errors import StorageError, UsageError
from echobench.machine import parallel
from echobench.plugin.manager import Plugins
from echobench.store.crosscheck import MERGED
from echobench.store.folder import RECORDS, sync_folder
from echobench.store.locks import fcntl
from echobench.store.reading import (
    MAX_MESSAGE,
    PREDICTIONS,
    SEARCH,
    Complaints,
    Damage,
    canonical,
    decoded,
    decoded_prediction,
    json_lines_files,
    read_numbered,
)
from echobench.store.referee import faults
from echobench.text import plain
from echobench.trial.record import Prediction, Record

QUICK, UNFINISHED = "quick", ".merging-"
"""Folder of smoke runs, and prefix of the folder of unfinished files."""
PART = 100_000
"""Records per file."""
MAX_OPEN = 64
"""Sources that are open at once while records are copied."""
DIGEST = 16
"""Bytes per digest."""


class Entry(NamedTuple):
    """Where a record is, without its content.

    Entries sort by `order`: start, key, then digests of the machine, of the record's content, and
    of the line itself. `file` is the index of the source; `start` and `size` are in bytes.
    """

    order: bytes
    file: int
    number: int
    start: int
    size: int

    @property
    def trial(self) -> bytes:
        """Trial, machine and start, which identify one run."""
        return self.order[: -2 * DIGEST]

    @property
    def content(self) -> bytes:
        """Equal for two lines of the same record."""
        return self.order[:-DIGEST]

    @property
    def line_digest(self) -> bytes:
        """The digest of the line as it is formatted."""
        return self.order[-DIGEST:]


class Source(NamedTuple):
    """A file to read, and the folder below the target for its records.

    Its role is `new` for a file to merge; of the target's own files, `merged` for those that a
    merge wrote and `own` for those that a run wrote. `plugins` are those that the referee needs.
    """

    path: Path
    folder: Path
    role: str
    plugins: tuple[Path, ...]


Destination = tuple[Path, str]
"""A folder below the target, and the prefix of its files."""
Survey = tuple[dict[Destination, list[tuple[bytes, int, int, int]]], list[str], Complaints]


@dataclass
class MergeReport:
    """The result of a merge: numbers of records, and the lines that were in conflict or left out.

    Attributes:
        read: number of records in the sources.
        new: number of these that were not in the target, duplicates counted once.
        conflicts: lines of records that differ, of one trial, machine and start; all are kept.
        written, removed: new files, and the number of files that these replace.
    """

    read: int = 0
    new: int = 0
    conflicts: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    removed: int = 0
    left_out: Complaints = field(default_factory=Complaints)


def sources_of(paths: Sequence[Path], into: Path, plugins: Sequence[Path]) -> list[Source]:
    """Return the files of records and predictions in paths, each with its folder in the target.

    Subfolders are kept, so that studies stay studies. Logs of searches are left out.

    Raises:
        UsageError: a path does not exist, or there are no records.
    """
    sources: dict[Path, Source] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"merge: expected files or folders of records; received {path!s}")
        for file in json_lines_files(path, deep=True):
            real = file.resolve()
            if file.name == SEARCH or real.is_relative_to(into.resolve()):
                continue
            folder = file.parent.relative_to(path) if path.is_dir() else Path()
            sources.setdefault(real, Source(file, folder, "new", tuple(plugins)))
    if not sources:
        raise UsageError(f"merge: no records in {', '.join(map(str, paths))}")
    return list(sources.values())


def merge(sources: Sequence[Source], into: Path) -> MergeReport:
    """Merge files of records and predictions into a folder.

    Raises:
        UsageError: another merge is at work in the folder.
        StorageError: the folder cannot be written, or a source changed; it is unchanged.
    """
    report = MergeReport()
    into = into.resolve()
    try:
        into.mkdir(parents=True, exist_ok=True)
        with _exclusive(into), report.left_out:
            existing = [
                Source(file, file.parent.relative_to(into), role, ())
                for file in json_lines_files(into, deep=True)
                if file.name != SEARCH
                for role in ["merged" if MERGED.fullmatch(file.name) else "own"]
            ]
            _merge([*sources, *existing], into, report)
    except OSError as error:
        raise StorageError(
            f"merge: {error.strerror} ({error.filename or into}); what was there is as it was; "
            "the same command goes on"
        ) from error
    return report


def _merge(sources: list[Source], into: Path, report: MergeReport) -> None:
    entries = _survey_all(sources, report)
    kept: set[Path] = set()
    finished: dict[Path, Path] = {}
    with _unfinished_folder(into) as unfinished:
        for destination in sorted(entries, key=str):
            chosen = _choose(entries.pop(destination), sources, report)
            for path, part in _parts(into, destination, chosen):
                kept.add(path)
                if not path.exists():
                    finished[path] = Path(unfinished, str(len(finished)))
                    _write(finished[path], part, sources)
        for path, temporary in finished.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)
        for folder in {path.parent for path in finished}:
            with contextlib.suppress(OSError):  # a file system that cannot
                sync_folder(folder)
    stale = [s.path for s in sources if s.role == "merged" and s.path not in kept]
    for path in stale:
        path.unlink()
    report.written, report.removed = list(finished), len(stale)


def _survey_all(sources: list[Source], report: MergeReport) -> dict[Destination, list[Entry]]:
    """Read all files; return their entries by destination."""
    entries: dict[Destination, list[Entry]] = defaultdict(list)
    surveys = parallel.map_files(survey, sources, [source.path for source in sources])
    for number, (lines_by_destination, messages, left_out) in enumerate(surveys):
        if sources[number].role == "new":
            report.left_out.add(messages, left_out)
            report.read += sum(map(len, lines_by_destination.values()))
        elif sources[number].role == "merged" and left_out.counts:
            # Keep the file: its damaged lines would be lost with it.
            sources[number] = sources[number]._replace(role="own")
        for destination, lines in lines_by_destination.items():
            entries[destination] += [Entry(order, number, *where) for order, *where in lines]
    return entries


def survey(source: Source) -> Survey:
    """Read a file; return where its records are, which lines to name, and all that is left out."""
    lines: dict[Destination, list[tuple[bytes, int, int, int]]] = defaultdict(list)
    messages: list[str] = []
    left_out = Complaints(messages.append)
    trained = not source.path.name.startswith(PREDICTIONS)
    parse: Callable[[bytes], Record | Prediction] = decoded if trained else decoded_prediction
    for line, record in read_numbered(source.path, parse, left_out):
        why = _why_refused(record, source)
        if why:
            left_out(Damage(source.path, line.number, why, "refused"))
            continue
        folder = source.folder
        if source.role == "new" and trained and record.trial.quick:
            # Keep smoke runs apart from other records.
            folder = folder if QUICK in folder.parts else folder / QUICK
        order = _order(record) + _digest((line.raw or b"").strip())
        prefix = RECORDS if trained else PREDICTIONS
        lines[folder, prefix].append((order, line.number, line.start, line.size))
    return dict(lines), messages, left_out


def _why_refused(record: Record | Prediction, source: Source) -> str | None:
    """Return why a record cannot be true; predictions have only their schema checked."""
    if source.role != "new" or isinstance(record, Prediction):
        return None
    broken = faults(record, _plugins(source.plugins))
    errors = [f"{about}: {message}" for severity, about, message in broken if severity == "error"]
    return plain(f"cannot be true ({errors[0]})"[:MAX_MESSAGE]) if errors else None


@functools.cache
def _plugins(files: tuple[Path, ...]) -> Plugins:
    return Plugins(files)


def _order(record: Record | Prediction) -> bytes:
    """Return an entry's order, except for the digest of its line."""
    start = f"{record.started_at}\0{record.key}\0".encode()
    return start + _digest(record.machine_class.encode()) + _digest(canonical(record))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def _choose(entries: list[Entry], sources: Sequence[Source], report: MergeReport) -> list[Entry]:
    """Return one line for each record, sorted, except for records that runs wrote in the target."""
    entries.sort()
    chosen = []
    for _, same_trial in itertools.groupby(entries, key=lambda entry: entry.trial):
        firsts = []
        any_new = False
        for _, group in itertools.groupby(same_trial, key=lambda entry: entry.content):
            same_record = list(group)
            roles = {sources[entry.file].role for entry in same_record}
            if roles == {"new"}:
                report.new += 1
                any_new = True
            if "own" not in roles:
                chosen.append(same_record[0])
            firsts.append(same_record[0])
        if any_new and len(firsts) > 1:
            lines = [f"{sources[entry.file].path}:{entry.number}" for entry in firsts]
            report.conflicts.append(plain(" and ".join(lines)))
    return chosen


def _parts(
    into: Path, destination: Destination, chosen: list[Entry]
) -> Iterator[tuple[Path, list[Entry]]]:
    """Divide sorted entries into files by the day of their start; yield each with its entries."""
    folder, prefix = destination
    for day, group in itertools.groupby(chosen, key=_day):
        entries = list(group)
        for number in range(0, len(entries), PART):
            part = entries[number : number + PART]
            digest = _digest(b"".join(entry.line_digest for entry in part)).hex()[:12]
            name = f"{prefix}{day}T000000Z-merged-{number // PART:04}-{digest}.jsonl"
            yield into / folder / name, part


def _day(entry: Entry) -> str:
    start = re.match(rb"(\d{4})-(\d\d)-(\d\d)", entry.order)
    return b"".join(start.groups()).decode() if start else "00000000"


def _write(path: Path, part: Sequence[Entry], sources: Sequence[Source]) -> None:
    """Write a file of records and sync it."""
    opened: dict[int, IO[bytes]] = {}
    try:
        with path.open("wb") as target:
            for entry in part:
                source = sources[entry.file].path
                if entry.file not in opened:
                    if len(opened) == MAX_OPEN:
                        opened.pop(next(iter(opened))).close()
                    opened[entry.file] = source.open("rb")
                opened[entry.file].seek(entry.start)
                line = opened[entry.file].read(entry.size).strip()
                if _digest(line) != entry.line_digest:
                    raise StorageError(
                        f"merge: {plain(str(source))} changed while it was read; what was there "
                        "is as it was; the same command goes on"
                    )
                target.write(line + b"\n")
            target.flush()
            os.fsync(target.fileno())
    finally:
        for file in opened.values():
            file.close()


def _unfinished_folder(into: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a folder for unfinished files; remove those that interrupted merges left."""
    for stale in into.glob(f"{UNFINISHED}*"):
        shutil.rmtree(stale)
    return tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=into, ignore_cleanup_errors=True)


@contextlib.contextmanager
def _exclusive(into: Path) -> Iterator[None]:
    """Keep other merges out of a folder, if its file system has locks."""
    if fcntl is None:
        yield
        return
    folder = os.open(into, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(folder)
        raise UsageError(
            f"merge: expected a folder that nobody merges into; another merge is at work in {into}"
        ) from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(folder)
