"""The flat table, a row a trial: the documented fields, then all that tells cells apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, cast

import msgspec
import numpy as np
import pandas as pd

from echobench.analysis.frame import CELL, Records, disturbances, frame
from echobench.trial.cell import Cell
from echobench.trial.record import TABLE_FIELDS

DIGITS = 16
"""Of the digest of a cell."""
CELL_FIELDS = tuple(n for n in Cell.__struct_fields__ if n not in (*TABLE_FIELDS, "label"))
"""Fields of a cell that the documented ones lack."""
FLAT_FIELDS = (
    *TABLE_FIELDS, *CELL_FIELDS, "wall_to_target_s", "cell", "machine", "process",
    "place", "disturbances", "key",
)  # fmt: skip # it reads better
"""Fields of the flat table: the documented ones stand first."""


def flat_table(records: Records) -> pd.DataFrame:
    """Return a row a trial, by the names of its cell.

    Two rows differ in `cell`, a digest, or in `machine`, wherever they are of two rows of the
    table. The fields of the cell say in what: those that hold several values are JSON.
    """
    found = frame(records)
    cells = found.cell.cat
    columns = {name: _by_category(found, cells.categories, _reader(name)) for name in CELL_FIELDS}
    more = {
        "cell": _by_category(found, cells.categories, digest),
        "process": _without_empty(found.process),
        "disturbances": _without_empty(disturbances(found)),
    }
    flat = found.assign(**columns, **more)[list(FLAT_FIELDS)]
    return flat.sort_values([*CELL, "seed"], kind="stable")


def _without_empty(texts: pd.Series[Any]) -> pd.Series[Any]:
    return texts.astype(object).replace("", None).astype("category")


def digest(cell: Cell) -> str:
    """Return a digest of all that makes a cell."""
    return hashlib.sha256(cell.text.encode()).hexdigest()[:DIGITS]


def _reader(name: str) -> Callable[[Cell], Any]:
    def read(cell: Cell) -> Any:
        value = getattr(cell, name)
        if isinstance(value, tuple):
            value = dict(value)
        if isinstance(value, dict | msgspec.Struct):
            value = msgspec.json.encode(value, order="sorted").decode() if value else None
        return None if value == "" else value

    return read


def _by_category(flat: pd.DataFrame, cells: pd.Index[Any], read: Callable[[Cell], Any]) -> Any:
    """Return what is read from each row's cell, reading each cell once."""
    values = [read(cast(Cell, cell)) for cell in cells]
    kinds = {type(value) for value in values}
    codes = flat.cell.cat.codes.to_numpy()
    if len(kinds) == 1 and kinds <= {bool, int, float}:
        return np.array(values)[codes]
    texts = np.array([*values, None], dtype=object)
    return pd.Series(texts[codes], index=flat.index, dtype=object).astype("category")
