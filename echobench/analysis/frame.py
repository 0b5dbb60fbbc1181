"""Records as a frame: a row a record, of which it holds what the table reads; millions fit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from echobench.machine import parallel
from echobench.store.decoding import decoded
from echobench.store.reading import Complaints, read_lines, record_files
from echobench.trial.record import FLOATS, INTEGERS, TABLE_FIELDS, Record

CELL = ["task", "backend", "engine", "division", "device"]
OWN = ("key", "epochs", "updates", "wall_to_target_s")
"""Fields of the record that the frame holds beside those of the table."""
TOLD = ("cell", "machine", "again", "attempts")
DOUBTS = ("unchecked", "lasted", "disturbed")
"""What the frame says of a record beside its fields: see `frame`."""
DIFFERENT = ("key", "started_at")
"""Texts that are another in every record."""
Records: TypeAlias = "Iterable[Record] | pd.DataFrame"
"""Records, or their frame: what reads the one reads the other."""

_fields = attrgetter(*TABLE_FIELDS, *OWN)


def frame(records: Records) -> pd.DataFrame:
    """Return records as a frame; a frame as it is.

    Its columns are the table's fields, those of `OWN`, and

    - `cell`: what trials of one row share, a `Cell`;
    - `machine`: what makes it comparable (`Record.machine_class`);
    - `again`: which repeat, in words; empty for the first;
    - `attempts`: what is said of it where it was run again, having failed; else empty;
    - `unchecked`, `lasted`, `disturbed`: what the table doubts.

    A trial that failed the parity gate is `failed`, and keeps no figure: it trained
    something else.
    """
    if isinstance(records, pd.DataFrame):
        return records
    names = (*TABLE_FIELDS, *OWN, *TOLD, *DOUBTS)
    columns = list(zip(*map(_row, records), strict=True)) or [()] * len(names)
    return pd.DataFrame({n: _column(n, c) for n, c in zip(names, columns, strict=True)})


def load(folder: Path) -> pd.DataFrame:
    """Return the frame of all records of training in a folder, oldest file first.

    A damaged line is named on stderr and left out.
    """
    files = record_files(folder)
    frames = []
    with Complaints() as complaints:
        for part, told, left_out in parallel.map_files(_load, files, files):
            frames.append(part)
            complaints.add(told, left_out)
    return _joined(frames)


def latest(everything: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table: of each trial the last one run on each machine."""
    run = everything.groupby(["key", "machine"], sort=False, observed=True).ngroup()
    last = ~run.duplicated(keep="last")
    # Each where its trial was run first, as in `store.latest`.
    return everything[last].iloc[np.argsort(run[last].to_numpy(), kind="stable")]


def _load(path: Path) -> tuple[pd.DataFrame, list[str], Complaints]:
    """Return the frame of a file, what of it to name as damaged, and what was left out."""
    told: list[str] = []
    complaints = Complaints(told.append)
    return frame(read_lines(path, decoded, complaints)), told, complaints


def _row(record: Record) -> tuple[Any, ...]:
    repeat = record.trial.repeat
    return (
        *(_without_figures(record) if record.failed_parity else _fields(record)),
        record.cell,
        sys.intern(record.machine_class),
        f" repeat {repeat}" if repeat else "",
        _after(record.provenance.attempts),
        record.parity is not None and record.parity.passed is None,
        record.lasted,
        bool(record.disturbances),
    )


def _after(attempts: Sequence[Any] | None) -> str:
    return f"after {len(attempts)} attempts" if attempts and len(attempts) > 1 else ""


def _without_figures(record: Record) -> list[Any]:
    parity = record.parity
    assert parity is not None  # it failed
    kept = {name: getattr(record, name) for name in (*CELL, "seed", "started_at", *OWN)}
    kept["status"] = "failed"
    kept["reason"] = (
        f"parity gate: first losses differ from {parity.reference} by "
        f"{parity.largest_difference:.1e}, more than {parity.tolerance:.0e}"
    )
    return [kept.get(name) for name in (*TABLE_FIELDS, *OWN)]


def _column(name: str, values: Sequence[Any]) -> Any:
    """Return values as pandas keeps them best: numbers with gaps, texts by category."""
    if name in DIFFERENT:
        return pd.Series(values, dtype=object)
    if name in DOUBTS:
        return np.array(values, bool)
    if name in FLOATS:
        return np.array(values, float)
    if name in INTEGERS:
        try:
            return pd.array(values, dtype="Int64")
        except (OverflowError, TypeError):  # more than 64 bits: nothing that was measured
            return pd.Series(values, dtype=object)
    return _categories(values, dtype=object if name == "cell" else str)


def _categories(values: Sequence[Any], dtype: type) -> pd.Categorical:
    there = sorted({value for value in values if value is not None})
    return pd.Categorical(values, categories=pd.Index(there, dtype=dtype))


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return frames one below the other."""
    if not frames:
        return frame([])
    columns: dict[str, Any] = {}
    for name in map(str, frames[0]):
        parts = [part[name] for part in frames]
        if isinstance(parts[0].dtype, pd.CategoricalDtype):
            columns[name] = pd.api.types.union_categoricals(parts, sort_categories=True)
        else:
            columns[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns)
