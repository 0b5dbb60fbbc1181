"""Records as a frame: a row a record, of which it holds what the table reads; millions fit.

A frame can be filtered, and sorted out by division.
"""

from __future__ import annotations

import difflib
import itertools
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pandas as pd

from echobench.analysis.places import set_apart
from echobench.errors import UsageError
from echobench.machine import parallel
from echobench.machine.calibration import assessed
from echobench.plugin.files import option_of
from echobench.plugin.manager import Plugins
from echobench.store.reading import Complaints, decoded, read_lines, record_files
from echobench.store.referee import moved, why_open
from echobench.text import plain
from echobench.trial.cell import joined
from echobench.trial.declared import declaration
from echobench.trial.record import FLOATS, INTEGERS, TABLE_FIELDS, Record

CELL = ["task", "backend", "engine", "division", "device"]
JUDGED = ("judged_wrong", "judged_sequences")
OWN = ("key", "epochs", "updates", "wall_to_target_s", *JUDGED)
"""Fields of the record that the frame holds beside those of the table."""
TOLD = (
    "cell", "machine", "again", "attempts", "declared", "disturbances", "recompiled", "plugin",
    "process", "place", "cache",
)  # fmt: skip # one line would be too long
DOUBTS = ("unchecked", "unjudged", "uncompared", "lasted", "disturbed", "counts", "never")
"""What the frame says of a record beside its fields: see `frame`."""
OBJECTS = ("cell", "declared")
"""Columns of objects of ours; all values are there."""
DIFFERENT = ("key", "started_at")
"""Texts that are another in every record."""
Records: TypeAlias = "Iterable[Record] | pd.DataFrame"
"""Records, or their frame: what reads the one reads the other."""
SLOW = 1.15
"""Time of an update over the median of its cell, from which on a trial was disturbed."""
FEWEST_ALIKE = 3
"""Trials of a cell from which on they show that one of them was slow."""
FEW = 12
"""How many names a message lists."""

NOT_ITS_OWN = ("killed: used ", "killed: stopped ", "lost ", "no process could be started")
"""How reasons of a failure begin that is the user's memory limit, or the machine's."""

_fields = attrgetter(*TABLE_FIELDS, *OWN)


def frame(records: Records) -> pd.DataFrame:
    """Return records as a frame; a frame as it is.

    Its columns are the table's fields, those of `OWN`, and

    - `cell`: what trials of one row share, a `Cell`;
    - `machine`: what makes it comparable (`Record.machine_class`);
    - `again`: which repeat, in words; empty for the first;
    - `attempts`: what is said of it where it was run again, having failed; else empty;
    - `declared`: which seeds of its cell were declared before it ran, a `Declaration`;
    - `disturbances`: what disturbed the trial, as it shows by itself; empty for none. The function
      of this name adds what its cell shows;
    - `recompiled`: that it compiled again while it trained, in words; empty if it did not;
    - `cache`: whether it had compiled programs that were kept before, in words; empty where none
      are kept;
    - `plugin`: the options that load its plugins; empty if they are installed;
    - `wall_s` is empty after the first trial of a process, which has no start of its own;
    - `process`: the id of the process that trained it, empty where it had one to itself, unnamed;
      `place`: how many trials that process had trained before;
    - `unchecked` (by the parity gate), `unjudged`, `uncompared` (by its fingerprint), `lasted`,
      `disturbed`: what the table doubts. `disturbed` is what the trial shows by itself;
    - `counts`: whether the trial is one of n: it trained, or crashed by itself;
    - `never`: whether it counts and can never arrive, whatever time it is given: it crashed, or
      its loss stopped being finite.

    A trial that failed the parity gate is `failed`, and keeps no figure: it trained
    something else.
    """
    if isinstance(records, pd.DataFrame):
        return records
    return _rejoined(_frame(records))


def _frame(records: Iterable[Record]) -> pd.DataFrame:
    names = (*TABLE_FIELDS, *OWN, *TOLD, *DOUBTS)
    columns = list(zip(*map(_row, records), strict=True)) or [()] * len(names)
    flat = pd.DataFrame({n: _column(n, c) for n, c in zip(names, columns, strict=True)})
    return flat.assign(wall_s=flat.wall_s.where(flat.place == 0))


