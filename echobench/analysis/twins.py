"""Rows that look alike: when each was first run, and in what they differ, in words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple, cast

import pandas as pd

from echobench.analysis.frame import Records, frame
from echobench.trial.cell import Cell, differences
from echobench.trial.trial import ADDED_LATER
from echobench.trial.variables import short_text

MOST = 3
"""How many differences a note lists."""
TELLING = ("task_source", "backend_source", "versions.c++", "execution.compiler")
"""Differences that a note tells first: others follow from them."""
WORDS = {
    "task_source": "task's source files",
    "backend_source": "backend's source files",
    "source": "version of the task",
    "versions.c++": "C++ compiler",
    "recipe": "recipe",
    "max_epochs": "epochs allowed (--max-epochs)",
    "screen": "sequences of an evaluation",
    "bound": "bound of certificates (--bound)",
    "certify": "sequences of a certificate",
    "test_set": "kind of test set",
    "sustain": "evaluations after the hit",
    "quick": "use of --quick",
    "cache": "use of kept compiled programs (--cache)",
    "replicates": "seeds trained together (--replicates)",
    "environment": "variables (--env)",
    "versions": "versions",
    "parameters": "parameters of the task",
    "execution": "way of running",
    "execution.jit": "way of compiling",
    "execution.lstm": "LSTM kernel",
    "execution.cuda_graphs": "use of CUDA graphs",
    "execution.tf32": "use of TF32",
    "execution.device_kind": "kind of device",
}
"""What fields are called, where their own names with spaces do not say it."""
PARTS = {
    "versions": "version of {}",
    "environment": "variable {}",
    "recipe": "recipe's {}",
    "parameters": "task's parameter {}",
}
"""What the parts of a field are called."""
DIGEST = re.compile(r"[0-9a-f]{12,}")
DIGITS, LONGEST = 4, 40
"""How much of a digest, and of another value, a note shows."""
FORMS = ("%d %b %H:%M", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S")
"""How times are printed: by the first form that tells them apart."""


class Twin(NamedTuple):
    """A row of the table that looks like others.

    Attributes:
        first, last: when its first and its last record began; NaT if no record says it.
        label: what tells it from the others: when it was first run, or else its number.
    """

    cell: Cell
    machine: str
    first: pd.Timestamp
    last: pd.Timestamp
    label: str = ""


def twins(flat: pd.DataFrame) -> list[list[Twin]]:
    """Return rows that have the same names, from the first that was run on."""
    found: dict[tuple[Any, ...], list[Twin]] = defaultdict(list)
    began = pd.to_datetime(flat.started_at, errors="coerce", utc=True, format="ISO8601")
    for names, times in began.groupby([flat.cell, flat.machine], sort=False, observed=True):
        cell, machine = cast(Cell, names[0]), str(names[1])
        found[_looks(cell), machine].append(Twin(cell, machine, times.min(), times.max()))
    return [_labelled(sorted(rows, key=_order)) for rows in found.values() if len(rows) > 1]


def labels(flat: pd.DataFrame) -> dict[tuple[Cell, str], str]:
    """Return, for the cell and machine of each row that looks like another, its label."""
    return {(one.cell, one.machine): one.label for rows in twins(flat) for one in rows}


def alike(records: Records) -> list[str]:
    """Return in what rows differ that have the same names."""
    flat = frame(records)
    several = flat.machine.nunique() > 1
    lines = []
    for rows in twins(flat):
        where = f" on {rows[0].machine}" if several else ""
        lines.append(f"{rows[0].cell}{where}: {len(rows)} rows, {_differing(rows)}")
    return sorted(lines)


def _looks(cell: Cell) -> tuple[Any, ...]:
    columns = (
        cell.device, cell.devices, cell.threads, cell.smt, cell.side_by_side, cell.bound,
    )  # fmt: skip # it reads better
    return (str(cell), *columns, short_text(dict(cell.environment)))


def _order(row: Twin) -> tuple[bool, Any, str]:
    unknown = pd.isna(row.first)
    return unknown, 0 if unknown else row.first, row.cell.text


def _labelled(rows: Sequence[Twin]) -> list[Twin]:
    numbers = [f"{number} of {len(rows)}" for number in range(1, len(rows) + 1)]
    texts = _times([row.first for row in rows]) or numbers
    return [row._replace(label=label) for row, label in zip(rows, texts, strict=True)]


def _times(times: Sequence[pd.Timestamp]) -> list[str] | None:
    """Return times in words, each another; None if they are not known, or not different."""
    if any(map(pd.isna, times)):
        return None
    forms = FORMS if len({time.year for time in times}) == 1 else FORMS[1:]
    for form in forms:
        texts = [time.strftime(form) for time in times]
        if len({*texts}) == len(texts):
            return texts
    return None


def _differing(rows: Sequence[Twin]) -> str:
    leaves = differences([row.cell for row in rows])
    names = sorted(leaves[0], key=lambda name: name not in TELLING)
    in_turn = _times([row.first for row in rows]) is not None and all(
        before.last < after.first for before, after in pairwise(rows)
    )
    changes = []
    for name in names[:MOST]:
        values = shown(name, [one[name] for one in leaves])
        course = _course(rows, values) if in_turn else ", ".join(dict.fromkeys(values))
        changes.append(f"{'the ' * in_turn}{words(name)}{' changed' * in_turn} ({course})")
    more = [f"{len(names) - MOST} more"] if len(names) > MOST else []
    listed = [*changes, *more]
    text = " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]
    return f"since {text}" if in_turn else f"of different {text}"


def words(name: str) -> str:
    """Return what a leaf of a cell is called."""
    if name in WORDS:
        return WORDS[name]
    field, _, part = name.partition(".")
    if field in PARTS and part:
        return PARTS[field].format(part)
    return (part or field).replace("_", " ")


def _course(rows: Sequence[Twin], values: Sequence[str]) -> str:
    """Return values in the order of time, with the times at which they changed."""
    both = zip(values, rows, strict=True)
    runs = [(value, next(some)[1].label) for value, some in groupby(both, key=lambda one: one[0])]
    untils = [f"{value} until {after[1]} UTC" for (value, _), after in pairwise(runs)]
    return ", then ".join([*untils, runs[-1][0]])


def _value(name: str, value: object) -> str:
    value = ADDED_LATER.get(name) if value is None else value
    return "not set" if value in (None, "") else str(value)


def shown(name: str, values: Sequence[object]) -> list[str]:
    """Return the values of a leaf in words, cut where that leaves them different."""
    texts = [_value(name, value) for value in values]
    cut = [_cut(text) for text in texts]
    return cut if len({*cut}) == len({*texts}) else texts


def _cut(value: str) -> str:
    if DIGEST.fullmatch(value):
        return f"{value[:DIGITS]}…"
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
