"""The folder that keeps the records: one JSON Lines file a run, appended and flushed."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from echobench.errors import UsageError
from echobench.results.decoding import decoded
from echobench.results.plain import say
from echobench.results.prediction import Prediction
from echobench.results.record import Record

Parsed = TypeVar("Parsed")
DONE = ("reached", "missed", "unsupported")
"""Statuses that the same trial would come to again, so it need not run again."""
PREDICTIONS = "predictions-"
"""What the names of files with predictions begin with."""
LONGEST = 100
"""Characters that a name of a file keeps."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows."""
SEARCH = "search.jsonl"
"""The log of a search, among its records (`echobench.results.search`)."""


class Store:
    """Records under a folder.

    Args:
        folder: the results folder; quick records live apart, in `quick/`.
        quick: whether to keep quick records or real ones.
    """

    def __init__(self, folder: Path, *, quick: bool = False) -> None:
        self.folder = folder / "quick" if quick else folder
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        run = f"{stamp}-{uuid.uuid4().hex[:6]}.jsonl"
        self._file = self.folder / f"records-{run}"
        self._predictions = self.folder / f"{PREDICTIONS}{run}"

    @property
    def logs(self) -> Path:
        """Return the folder of the trials' logs."""
        return self.folder / "logs"

    def check_writable(self) -> None:
        """Raise UsageError unless records can be written here."""
        probe = self.folder / f".probe-{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"--results {self.folder}: expected a folder that can be written; {error.strerror}"
            ) from error

    def append(self, record: Record | Prediction) -> None:
        """Keep a record: one line, on disk when this returns.

        Those of predictions have a file of their own.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._predictions if isinstance(record, Prediction) else self._file
        with path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> list[Record]:
        """Return all records of training, oldest file first.

        A damaged line is named on stderr and left out.
        """
        return self.read(self.folder) if self.folder.is_dir() else []

    @staticmethod
    def read(path: Path) -> list[Record]:
        """Return the records of training in a file, or in a folder's files, oldest first."""
        full = Record.model_validate_json
        return [record for file in record_files(path) for record in read_lines(file, full)]

    def done(
        self,
        machine: dict[str, Any],
        also: Sequence[str] = (),
        keys: Container[str] | None = None,
    ) -> dict[str, Record]:
        """Return the trials that need not run again on this machine, by key.

        Args:
            machine: its facts; what another machine recorded was not done here.
            also: further statuses that count as done.
            keys: of the trials that are asked about; None for all. The folder may hold
                many more than one keeps in memory.
        """
        here = machine_class(machine)

        def wanted(line: str) -> Record | None:
            record = decoded(line)
            if (
                record.status in (*DONE, *also)
                and (keys is None or record.key in keys)
                and machine_class(record.provenance.get("machine")) == here
            ):
                return Record.model_validate_json(line)
            return None

        files = record_files(self.folder) if self.folder.is_dir() else []
        found = (record for file in files for record in read_lines(file, wanted))
        return {record.key: record for record in found if record is not None}


def record_files(path: Path, pattern: str = "*.jsonl") -> list[Path]:
    """Return the files with records of training: `path` itself, or those in this folder.

    Args:
        path: a file or a folder.
        pattern: of files in the folder; `**/*.jsonl` for those in its folders too.
    """
    if path.is_file():
        return [path]
    return sorted(
        p for p in path.glob(pattern) if p.name != SEARCH and not p.name.startswith(PREDICTIONS)
    )


def file_name(name: str) -> str:
    """Return a name that is one for files too: `partial[n_in=8]` becomes `partial_n_in=8`.

    Whatever the name: one part of a path, on every system, that is neither hidden nor an
    option. A long one ends in its digest.
    """
    fit = re.sub(r"[^A-Za-z0-9._=-]+", "_", name).strip("_.").lstrip("-_.") or "_"
    if len(fit) > LONGEST:
        fit = f"{fit[:LONGEST]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    return f"_{fit}" if RESERVED.fullmatch(fit) else fit


def machine_class(machine: dict[str, Any] | None) -> str:
    """Return what makes two machines comparable: processor, usable cores, GPUs."""
    facts = machine or {}
    cores = facts.get("cores")
    counted = "1 core" if cores == 1 else f"{cores} cores"
    return ", ".join([f"{facts.get('cpu')}", counted, *facts.get("gpus", [])])


def read_lines(
    path: Path, parse: Callable[[str], Parsed], complain: Callable[[str], None] = say
) -> Iterator[Parsed]:
    """Yield what is parsed of a file's lines.

    Args:
        path: a file of records.
        parse: makes something of a line; a ValidationError means that it is damaged.
        complain: told which line is damaged, and how; it is left out.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield parse(line)
            except ValidationError as error:
                problem = error.errors()[0]
                where = ".".join(map(str, problem["loc"])) or "line"
                complain(f"{path}:{number}: not a record ({where}: {problem['msg']}); left out")


def latest(records: list[Record]) -> list[Record]:
    """Return the records of the table: of each trial the last one run on each machine.

    A trial that was forced or retried has several; the older ones stay on disk.
    """
    kept = {(r.key, machine_class(r.provenance.get("machine"))): r for r in records}
    return list(kept.values())
