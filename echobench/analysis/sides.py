"""The sides of `echobench compare`: which records each has, and how it is written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echobench.errors import UsageError
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store, smoke_runs_only
from echobench.store.referee import sorted_out
from echobench.trial.record import Record, latest

OF_TRIAL = ("threads", "smt", "side_by_side", "devices", "bound", "repeat", "environment")
"""Of `KEYS`, fields of the trial."""
KEYS = ("task", "backend", "engine", "division", "device", *OF_TRIAL, "seed", "machine")
"""What a side can choose; the two trials of a pair are equal in all that neither side chooses."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison, written `PATH`, `key=value,...` or `PATH[key=value,...]`."""

    text: str
    path: Path
    chosen: dict[str, str]

    @classmethod
    def parse(cls, text: str, default: Path) -> Side:
        """Parse a side; `default` is the folder if it names none. Raise UsageError if malformed."""
        match = re.fullmatch(r"([^\[\]]*)\[(.*)\]", text)
        if match:
            path, filters = match[1], match[2]
        elif "=" in text and not Path(text).exists():
            path, filters = "", text
        else:
            path, filters = text, ""
        chosen = _fields(filters)
        if chosen is None:
            raise UsageError(
                f"compare: expected PATH, key=value,... or PATH[key=value,...], the key one "
                f"of {', '.join(KEYS)}; received {text!r}"
            )
        folder = Path(path) if path else default
        if not folder.exists() and not path:
            raise UsageError(
                f"--results: expected a folder of records; received {str(folder)!r}, which is not "
                "there"
            )
        if not folder.exists():
            raise UsageError(
                f"compare: expected a folder or file of records, or a side such as backend=jax; "
                f"received {folder!s}"
            )
        return cls(text, folder, chosen)

    def choosing(self, more: Mapping[str, str]) -> str | None:
        """Return the side with further fields chosen, quoted for a shell.

        None where a value cannot be written in a side.
        """
        chosen = {**self.chosen, **more}
        fields = ",".join(f"{key}={value}" for key, value in chosen.items())
        text = f"{self.path}[{fields}]"
        return shlex.quote(text) if _fields(fields) == chosen else None

    def records(self, plugins: Plugins) -> list[Record]:
        """Return its records: the latest of each trial, in the division its recipe belongs to.

        Raises:
            UsageError: there are none, or they are of several machines that the side names as one.
        """
        recorded = latest(Store.read(self.path))
        if not recorded and (smoke := smoke_runs_only(self.path)):
            raise UsageError(f"compare: {smoke}, and they measure nothing to compare")
        everything, _ = sorted_out(recorded, plugins)
        records = [
            record
            for record in everything
            if all(_has(record, key, value) for key, value in self.chosen.items())
        ]
        machines = {str(_field(record, "machine")) for record in records}
        if "machine" in self.chosen and len(machines) > 1:
            raise UsageError(
                f"compare: expected a part of one machine's name in {self.text!r}; it is part of "
                f"{' and '.join(map(repr, sorted(machines)))}"
            )
        if not records:
            raise UsageError(f"compare: no records for {self.text!r} in {self.path}")
        return records


def _fields(text: str) -> dict[str, str] | None:
    """Return the values of `key=value,...` by key; None if it is malformed."""
    chosen = {}
    # The parameters of a task may contain commas: task=partial[n_in=8,n_out=4].
    for item in re.findall(r"[^,\[\]]+(?:\[[^\]]*\])?", text):
        key, equals, value = item.partition("=")
        if not equals or key not in KEYS:
            return None
        chosen[key] = value
    return chosen


def _field(record: Record, key: str) -> Any:
    if key == "machine":
        return record.machine_class
    if key == "environment":
        return record.cell.variables
    return getattr(record.trial if key in OF_TRIAL else record, key)


def _has(record: Record, key: str, value: str) -> bool:
    """Return whether a field has a value; of a machine's name, which is long, a part will do."""
    field = str(_field(record, key))
    return value in field if key == "machine" else value == field
