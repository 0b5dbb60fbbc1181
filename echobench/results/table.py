"""From records to tables: flat rows for scripts, a summary over seeds for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from echobench.results.record import TABLE_FIELDS, Record
from echobench.results.statistics import censored_median
from echobench.results.store import machine_class

DISPENSABLE = (
    "of limit", "sequences/s", "wall", "compile", "error bound", "units", "epochs", "exact match",
    "epochs to target", "updates to target", "accuracy", "ms/update",
)  # fmt: skip # one line reads better
CLOCKS = ("train", "compile", "wall")
"""Conventions of what counts into the time to target."""
NOT_A_CELL = ("seed", "repeat", "timeout_s", "plugins")
"""What trials of one row may differ in."""
CELL = ["task", "backend", "engine", "division", "device"]


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one flat object a trial, its fields the table's columns in order.

    A trial that failed the parity gate is `failed`, and keeps no figure: it
    trained something else.
    """
    flat = []
    for record in records:
        row = record.model_dump(include=set(TABLE_FIELDS))
        if record.parity is not None and record.parity.passed is False:
            row = {k: v if k in {*CELL, "seed", "started_at"} else None for k, v in row.items()}
            row["status"] = "failed"
            row["reason"] = (
                f"parity gate: first losses differ from {record.parity.reference} by "
                f"{record.parity.largest_difference:.1e}, more than {record.parity.tolerance:.0e}"
            )
        flat.append({field: row[field] for field in TABLE_FIELDS})
    return sorted(flat, key=lambda r: [str(r[k]) for k in CELL] + [r["seed"]])


def render(records: list[Record], form: str, clock: str = "train") -> str:
    """Return the table as `json`, `csv` (a row a trial) or `md` (a row a cell)."""
    if form == "md":
        return written(summary(records, clock), form)
    return written(rows(records), form, TABLE_FIELDS)


def written(lines: list[dict[str, Any]], form: str, columns: Sequence[str] | None = None) -> str:
    """Return lines, each a row by column, as `json`, `csv` or `md`.

    Args:
        lines: the rows.
        form: how.
        columns: their order; that of the first line by default.
    """
    if form == "json":
        return json.dumps(lines, indent=2)
    frame = pd.DataFrame(lines, columns=None if columns is None else list(columns))
    if form == "csv":
        text: str = frame.to_csv(index=False)
        return text.rstrip("\n")
    return frame.fillna("").to_markdown(index=False, disable_numparse=True)


def summary(records: list[Record], clock: str = "train") -> list[dict[str, str]]:
    """Return one row a cell, over its seeds: medians with intervals, successes k/n.

    Records of other machines, versions, task sources or settings make rows of
    their own.

    Args:
        records: the latest of each trial.
        clock: what counts into the time to target: see `on_clock`.
    """
    groups: dict[str, list[tuple[Record, dict[str, Any]]]] = {}
    for record in records:
        told = {k: v for k, v in record.trial.items() if k not in NOT_A_CELL}
        told["machine"] = machine_class(record.provenance.get("machine"))
        groups.setdefault(json.dumps(told, sort_keys=True), []).append((record, rows([record])[0]))
    lines = []
    for group in groups.values():
        flat = pd.DataFrame([{**row, **_beside(record)} for record, row in group])
        first = group[0][1]
        counted = flat[flat.status.isin(["reached", "missed", "timeout"])]
        reached = int((flat.status == "reached").sum())
        lines.append(
            {
                **{name: str(first[name]) for name in CELL[:4]},
                "units": str(group[0][0].trial.get("recipe", {}).get("units", "")),
                "success": f"{reached}/{len(counted)}" if len(counted) else "",
                "time to target": _time_to_target(counted, clock),
                "updates to target": _spread(counted.updates_to_target, "{:,.0f}"),
                "epochs to target": _spread(counted.epochs_to_target, "{:,.0f}"),
                "ms/update": _spread(counted.seconds_per_update * 1e3, "{:.3g}"),
                "sequences/s": _spread(counted.sequences_per_s, "{:,.0f}"),
                "epochs": _spread(flat.epochs, "{:,.0f}"),
                "accuracy": _spread(counted.accuracy * 100, "{:.4g}%"),
                "exact match": _spread(counted.exact_match * 100, "{:.4g}%"),
                "error bound": _spread(counted.error_bound, "{:.1e}"),
                "of limit": _spread(counted.limit_fraction * 100, "{:.2g}%"),
                "compile": _spread(counted.compile_s, "{:.1f} s"),
                "wall": _spread(counted.wall_s, "{:.1f} s"),
                "note": _note(flat, [record for record, _ in group]),
            }
        )
    return sorted(lines, key=lambda line: [line[name] for name in CELL[:4]])