def _rejoined(flat: pd.DataFrame) -> pd.DataFrame:
    """Return a frame in which trials that do not say how they ran are in the others' cells."""
    places = flat[["cell", "machine"]].drop_duplicates().itertuples(index=False, name=None)
    found = joined(places)
    if not found:
        return flat
    cells = flat.cell.astype(object)
    for (cell, machine), into in found.items():
        cells[(flat.cell == cell) & (flat.machine == machine)] = into
    return flat.assign(cell=_column("cell", cells.tolist()))


def load(folder: Path) -> pd.DataFrame:
    """Return the frame of all records of training in a folder, oldest file first.

    A damaged line is named on stderr and left out.
    """
    files = record_files(folder)
    frames = []
    with Complaints() as complaints:
        for part, messages, left_out in parallel.map_files(_load, files, files):
            frames.append(part)
            complaints.add(messages, left_out)
    return _rejoined(_joined(frames))


def latest(everything: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table: of each trial the last one run on each machine."""
    run = everything.groupby(["key", "machine"], sort=False, observed=True).ngroup()
    last = ~run.duplicated(keep="last")
    # Each where its trial was run first, as in `record.latest`.
    return everything[last].iloc[np.argsort(run[last].to_numpy(), kind="stable")]


def disturbed(flat: pd.DataFrame) -> pd.Series[bool]:
    """Return for each row whether the trial was disturbed: see `disturbances`."""
    return flat.disturbed | (_slowness(flat) >= SLOW)


def disturbances(flat: pd.DataFrame) -> pd.Series[Any]:
    """Return for each row in words what disturbed the trial; empty for nothing.

    Its own training shows it, or it was slower than the other trials of its cell on the same
    class of machine: one that is slowed all the time is as steady as any.
    """
    messages = [
        "; ".join(filter(None, (shown, slow)))
        for shown, slow in zip(flat.disturbances, map(_slow, _slowness(flat)), strict=True)
    ]
    return pd.Series(messages, index=flat.index, dtype="category")


def _slow(times: float) -> str:
    return f"updates took {times:.2f}x the median of its cell" if times >= SLOW else ""


def _slowness(flat: pd.DataFrame) -> pd.Series[float]:
    """Return the time of an update over the median of the trial's cell, if enough have one."""
    # First trials that differ from the later ones are compared with other first ones.
    kinds = [flat.cell, flat.machine, set_apart(flat)]
    alike = flat.seconds_per_update.groupby(kinds, sort=False, observed=True)
    found = flat.seconds_per_update / alike.transform("median")
    return found.where(alike.transform("count") >= FEWEST_ALIKE)


def _load(path: Path) -> tuple[pd.DataFrame, list[str], Complaints]:
    """Return the frame of a file, what of it to name as damaged, and what was left out."""
    messages: list[str] = []
    complaints = Complaints(messages.append)
    return _frame(read_lines(path, decoded, complaints)), messages, complaints


def _row(record: Record) -> tuple[Any, ...]:
    record = assessed(record)
    repeat, attempts = record.trial.repeat, record.provenance.attempts or ()
    has_crashed, process = crashed(record), record.provenance.process
    return (
        *(_without_figures(record) if record.contradiction else _fields(record)),
        record.cell,
        sys.intern(record.machine_class),
        f" repeat {repeat}" if repeat else "",
        f"after {len(attempts)} attempts" if len(attempts) > 1 else "",
        declaration(record),
        "; ".join(record.disturbances),
        record.recompiled or "",
        option_of(record.trial.plugins),
        process_of(record),
        0 if process is None else process.place,
        _of_cache(record),
        record.unchecked,
        record.unjudged,
        record.fingerprint is not None and record.fingerprint.passed is None,
        record.lasted,
        bool(record.disturbances),
        record.counts or has_crashed,
        has_crashed or _diverged(record),
    )


def process_of(record: Record) -> str:
    """Return the id of the process that trained a trial; empty where it had one to itself."""
    process = record.provenance.process
    if process is not None:
        return process.id
    # Older replicates of one process began at the same time.
    return f"replicates {record.started_at}" if record.is_replicate else ""


def crashed(record: Record) -> bool:
    """Return whether a trial failed by itself, and not by what somebody else did to it."""
    others = (record.reason or "").startswith(NOT_ITS_OWN)
    return record.status == "failed" and record.contradiction is None and not others


def _diverged(record: Record) -> bool:
    return record.diverged_epoch is not None and record.counts and record.status != "reached"


def _of_cache(record: Record) -> str:
    if not record.trial.cache:
        return ""
    kept = record.provenance.cache or {}
    # The folder is a backend's: another cell's programs are found there, and of no use.
    used = kept.get("found") and not kept.get("added")
    return "kept programs used" if used else "compiled programs kept"


def _without_figures(record: Record) -> list[Any]:
    own = [name for name in OWN if name not in JUDGED]
    kept = {name: getattr(record, name) for name in (*CELL, "seed", "started_at", *own)}
    kept["status"], kept["reason"] = "failed", record.contradiction
    return [kept.get(name) for name in (*TABLE_FIELDS, *OWN)]


def _column(name: str, values: Sequence[Any]) -> Any:
    """Return values as pandas keeps them best: numbers with gaps, texts by category."""
    if name in DIFFERENT:
        return pd.Series(values, dtype=object)
    if name in DOUBTS:
        return np.array(values, bool)
    if name in FLOATS:
        return np.array(values, float)
    if name == "place":
        return np.array(values, np.int64)
    if name in INTEGERS or name in JUDGED:
        try:
            return pd.array(values, dtype="Int64")
        except (OverflowError, TypeError):  # more than 64 bits: nothing that was measured
            return pd.Series(values, dtype=object)
    there = sorted({value for value in values if value is not None})
    kind = object if name in OBJECTS else str
    return pd.Categorical(values, categories=pd.Index(there, dtype=kind))


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return frames one below the other."""
    if not frames:
        return _frame([])
    columns: dict[str, Any] = {}
    for name in map(str, frames[0]):
        parts = [part[name] for part in frames]
        if isinstance(parts[0].dtype, pd.CategoricalDtype):
            columns[name] = _union(parts)
        else:
            columns[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns)


def _union(parts: Sequence[pd.Series[Any]]) -> pd.Categorical:
    """Return columns by category one below the other.

    pandas' own function takes categories for the same whose texts are (it hashes these), and
    drops the values of the second: cells of one name, say, that differ in their threads.
    """
    there = sorted({*itertools.chain.from_iterable(part.cat.categories for part in parts)})
    index = pd.Index(there, dtype=parts[0].cat.categories.dtype)
    # A missing value has the code -1, which is the last place.
    codes = [np.append(index.get_indexer(p.cat.categories), -1)[p.cat.codes] for p in parts]
    return pd.Categorical.from_codes(np.concatenate(codes), categories=index)


def sorted_out_frame(flat: pd.DataFrame, plugins: Plugins) -> tuple[pd.DataFrame, list[str]]:
    """Do as `sorted_out` with a frame, asking once for each cell."""
    flat = flat.astype({"cell": object, "division": object})
    said: dict[Any, str] = {}
    for names, group in flat.groupby(["cell", "division"], sort=False, observed=True):
        cell: Any = names[0]
        why = why_open(cell, str(names[1]), plugins)
        if why:
            said.update({row.Index: moved(row, why) for row in group.itertuples()})
            flat.loc[group.index, "division"] = "open"
            flat.loc[group.index, "cell"] = msgspec.structs.replace(cell, division="open")
    found = flat.astype({"cell": "category", "division": "category"})
    return found, [said[index] for index in flat.index if index in said]


def only(flat: pd.DataFrame, wanted: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Return the rows that have one of the wanted values in each column that has any.

    Raises:
        UsageError: no record has a wanted value.
    """
    if not any(wanted.values()):
        return flat
    keep = pd.Series(True, index=flat.index)
    for column, values in wanted.items():
        known = {str(value) for value in flat[column].unique()} if values else set()
        for value in values:
            if value not in known:
                raise UsageError(f"--{column}: no record of {value!r}; {_hint(value, known)}")
        if values:
            keep &= flat[column].astype(str).isin(list(values))
    return flat[keep]


def _hint(value: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(value, known, n=3)
    if nearest:
        return f"did you mean {' or '.join(repr(plain(name)) for name in nearest)}?"
    if not known:
        return "there are no records"
    if all(name.isdigit() for name in known) and len(known) > FEW:
        numbers = sorted(map(int, known))
        return f"there are {len(numbers):,} from {numbers[0]:,} to {numbers[-1]:,}"
    listed = [plain(name) for name in sorted(known)]
    more = f" and {len(listed) - FEW} more" if len(listed) > FEW else ""
    return f"there are {', '.join(listed[:FEW])}{more}"
