"""Folders of records joined: validated, each record once, the same bytes in whatever order.

What was merged into a folder lies in files of its own, `records-DAY-merged-PART-DIGEST.jsonl`
for each day on which trials started (UTC), sorted by start and key. What these files hold and
how they are named follows from the set of records alone. A record is identified by what it
says (`decoding.canonical`), not by how its line is written; its line is kept as it was, and of
several the one with the least digest.

Files that a run writes in the folder are read, so that nothing is there twice, and left alone.
New files are in place whole before the merged ones that they replace are removed: a merge that
is interrupted leaves records twice at worst, and the next one puts that right.
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
from typing import IO, NamedTuple, cast

from echobench.errors import StorageError, UsageError
from echobench.machine import parallel
from echobench.plugin.manager import Plugins
from echobench.store.decoding import canonical, decoded, prediction
from echobench.store.reading import (
    PREDICTIONS,
    SEARCH,
    SHOWN,
    Complaints,
    Damage,
    json_lines_files,
    read_numbered,
    size_of,
)
from echobench.store.referee import faults
from echobench.store.repair import keep_names
from echobench.text import plain
from echobench.trial.prediction import Prediction
from echobench.trial.record import Record, machine_class

try:
    import fcntl
except ImportError:  # Windows: one merge at a time is up to the user
    fcntl = None  # type: ignore[assignment] # the module or nothing

RECORDS, QUICK, WORKSHOP = "records-", "quick", ".merging-"
"""Beginning of a file with records, folder of smoke runs, beginning of what is not finished."""
LARGE = 32_000_000
"""Bytes of sources from which on it pays to read them in several processes."""
PART = 100_000
"""Records of a file."""
OPEN = 64
"""Sources that are held open while records are copied."""
DIGEST = 16
"""Bytes of each digest."""
MERGED = re.compile(r"(records|predictions)-\d{8}T\d{6}Z-merged-\d{4}-[0-9a-f]{12}\.jsonl")


class Entry(NamedTuple):
    """A line with a record, without what it says.

    Attributes:
        order: what lines are sorted by: start, key, then digests of the machine, of what
            the record says, and of the line itself.
        file: number of the file.
        number: of the line.
        at, size: where its bytes are.
    """

    order: bytes
    file: int
    number: int
    at: int
    size: int

    @property
    def trial(self) -> bytes:
        """Return what a machine can have but one record of: trial, machine and start."""
        return self.order[: -2 * DIGEST]

    @property
    def says(self) -> bytes:
        """Return what two lines of the same record share."""
        return self.order[:-DIGEST]

    @property
    def line(self) -> bytes:
        """Return the digest of the line."""
        return self.order[-DIGEST:]


class Source(NamedTuple):
    """A file to read.

    Attributes:
        path: where it is.
        place: the folder that its records belong into, below the target.
        role: `new` for one to merge; `merged` and `own` for those of the target: what was
            merged into it, and what was written there.
        plugins: files of plugins, of which the referee must know the tasks.
    """

    path: Path
    place: Path
    role: str
    plugins: tuple[Path, ...]


Place = tuple[Path, str]
"""A folder below the target, and what the names of its files begin with."""
Found = tuple[dict[Place, list[tuple[bytes, int, int, int]]], list[str], Complaints]


@dataclass
class Merged:
    """What came of a merge.

    Attributes:
        read: records in the sources.
        new: of these, not there before; each counted once.
        conflicts: where two records of one trial, machine and start differ; both are kept.
        written, removed: files.
        left_out: what cannot be read or cannot be true.
    """

    read: int = 0
    new: int = 0
    conflicts: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    removed: int = 0
    left_out: Complaints = field(default_factory=Complaints)


def sources_of(paths: Sequence[Path], into: Path, plugins: Sequence[Path]) -> list[Source]:
    """Return the files of records and predictions in paths, each with its place in the target.

    A file in a folder keeps its place below it: studies stay studies. Logs of searches are not
    among them.

    Raises:
        UsageError: a path is not there, or there are none.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"merge: expected files or folders of records; received {path!s}")
        for file in json_lines_files(path, "**/*.jsonl"):
            real = file.resolve()
            if file.name == SEARCH or real.is_relative_to(into.resolve()):
                continue
            place = file.parent.relative_to(path) if path.is_dir() else Path()
            found.setdefault(real, Source(file, place, "new", tuple(plugins)))
    if not found:
        raise UsageError(f"merge: no records in {', '.join(map(str, paths))}")
    return list(found.values())