def _beside(record: Record) -> dict[str, Any]:
    """Return what the summary needs of a record beside the table's fields."""
    return {"epochs": record.epochs, "wall_to_target_s": record.wall_to_target_s}


def on_clock(flat: pd.DataFrame, clock: str) -> pd.Series[float]:
    """Return each trial's seconds to the target, or to the end of its budget.

    Args:
        flat: records, their fields the columns.
        clock: `train`, training alone; `compile`, with the compiling before it; `wall`,
            from the process's start to the certificate, which holds all else too.
    """
    if clock == "wall":
        return flat.wall_to_target_s.astype(float).fillna(flat.wall_s)
    trained = flat.time_to_target_s.fillna(flat.first_update_s + flat.train_s)
    return trained + flat.compile_s if clock == "compile" else trained


def _time_to_target(flat: pd.DataFrame, clock: str) -> str:
    """Return the Kaplan-Meier median with a 95% interval; misses are censored."""
    seconds = on_clock(flat, clock).dropna()  # replicates have no times of their own
    reached = flat.status[seconds.index] == "reached"
    hits = seconds[reached].to_numpy(float)
    if not len(hits):
        return ""
    found = censored_median(hits, seconds[~reached].to_numpy(float))
    if found.n == 1:
        return _seconds(found.value, hits)
    return (
        f"{_seconds(found.value, hits)} [{_seconds(found.low, hits)}, {_seconds(found.high, hits)}]"
    )


def _seconds(value: float | None, hits: Any) -> str:
    return f"> {hits.max():.3g} s" if value is None else f"{value:.3g} s"


def _spread(column: Any, form: str) -> str:
    """Return the median and, where there are several, the smallest and largest."""
    values = pd.to_numeric(column).dropna()
    if values.empty:
        return ""
    median = form.format(values.median())
    low, high = form.format(values.min()), form.format(values.max())
    return median if low == high else f"{median} [{low}, {high}]"


def _note(flat: pd.DataFrame, records: Sequence[Record]) -> str:
    """Return the reasons, each with the number of trials, most frequent first, then doubts."""
    reasons = Counter(
        # How far a miss or a timeout got differs by seed, and is in the record.
        str(row.status if row.status in {"missed", "timeout"} else row.reason or row.status)
        for row in flat.itertuples()
        if row.status != "reached"
    )
    doubts = {
        "parity unchecked": sum(r.parity is not None and r.parity.passed is None for r in records),
        "100% did not last": sum(r.status == "reached" and not r.lasted for r in records),
        "compiled programs kept": sum(bool(r.trial.get("cache")) for r in records),
        "disturbed": sum(bool(r.disturbances) for r in records),
    }
    noted = [*reasons.most_common(), *((doubt, n) for doubt, n in doubts.items() if n)]
    return "; ".join(f"{note} ({count}x)" if count > 1 else note for note, count in noted)


def terminal(records: list[Record], width: int, clock: str = "train") -> Table:
    """Return the summary as a table for a terminal of `width` columns."""
    return drawn(summary(records, clock), width, names=CELL[:4])


def drawn(
    lines: list[dict[str, str]],
    width: int,
    names: Sequence[str],
    dispensable: Sequence[str] = DISPENSABLE,
) -> Table:
    """Return lines as a table for a terminal of `width` columns.

    Columns that do not fit are left out, the least important first, and named
    below the table.

    Args:
        lines: the rows, by column.
        width: of the terminal.
        names: columns that say what a row is: never wrapped, aligned left.
        dispensable: columns that may be left out, the first to go first.
    """
    shown = [name for name in (lines[0] if lines else {}) if any(line[name] for line in lines)]
    # A header may wrap between its words, a cell not at all.
    texts = {name: [*name.split(), *(line[name] for line in lines)] for name in shown}
    widths = {name: max(map(len, texts[name])) + 2 for name in shown}
    if "note" in shown:
        widths["note"] = min(widths["note"], 22)  # wraps
    room = width - 2  # the frame's
    hidden = []
    for name in dispensable:
        if name in shown and sum(widths[name] for name in shown) > room:
            shown.remove(name)
            hidden.append(name)
    needed = sum(widths[name] for name in shown)
    dense = needed > room
    fits = needed - dense * len(shown) <= room  # else cells wrap too
    padding = (0, 0 if dense else 1, 0, 0)

    def whole(name: str) -> bool:
        return name != "note" and (fits or " " not in "".join(texts[name]))

    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=padding)
    for name in shown:
        table.add_column(
            name,
            justify="left" if name in {*names, *CELL, "note"} else "right",
            no_wrap=name in names,
            min_width=widths[name] - 2 if whole(name) else None,
        )
    for line in lines:
        table.add_row(*(escape(line[name]) for name in shown))  # task[n_out=2] is no markup
    if hidden:
        table.caption = f"not shown for lack of room: {', '.join(reversed(hidden))}"
    return table
