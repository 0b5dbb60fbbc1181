"""The table: one row a cell over its seeds, in groups, the best marked.

Each figure is a median; the brackets of all columns are 95% intervals of the median, of one kind.
Only the judge's errors are a sum over the trials, with the exact interval of their rate.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, cast

import pandas as pd

from echobench.analysis.frame import CELL, Records, disturbances, frame
from echobench.analysis.pairs import TIME_TO_TARGET, hits_and_misses, median, trained
from echobench.analysis.statistics import Estimate, Floats
from echobench.analysis.twins import labels
from echobench.core.target import exact_interval
from echobench.errors import UnknownNameError
from echobench.text import counted, percent
from echobench.trial.cell import Cell

GROUP_BY = ("task", "division")
GROUPS = (
    *CELL, "devices", "threads", "smt", "side_by_side", "units", "bound", "environment", "machine",
)  # fmt: skip # one line reads better
"""Columns that rows can be grouped by."""
APART = ("division", "side_by_side", "bound", "environment", "machine")
"""Columns that every grouping keeps apart."""
TIME, UPDATE = "time to target", "ms/update"
"""Columns that decide which row is best: the second if no row of the group has the first."""
LONGEST = 70
"""Characters of what disturbed a trial in a note."""
JUDGED = "judged wrong"
"""The column of what the judge found, whose brackets hold an error rate's interval."""


class Row(NamedTuple):
    """A cell of the table, and its records of every seed.

    `line` has what is printed, by column, `values` the medians in it, and `place` what rows can be
    grouped by. `first_run` tells it from rows that have the same names: see `twins`.
    """

    line: dict[str, str]
    values: dict[str, float | None]
    place: dict[str, str]
    cell: Cell
    trials: pd.DataFrame
    first_run: str


def summary(records: Records, clock: str = "train") -> list[dict[str, str]]:
    """Return one line a cell, over its seeds: medians with intervals, successes k/n.

    Records of other machines, versions, task sources or settings make lines of their own. Of each
    trial only the latest record may be given.
    """
    return [row.line for row in cells(records, clock)]


def cells(records: Records, clock: str = "train") -> list[Row]:
    """Return the summary's rows, with what they can be sorted and grouped by."""
    whole = frame(records)
    first_runs = labels(whole)
    groups = whole.groupby(["cell", "machine"], sort=False, observed=True)
    found = [
        _row(cast(Cell, cell), str(machine), flat, clock)._replace(
            first_run=first_runs.get((cast(Cell, cell), str(machine)), "")
        )
        for (cell, machine), flat in groups
    ]
    order = {label: number for number, label in enumerate(first_runs.values())}

    def key(row: Row) -> tuple[list[str], int]:
        return [row.line[name] for name in CELL[:4]], order.get(row.first_run, 0)

    return sorted(found, key=key)


class Column(NamedTuple):
    """A column of figures.

    Attributes:
        field: of the frame, or one that a trial may miss (`METRICS`), in its own unit.
        form: how a figure is printed; `%` for a share (`percent`).
        factor: from the field's unit to the printed one.
    """

    field: str
    form: str
    factor: float = 1.0

    def printed(self, value: float) -> str:
        """Return a figure, in the field's unit, as text."""
        return percent(value) if self.form == "%" else self.form.format(value * self.factor)


COLUMNS = {
    TIME: Column(TIME_TO_TARGET, "{:.3g} s"),
    "updates to target": Column("updates_to_target", "{:,.0f}"),
    "epochs to target": Column("epochs_to_target", "{:,.0f}"),
    UPDATE: Column("seconds_per_update", "{:.3g}", 1e3),
    "sequences/s": Column("sequences_per_s", "{:,.0f}"),
    "epochs": Column("epochs", "{:,.0f}"),
    "accuracy": Column("accuracy", "%", 100),
    "exact match": Column("exact_match", "%", 100),
    "error bound": Column("error_bound", "{:.1e}"),
    "of limit": Column("limit_fraction", "{:.2g}%", 100),
    "compile": Column("compile_s", "{:.1f} s"),
    "wall": Column("wall_s", "{:.1f} s"),
}
"""The columns of figures."""


def _row(cell: Cell, machine: str, flat: pd.DataFrame, clock: str) -> Row:
    first = flat.iloc[0]
    counted = flat[flat.counts]
    reached = int((flat.status == "reached").sum())
    known = {n: hits_and_misses(counted, column.field, clock) for n, column in COLUMNS.items()}
    medians = {n: median(counted, column.field, clock) for n, column in COLUMNS.items()}
    units = str(cell.recipe.units)
    return Row(
        line={
            **{name: str(first[name]) for name in CELL[:4]},
            "units": units,
            "success": "" if cell.quick else f"{reached}/{len(counted)}",
            **{name: _text(medians[name], known[name][0], COLUMNS[name]) for name in COLUMNS},
            **({"error bound": f"exact, of {cell.screen:,}"} if cell.test_set and reached else {}),
            JUDGED: _judged(flat, cell),
            "note": _note(flat, cell),
        },
        values={
            "units": float(units) if units.isdigit() else None,
            "success": reached / len(counted) if len(counted) else None,
            JUDGED: _mean(flat.judged_wrong / flat.judged_sequences),
            **{
                name: None if found.value is None else found.value * COLUMNS[name].factor
                for name, found in medians.items()
            },
        },
        place={
            **{name: str(first[name]) for name in CELL},
            "devices": str(cell.devices),
            "threads": str(cell.threads),
            "smt": str(cell.smt),
            "side_by_side": str(cell.side_by_side),
            "units": units,
            "bound": _bound(cell),
            "environment": cell.variables,
            "machine": machine,
        },
        cell=cell,
        trials=flat,
        first_run="",
    )


