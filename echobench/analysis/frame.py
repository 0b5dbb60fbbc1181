"""Records as a frame: a row a record, of which it holds what the table reads; millions fit."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec
import numpy as np
import pandas as pd

from echobench.machine import parallel
from echobench.store.decoding import decoded
from echobench.store.reading import Complaints, read_lines, record_files
from echobench.trial.record import TABLE_FIELDS, Record, machine_class
from echobench.trial.trial import is_usual

CELL = ["task", "backend", "engine", "division", "device"]
NOT_A_CELL = ("seed", "repeat", "timeout_s", "plugins")
"""What trials of one row may differ in."""
OWN = ("key", "epochs", "updates", "wall_to_target_s")
"""Fields of the record that the frame holds beside those of the table."""
TOLD = ("cell", "machine", "again", "attempts")
DOUBTS = ("unchecked", "lasted", "disturbed")
"""What the frame says of a record beside its fields: see `frame`."""
DIFFERENT = ("key", "started_at")
"""Texts that are another in every record."""
FLOATS, INTEGERS = (
    {n for n, f in Record.model_fields.items() if kind in (f.annotation, *get_args(f.annotation))}
    for kind in (float, int)
)
Records: TypeAlias = "Iterable[Record] | pd.DataFrame"
"""Records, or their frame: what reads the one reads the other."""

_fields = attrgetter(*TABLE_FIELDS, *OWN)


def frame(records: Records) -> pd.DataFrame:
    """Return records as a frame; a frame as it is.

    Its columns are the table's fields, those of `OWN`, and

    - `cell`: what trials of one row share (`cell_of`);
    - `machine`: what makes it comparable (`machine_class`);
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


def cell_of(trial: Mapping[str, Any]) -> str:
    """Return what trials of one row share, as JSON: all that a trial is told but `NOT_A_CELL`.

    Older trials lack fields that newer ones have; what they lack is as usual.
    """
    told = {n: v for n, v in trial.items() if n not in NOT_A_CELL and not is_usual(n, v)}
    return _sorted(msgspec.json.encode(told))


@functools.lru_cache(10_000)
def _sorted(told: bytes) -> str:
    """Return JSON with its names in order; there are few cells, and each is kept once."""
    return msgspec.json.encode(msgspec.json.decode(told), order="deterministic").decode()


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
    repeat = record.trial.get("repeat")
    return (
        *(_without_figures(record) if record.failed_parity else _fields(record)),
        cell_of(record.trial),
        sys.intern(machine_class(record.provenance.get("machine"))),
        f" repeat {repeat}" if repeat else "",
        _after(record.provenance.get("attempts")),
        record.parity is not None and record.parity.passed is None,
        record.lasted,
        bool(record.disturbances),
    )


def _after(attempts: Any) -> str:
    several = isinstance(attempts, list) and len(attempts) > 1
    return f"after {len(attempts)} attempts" if several else ""


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
    return _texts(values)


def _texts(values: Sequence[Any]) -> pd.Categorical:
    there = sorted({value for value in values if value is not None})
    return pd.Categorical(values, categories=pd.Index(there, dtype=str))


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
