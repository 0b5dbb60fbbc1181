"""The summary in groups: what stands together, in which order, and what is best in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from echobench.analysis.frame import CELL, Records
from echobench.analysis.table import Row, cells
from echobench.errors import UnknownNameError

GROUP_BY = ("task", "division")
GROUPS = (*CELL, "devices", "threads", "units", "machine")
"""What rows can be grouped by."""
APART = ("division", "machine")
"""What is never ranked together, however rows are grouped."""
TIME, UPDATE = "time to target", "ms/update"
"""Columns that decide what is best: the second where nobody reached the target."""


class Group(NamedTuple):
    """Rows that stand together and compete.

    Attributes:
        rows: in the order of the table.
        by: the column that decides, `TIME` or `UPDATE`.
        order: those that compete, the best first.
    """

    rows: list[Row]
    by: str
    order: list[Row]

    @property
    def best(self) -> list[Row]:
        """Return the best; several where they are equal, none where nobody competes."""
        first = [row for row in self.order if _rank(row, self.by) == _rank(self.order[0], self.by)]
        return first if len(self.order) > 1 else []


def grouped(
    records: Records,
    clock: str = "train",
    group_by: Sequence[str] = GROUP_BY,
    sort: str | None = None,
) -> list[Group]:
    """Return the summary's rows in groups.

    Divisions and classes of machines are always apart, and so are seeds that were trained
    together (replicates), which share a clock.

    Args:
        records: the latest of each trial.
        clock: what counts into the time to target: see `table.on_clock`.
        group_by: what the rows of a group have in common, of `GROUPS`.
        sort: a column that the rows of a group are in order of, `-` before it for the
            largest first; what is missing comes last. By their names by default.

    Raises:
        UnknownNameError: no such column, or none to group by.
    """
    for name in group_by:
        if name not in GROUPS:
            raise UnknownNameError("column to group by", name, GROUPS)
    rows = cells(records, clock)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in _sorted(rows, sort):
        alone = str(bool(row.cell.replicates))
        place = (*(row.place[name] for name in (*group_by, *APART)), alone)
        groups.setdefault(place, []).append(row)
    return [_group(found) for _, found in sorted(groups.items(), key=lambda item: item[0])]


def _sorted(rows: list[Row], sort: str | None) -> list[Row]:
    if sort is None or not rows:
        return rows
    name = sort.removeprefix("-")
    columns = list(rows[0].line)
    if name not in columns:
        raise UnknownNameError("column", name, columns)
    down = name != sort
    if name not in rows[0].values:
        return sorted(rows, key=lambda row: row.line[name], reverse=down)

    def key(row: Row) -> tuple[bool, float]:
        value = row.values[name]
        return value is None, (-1 if down else 1) * (value or 0.0)

    return sorted(rows, key=key)


def _group(rows: list[Row]) -> Group:
    # Where most trials of a cell missed, its median is not known, yet it reached the target.
    by = TIME if any(row.line[TIME] for row in rows) else UPDATE
    there = [row for row in rows if _rank(row, by) is not None]
    return Group(rows, by, sorted(there, key=lambda row: _rank(row, by) or (0.0,)))


def _rank(row: Row, by: str) -> tuple[float, ...] | None:
    """Return what rows are ranked by, smallest first; None for those that do not compete.

    Before the target: those that reached it with their median, then those that did more
    rarely, the more often the better, then the others by their updates.
    """
    value, update = row.values[by], row.values[UPDATE]
    if by == UPDATE:
        return None if update is None else (update,)
    if value is not None:
        return (0.0, value)
    if row.line[TIME]:
        return (1.0, -(row.values["success"] or 0.0))
    return (2.0, math.inf if update is None else update) if row.values["success"] == 0 else None