def _bound(cell: Cell) -> str:
    """Return the bound of a cell's certificates; what they say instead where they have none."""
    if cell.bound:
        return f"{cell.bound:g}"
    return "exact" if cell.test_set else "old rule"


def _mean(values: pd.Series[float]) -> float | None:
    known = values.dropna()
    return None if known.empty else float(known.mean())


def _judged(flat: pd.DataFrame, cell: Cell) -> str:
    """Return what the judge found wrong, over all trials, and the exact interval of their rate.

    A whole test set is no sample, and has no interval.
    """
    judged = flat[flat.judged_wrong.notna()]
    if judged.empty:
        return ""
    wrong, sequences = int(judged.judged_wrong.sum()), int(judged.judged_sequences.sum())
    if cell.test_set:
        return f"{wrong:,} of {sequences:,}"
    low, high = exact_interval(wrong, sequences)
    return f"{wrong:,} of {sequences:,} [{low:.1e}, {high:.1e}]"


def _text(found: Estimate, known: Floats, column: Column) -> str:
    """Return a median as printed, and its interval where it has one that is wider than a digit.

    An end that lies beyond all that was seen is `>` the largest that was.
    """
    if not len(known):
        return ""

    def end(value: float | None) -> str:
        beyond = "> " if value is None else ""
        value = known.max() if value is None else value
        return beyond + column.printed(value)

    middle, low, high = map(end, found[:3])
    if found.low is None or middle == low == high:
        return middle
    return f"{middle} [{low}, {high}]"


def _note(flat: pd.DataFrame, cell: Cell) -> str:
    """Return the reasons, each with the number of trials, most frequent first, then doubts.

    A smoke run is to end, not to reach the target, and nothing else is checked of it.
    """
    missed = flat[~flat.status.isin(["reached", "missed"] if cell.quick else ["reached"])]
    reasons = Counter(
        # How far a miss or a timeout got differs by seed, and is in the record.
        status if status in {"missed", "timeout"} or pd.isna(reason) else reason or status
        for status, reason in zip(missed.status, missed.reason, strict=True)
    )
    attempts, caches = (Counter(filter(None, texts)) for texts in (flat.attempts, flat.cache))
    doubts = [*attempts.most_common(), ("parity unchecked", flat.unchecked.sum())]
    if not cell.quick:
        doubts += [
            ("not judged", flat.unjudged.sum()),
            ("fingerprint not compared", flat.uncompared.sum()),
            ("100% did not last", ((flat.status == "reached") & ~flat.lasted).sum()),
            *((text, n if len(caches) > 1 else 1) for text, n in sorted(caches.items())),
            ("above the measured matrix rate", flat.limit_reason.notna().sum()),
        ]
    notes = [_repeated(text, int(n)) for text, n in (*reasons.most_common(), *doubts) if n]
    if cell.quick:
        return "; ".join([*notes, "smoke run"])
    again = [text for text in flat.recompiled if text]
    notes += [_repeated(again[0], len(again))] if again else []
    return "; ".join([*notes, *_disturbance(flat)])


def _repeated(text: str, trials: int) -> str:
    return f"{text} ({counted(trials, 'trial')})" if trials > 1 else text


def _disturbance(flat: pd.DataFrame) -> list[str]:
    """Return how many trials were disturbed, and what the first one was disturbed by first."""
    noted = [text for text in disturbances(flat) if text]
    if not noted:
        return []
    shown = textwrap.shorten(noted[0].partition("; ")[0], LONGEST)
    return [f"{_repeated('disturbed', len(noted))}: {shown}"]


class Group(NamedTuple):
    """Rows that are compared; in `order` those with a rank, by the column `TIME` or `UPDATE`."""

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
    """Return the summary's rows in groups that share the columns of `group_by`.

    Divisions, numbers of jobs side by side, bounds of the certificate, variables handed to workers
    and classes of machines are always apart, and so are seeds that were trained together
    (replicates), which share a clock.
    Each group is sorted by the column `sort`, with `-` before it the largest first, missing values
    last; by names by default.

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

    A cell with a trial that was not compared with a reference has none, nor has a smoke run.

    By `TIME`, cells with a median come first, then those that reached the target more rarely,
    the more often the better, then the others by the time of their updates.
    """
    value, update = row.values[by], row.values[UPDATE]
    if row.cell.quick or row.trials.unchecked.any():
        return None
    if by == UPDATE:
        return None if update is None else (update,)
    if not trained(row.trials):
        return None
    if value is not None:
        return (0.0, value)
    if row.line[TIME]:
        return (1.0, -(row.values["success"] or 0.0))
    return (2.0, math.inf if update is None else update) if row.values["success"] == 0 else None
