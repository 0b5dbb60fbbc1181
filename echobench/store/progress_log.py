"""The trials that a folder has records of, kept current while other processes add to it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path

from echobench.errors import DamagedError
from echobench.store.folder import DONE
from echobench.store.reading import MAX_LINE_BYTES, decoded, record_files
from echobench.trial.record import Machine, Record


class ProgressLog:
    """The keys of a folder's recorded trials; in `recorded`, which of the new ones failed.

    `earlier` has the same of the records that `finished` read, of each trial the last.

    Reading resumes where it stopped, so that each line is read once, however often the log is
    updated. A line that is still incomplete waits for the next update. Damaged lines are
    skipped silently: the commands that print records report them. The folder need not exist;
    records of another machine, and of trials without one of the `keys`, do not count.
    """

    def __init__(
        self, folder: Path, machine: Machine | None = None, keys: Container[str] | None = None
    ) -> None:
        self.folder = folder
        self.recorded: dict[str, bool] = {}
        self.earlier: dict[str, bool] = {}
        self._compared = False
        self._machine = machine
        self._keys = keys
        self._offsets: dict[tuple[Path, int], int] = {}
        """Bytes read of each file. Its inode is part of the key, since files get replaced."""

    def finished(
        self,
        also: Sequence[str] = (),
        *,
        compared: bool = False,
        seen: Callable[[Record], None] = lambda record: None,
    ) -> dict[str, str]:
        """Read the folder for the first time; return the status of each trial that is done.

        Args:
            also: further statuses of trials that are done.
            compared: whether a trial is done only if its last record was compared with a reference,
                unless it diverged, as the reference may have, and no interrupt ended its judge;
                later ones, too.
            seen: called with each record of the machine, whatever its trial.
        """
        self._compared = compared
        done: dict[str, str] = {}
        for record in self._new_records():
            seen(record)
            if not self._is_asked_for(record):
                continue
            self.earlier[record.key] = record.failed
            if record.status not in (*DONE, *also):
                continue
            done[record.key] = record.status
            if compared and (record.lacks_reference or _is_interrupted(record)):
                del done[record.key]
        return done

    def is_failed(self, record: Record) -> bool:
        """Return whether a new record's trial failed, or lacks the reference that it needs."""
        return record.failed or (self._compared and record.lacks_reference)

    def skip_existing(self) -> None:
        """Ignore the lines that exist now: only later ones count."""
        for path in self._files():
            status = path.stat()
            self._offsets[path, status.st_ino] = status.st_size

    def update(self) -> dict[str, bool]:
        """Read the lines added since; return `recorded`."""
        for record in filter(self._is_asked_for, self._new_records()):
            if not (self._compared and _is_interrupted(record)):  # such a trial runs again
                self.recorded[record.key] = self.is_failed(record)
        return self.recorded

    def _files(self) -> list[Path]:
        return record_files(self.folder) if self.folder.is_dir() else []

    def _new_records(self) -> Iterator[Record]:
        for path in self._files():
            for line in self._new_lines(path):
                try:
                    record = decoded(line)
                except DamagedError:
                    continue
                if self._machine is None or record.machine_class == self._machine.kind:
                    yield record

    def _is_asked_for(self, record: Record) -> bool:
        return self._keys is None or record.key in self._keys

    def _new_lines(self, path: Path) -> Iterator[bytes]:
        try:
            status = path.stat()
            file_id = (path, status.st_ino)
            start = self._offsets.get(file_id, 0)
            if start == status.st_size:
                return
            if start > status.st_size:
                start = 0  # the file was rewritten
            with path.open("rb") as file:
                file.seek(start)
                while line := file.readline(MAX_LINE_BYTES + 1):
                    # A longer line is no record; it is skipped piece by piece.
                    if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                        break
                    self._offsets[file_id] = start = start + len(line)
                    yield line
        except OSError:
            return  # removed or unreadable: the commands that print records report it


def _is_interrupted(record: Record) -> bool:
    """Return whether an interrupt ended the judge of a trial's certificate."""
    return record.judge is not None and record.judge.is_interrupted