def merge(sources: Sequence[Source], into: Path) -> Merged:
    """Merge files of records and predictions into a folder.

    Raises:
        UsageError: it cannot be written, or another merge is at work there.
        StorageError: it cannot be kept, or a source changed meanwhile; the folder is as it was.
    """
    done = Merged()
    into = into.resolve()
    try:
        into.mkdir(parents=True, exist_ok=True)
        with _alone(into), done.left_out:
            there = [
                Source(file, file.parent.relative_to(into), role, ())
                for file in json_lines_files(into, "**/*.jsonl")
                if file.name != SEARCH
                for role in ["merged" if MERGED.fullmatch(file.name) else "own"]
            ]
            _merge([*sources, *there], into, done)
    except OSError as error:
        raise StorageError(
            f"merge: {error.strerror} ({error.filename or into}); what was there is as it was; "
            "the same command goes on"
        ) from error
    return done


def _merge(sources: list[Source], into: Path, done: Merged) -> None:
    entries = _surveyed(sources, done)
    kept: set[Path] = set()
    finished: dict[Path, Path] = {}
    with _workshop(into) as workshop:
        for place in sorted(entries, key=str):
            for path, part in _parts(into, place, _chosen(entries.pop(place), sources, done)):
                kept.add(path)
                if not path.exists():
                    finished[path] = workshop / str(len(finished))
                    _write(finished[path], part, sources)
        for path, beside in finished.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.replace(path)
        for folder in {path.parent for path in finished}:
            keep_names(folder)
    stale = [s.path for s in sources if s.role == "merged" and s.path not in kept]
    for path in stale:
        path.unlink()
    done.written, done.removed = list(finished), len(stale)


def _surveyed(sources: list[Source], done: Merged) -> dict[Place, list[Entry]]:
    """Read all files; return what is in them by place."""
    entries: dict[Place, list[Entry]] = defaultdict(list)
    large = sum(size_of(source.path) for source in sources) > LARGE
    surveys = parallel.map_files(survey, sources, large=large)
    for number, (found, told, left_out) in enumerate(surveys):
        if sources[number].role == "new":
            done.left_out.add(told, left_out)
            done.read += sum(map(len, found.values()))
        elif sources[number].role == "merged" and left_out.counts:
            # What is damaged in it would be lost with it.
            sources[number] = sources[number]._replace(role="own")
        for place, lines in found.items():
            entries[place] += [Entry(order, number, *where) for order, *where in lines]
    return entries


def survey(source: Source) -> Found:
    """Return where the records of a file are, what of it to name, and what is left out."""
    found: dict[Place, list[tuple[bytes, int, int, int]]] = defaultdict(list)
    told: list[str] = []
    left_out = Complaints(told.append)
    trained = not source.path.name.startswith(PREDICTIONS)
    parse: Callable[[bytes], Record | Prediction] = decoded if trained else prediction
    for line, record in read_numbered(source.path, parse, left_out):
        why = _why_refused(record, source)
        if why:
            left_out(Damage(source.path, line.number, why, "refused"))
            continue
        place = source.place
        if source.role == "new" and trained and record.trial.get("quick"):
            # Smoke runs never come among the others.
            place = place if QUICK in place.parts else place / QUICK
        order = _order(record) + _digest((line.raw or b"").strip())
        kind = RECORDS if trained else PREDICTIONS
        found[place, kind].append((order, line.number, line.start, line.size))
    return dict(found), told, left_out


