"""What has been run, kept up while other processes add to the same folder."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from echobench.errors import DamagedError
from echobench.store.decoding import decoded
from echobench.store.folder import DONE
from echobench.store.reading import LONGEST, record_files
from echobench.trial.record import Record, machine_class


class Journal:
    """The trials that a folder has records of: their keys, and nothing else of them.

    Files are read on from where they were read to, so that a folder is read once, however
    often it is looked at. A line that is not whole yet waits for the next look. Damaged lines
    are passed over: whoever prints records names them.

    Args:
        folder: of the records; it need not be there.
        machine: its facts; what another machine recorded was not done here. None for any.
        keys: of the trials that are asked about; None for all.

    Attributes:
        since: the trials recorded since the first look, with whether they failed.
    """

    def __init__(
        self,
        folder: Path,
        machine: dict[str, Any] | None = None,
        keys: Container[str] | None = None,
    ) -> None:
        self.folder = folder
        self.since: dict[str, bool] = {}
        self._class = None if machine is None else machine_class(machine)
        self._keys = keys
        self._read_to: dict[tuple[Path, int], int] = {}
        """Bytes by file, and not by name alone, which may be given to another."""

    def done(self, also: Sequence[str] = ()) -> set[str]:
        """Take the first look: return the trials that need not run again.

        Args:
            also: further statuses that count as done.
        """
        return {record.key for record in self._new() if record.status in (*DONE, *also)}

    def skip(self) -> None:
        """Take the first look at what is there unread: only what comes later counts."""
        for path in self._files():
            found = path.stat()
            self._read_to[path, found.st_ino] = found.st_size

    def look(self) -> dict[str, bool]:
        """Read what was added; return `since`."""
        for record in self._new():
            self.since[record.key] = record.status == "failed" or record.failed_parity
        return self.since

    def _files(self) -> list[Path]:
        return record_files(self.folder) if self.folder.is_dir() else []

    def _new(self) -> Iterator[Record]:
        """Yield the records of lines that were not there before."""
        for path in self._files():
            for line in self._lines(path):
                try:
                    record = decoded(line)
                except DamagedError:
                    continue
                told = record.provenance.get("machine")
                here = self._class is None or machine_class(told) == self._class
                if here and (self._keys is None or record.key in self._keys):
                    yield record

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            found = path.stat()
            place = (path, found.st_ino)
            start = self._read_to.get(place, 0)
            if start == found.st_size:
                return
            if start > found.st_size:
                start = 0  # written anew
            with path.open("rb") as file:
                file.seek(start)
                while line := file.readline(LONGEST + 1):
                    # What is longer is no record, and is passed over in pieces.
                    if not line.endswith(b"\n") and len(line) <= LONGEST:
                        break
                    self._read_to[place] = start = start + len(line)
                    yield line
        except OSError:
            return  # gone since it was listed, or not to be read: who prints records says so
