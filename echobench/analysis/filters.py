"""Filter records by column, with a message that helps where nothing matches."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from echobench.errors import UsageError
from echobench.text import plain

FEW = 12
"""How many names a message lists."""
Wanted = Mapping[str, Collection[str]]
"""The values to keep, by column; a column without any is not filtered."""


def only(flat: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """Return the rows that have one of the wanted values in each column.

    Raises:
        UsageError: no record has a wanted value.
    """
    if not any(wanted.values()):
        return flat
    keep = pd.Series(True, index=flat.index)
    for column, values in wanted.items():
        if values:
            keep &= _among(flat[column], column, values)
    return flat[keep]


def _among(values: pd.Series[Any], column: str, wanted: Collection[str]) -> pd.Series[bool]:
    texts = values.astype(str)
    known = {str(value) for value in values.unique()}
    for value in wanted:
        if value not in known:
            raise UsageError(f"--{column}: no record of {value!r}; {_hint(value, known)}")
    return texts.isin(list(wanted))


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