def _why_refused(record: Record | Prediction, source: Source) -> str | None:
    """Return why a record cannot be true; of predictions, the referee knows but the schema."""
    if source.role != "new" or source.path.name.startswith(PREDICTIONS):
        return None
    broken = faults(cast(Record, record), _plugins(source.plugins))
    errors = [f"{about}: {message}" for severity, about, message in broken if severity == "error"]
    return plain(f"cannot be true ({errors[0]})"[:SHOWN]) if errors else None


@functools.cache
def _plugins(files: tuple[Path, ...]) -> Plugins:
    return Plugins(files)


def _order(record: Record | Prediction) -> bytes:
    """Return all of an entry's order but the digest of its line."""
    key = getattr(record, "key", None)
    if key is None:
        told = cast(Prediction, record)
        key = f"{told.model_sha256} {told.task} {told.backend} {told.device} {told.threads}"
    machine = machine_class(record.provenance.get("machine")).encode()
    start = f"{record.started_at}\0{key}\0".encode()
    return start + _digest(machine) + _digest(canonical(record))


def _digest(told: bytes) -> bytes:
    return hashlib.blake2b(told, digest_size=DIGEST).digest()


def _chosen(entries: list[Entry], sources: Sequence[Source], done: Merged) -> list[Entry]:
    """Return of each record one line, in order, but of those that runs wrote in the target."""
    entries.sort()
    chosen = []
    for _, trials in itertools.groupby(entries, key=lambda entry: entry.trial):
        firsts = []
        fresh = False
        for _, group in itertools.groupby(trials, key=lambda entry: entry.says):
            same = list(group)
            roles = {sources[entry.file].role for entry in same}
            if roles == {"new"}:
                done.new += 1
                fresh = True
            if "own" not in roles:
                chosen.append(same[0])
            firsts.append(same[0])
        if fresh and len(firsts) > 1:
            places = [f"{sources[one.file].path}:{one.number}" for one in firsts]
            done.conflicts.append(plain(" and ".join(places)))
    return chosen


def _parts(into: Path, place: Place, chosen: list[Entry]) -> Iterator[tuple[Path, list[Entry]]]:
    """Yield the files for records in order, by the day of their start, and what is in each."""
    folder, kind = place
    for day, group in itertools.groupby(chosen, key=_day):
        records = list(group)
        for number in range(0, len(records), PART):
            part = records[number : number + PART]
            digest = _digest(b"".join(entry.line for entry in part)).hex()[:12]
            name = f"{kind}{day}T000000Z-merged-{number // PART:04}-{digest}.jsonl"
            yield into / folder / name, part


def _day(entry: Entry) -> str:
    start = re.match(rb"(\d{4})-(\d\d)-(\d\d)", entry.order)
    return b"".join(start.groups()).decode() if start else "00000000"


def _write(path: Path, part: Sequence[Entry], sources: Sequence[Source]) -> None:
    """Write a file of records, whole and on disk when this returns."""
    opened: dict[int, IO[bytes]] = {}
    try:
        with path.open("wb") as target:
            for entry in part:
                source = sources[entry.file].path
                if entry.file not in opened:
                    if len(opened) == OPEN:
                        opened.pop(next(iter(opened))).close()
                    opened[entry.file] = source.open("rb")
                opened[entry.file].seek(entry.at)
                line = opened[entry.file].read(entry.size).strip()
                if _digest(line) != entry.line:
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


@contextlib.contextmanager
def _workshop(into: Path) -> Iterator[Path]:
    """Make a folder for what is not finished; remove it, and what interrupted merges left."""
    for left in into.glob(f"{WORKSHOP}*"):
        shutil.rmtree(left)
    made = Path(tempfile.mkdtemp(prefix=WORKSHOP, dir=into))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _alone(into: Path) -> Iterator[None]:
    """Keep other merges out of a folder, where its file system has locks."""
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
        pass  # it has none
    try:
        yield
    finally:
        os.close(folder)
