"""A summary over seeds: one row a cell, medians with intervals."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, cast

import pandas as pd

from echobench.analysis.frame import CELL, Records, frame
from echobench.analysis.pairs import hits_and_misses
from echobench.analysis.statistics import Estimate, Floats, censored_median
from echobench.trial.cell import Cell
from echobench.trial.record import COUNTED


class Row(NamedTuple):
    """A cell of the table.

    Attributes:
        line: what is printed, by column.
        values: the figures in it, by column: medians.
        place: what it can be grouped by.
        cell: what its trials have in common.
        trials: the records, of every seed.
    """

    line: dict[str, str]
    values: dict[str, float | None]
    place: dict[str, str]
    cell: Cell
    trials: pd.DataFrame


def summary(records: Records, clock: str = "train") -> list[dict[str, str]]:
    """Return one line a cell, over its seeds: medians with intervals, successes k/n.

    Records of other machines, versions, task sources or settings make lines of
    their own.

    Args:
        records: the latest of each trial.
        clock: what counts into the time to target: see `pairs.on_clock`.
    """
    return [row.line for row in cells(records, clock)]


def cells(records: Records, clock: str = "train") -> list[Row]:
    """Return the summary's rows, with what they can be sorted and grouped by."""
    groups = frame(records).groupby(["cell", "machine"], sort=False, observed=True)
    found = [_row(cast(Cell, cell), str(machine), flat, clock) for (cell, machine), flat in groups]
    return sorted(found, key=lambda row: [row.line[name] for name in CELL[:4]])


def _row(cell: Cell, machine: str, flat: pd.DataFrame, clock: str) -> Row:
    first = flat.iloc[0]
    counted = flat[flat.status.isin(COUNTED)]
    reached = int((flat.status == "reached").sum())
    hits, misses = hits_and_misses(counted, clock=clock)  # replicates have no times of their own
    time = censored_median(hits, misses)
    columns: dict[str, tuple[Any, str]] = {
        "updates to target": (counted.updates_to_target, "{:,.0f}"),
        "epochs to target": (counted.epochs_to_target, "{:,.0f}"),
        "ms/update": (counted.seconds_per_update * 1e3, "{:.3g}"),
        "sequences/s": (counted.sequences_per_s, "{:,.0f}"),
        "epochs": (flat.epochs, "{:,.0f}"),
        "accuracy": (counted.accuracy * 100, "{:.4g}%"),
        "exact match": (counted.exact_match * 100, "{:.4g}%"),
        "error bound": (counted.error_bound, "{:.1e}"),
        "of limit": (counted.limit_fraction * 100, "{:.2g}%"),
        "compile": (counted.compile_s, "{:.1f} s"),
        "wall": (counted.wall_s, "{:.1f} s"),
    }
    figures = {name: _spread(*column) for name, column in columns.items()}
    units = str(cell.recipe.units)
    return Row(
        line={
            **{name: str(first[name]) for name in CELL[:4]},
            "units": units,
            "success": f"{reached}/{len(counted)}",
            "time to target": _estimated(time, hits),
            **{name: text for name, (text, _) in figures.items()},
            "note": _note(flat, cell),
        },
        values={
            "units": float(units) if units.isdigit() else None,
            "success": reached / len(counted) if len(counted) else None,
            "time to target": time.value,
            **{name: median for name, (_, median) in figures.items()},
        },
        place={
            **{name: str(first[name]) for name in CELL},
            "devices": str(cell.devices),
            "threads": str(cell.threads),
            "units": units,
            "machine": machine,
        },
        cell=cell,
        trials=flat,
    )


def _estimated(found: Estimate, hits: Floats) -> str:
    if not len(hits):
        return ""
    if found.n == 1:
        return _seconds(found.value, hits)
    return (
        f"{_seconds(found.value, hits)} [{_seconds(found.low, hits)}, {_seconds(found.high, hits)}]"
    )


def _seconds(value: float | None, hits: Floats) -> str:
    return f"> {hits.max():.3g} s" if value is None else f"{value:.3g} s"


def _spread(column: Any, form: str) -> tuple[str, float | None]:
    """Return the median and, where there are several, the smallest and largest; and the median."""
    values = pd.to_numeric(column).dropna().astype(float)
    if values.empty:
        return "", None
    middle = float(values.median())
    low, high = form.format(values.min()), form.format(values.max())
    median = form.format(middle)
    return (median if low == high else f"{median} [{low}, {high}]"), middle


def _note(flat: pd.DataFrame, cell: Cell) -> str:
    """Return the reasons, each with the number of trials, most frequent first, then doubts."""
    missed = flat[flat.status != "reached"]
    reasons = Counter(
        # How far a miss or a timeout got differs by seed, and is in the record.
        status if status in {"missed", "timeout"} or pd.isna(reason) else reason or status
        for status, reason in zip(missed.status, missed.reason, strict=True)
    )
    doubts = {
        **{str(again): n for again, n in flat.attempts.value_counts().items() if again},
        "parity unchecked": flat.unchecked.sum(),
        "100% did not last": ((flat.status == "reached") & ~flat.lasted).sum(),
        "compiled programs kept": len(flat) if cell.cache else 0,
        "disturbed": flat.disturbed.sum(),
    }
    noted = [*reasons.most_common(), *((doubt, n) for doubt, n in doubts.items() if n)]
    return "; ".join(f"{note} ({count}x)" if count > 1 else note for note, count in noted)
