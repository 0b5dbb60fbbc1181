"""The rows of the summary in groups, each in order, with the best of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from echobench.analysis.frame import CELL, Records
from echobench.analysis.table import Row, cells
from echobench.errors import UnknownNameError

GROUP_BY = ("task", "division")
GROUPS = (*CELL, "devices", "threads", "units", "machine")
"""Columns that rows can be grouped by."""
APART = ("division", "machine")
"""Columns that every grouping keeps apart."""
TIME, UPDATE = "time to target", "ms/update"
"""Columns that decide which row is best: the second if no row of the group has the first."""


class Group(NamedTuple):
    """Rows that are compared with each other.

    Attributes:
        rows: in the order of the table.
        by: the column that decides, `TIME` or `UPDATE`.
        order: the rows that have a rank, the best first.
    """

    rows: list[Row]
    by: str
    order: list[Row]

    @property
    def best(self) -> list[Row]:
        """Return the best rows: several if they are equal, none if there are no two to compare."""
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
        clock: what counts into the time to target: see `pairs.on_clock`.
        group_by: columns that the rows of a group share, of `GROUPS`.
        sort: the column by which each group is sorted, with `-` before it the largest first;
            missing values are last. By their names by default.

    Raises:
        UnknownNameError: an unknown column.
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
    # A cell that reached the target in less than half of its trials has no median, but a text.
    by = TIME if any(row.line[TIME] for row in rows) else UPDATE
    ranked = [row for row in rows if _rank(row, by) is not None]
    return Group(rows, by, sorted(ranked, key=lambda row: _rank(row, by) or (0.0,)))


def _rank(row: Row, by: str) -> tuple[float, ...] | None:
    """Return the key that rows are ranked by, smallest first; None for rows without a rank.

    By `TIME`, cells with a median come first, then those that reached the target more rarely,
    the more often the better, then the others by the time of their updates.
    """
    value, update = row.values[by], row.values[UPDATE]
    if by == UPDATE:
        return None if update is None else (update,)
    if value is not None:
        return (0.0, value)
    if row.line[TIME]:
        return (1.0, -(row.values["success"] or 0.0))
    return (2.0, math.inf if update is None else update) if row.values["success"] == 0 else None
