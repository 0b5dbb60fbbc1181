"""From records to tables: flat rows for scripts, a summary over seeds for people."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from echobench import parallel
from echobench.results.frame import CELL, INTEGERS, Records, frame
from echobench.results.record import TABLE_FIELDS
from echobench.results.statistics import censored_median

DISPENSABLE = (
    "of limit", "sequences/s", "wall", "compile", "error bound", "units", "epochs", "exact match",
    "epochs to target", "updates to target", "accuracy", "ms/update",
)  # fmt: skip # one line reads better
CLOCKS = ("train", "compile", "wall")
"""Conventions of what counts into the time to target."""
PIECE = 25_000
"""Rows that one process writes at a time."""


def rows(records: Records) -> list[dict[str, Any]]:
    """Return one flat object a trial, its fields the table's columns in order.

    A trial that failed the parity gate is `failed`, and keeps no figure: it
    trained something else.
    """
    return [dict(zip(TABLE_FIELDS, row, strict=True)) for row in _tuples(_in_order(records))]


def render(records: Records, form: str, clock: str = "train") -> Iterator[str]:
    """Yield the table as `json`, `csv` (a row a trial) or `md` (a row a cell), in pieces."""
    if form == "md":
        yield written(summary(records, clock), form)
        return
    flat = _in_order(records)
    pieces = [flat[at : at + PIECE] for at in range(0, len(flat), PIECE)]
    if form == "json":
        texts = parallel.mapped(_json, pieces)
        yield "[\n" if pieces else "["
        yield next(texts, "")
        yield from (f",\n{text}" for text in texts)
        yield "\n]" if pieces else "]"
    else:
        # A column of whole numbers with gaps is one of floats, as pandas has it.
        gaps = frozenset(name for name in INTEGERS & {*flat} if flat[name].isna().any())
        yield ",".join(TABLE_FIELDS)
        for text in parallel.mapped(functools.partial(_csv, gaps), pieces):
            yield "\n" + text


def _in_order(records: Records) -> pd.DataFrame:
    flat = frame(records)[list(TABLE_FIELDS)]
    return flat.sort_values([*CELL, "seed"], kind="stable")


def _tuples(flat: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Return the rows; None where a value is missing."""
    columns = [flat[name].astype(object) for name in flat]
    return zip(*(column.where(column.notna(), None).tolist() for column in columns), strict=True)


def _json(flat: pd.DataFrame) -> str:
    # As json.dumps(rows, indent=2) has it, which leaves its C code for an indent.
    encode = json.JSONEncoder(separators=(",\n    ", ": ")).encode
    rows = (dict(zip(TABLE_FIELDS, row, strict=True)) for row in _tuples(flat))
    return ",\n".join(f"  {{\n    {encode(row)[1:-1]}\n  }}" for row in rows)


def _csv(floats: frozenset[str], flat: pd.DataFrame) -> str:
    text = io.StringIO()
    flat = flat.astype(dict.fromkeys(floats, float))
    csv.writer(text, lineterminator="\n").writerows(_tuples(flat))
    return text.getvalue().rstrip("\n")


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


def summary(records: Records, clock: str = "train") -> list[dict[str, str]]:
    """Return one row a cell, over its seeds: medians with intervals, successes k/n.

    Records of other machines, versions, task sources or settings make rows of
    their own.

    Args:
        records: the latest of each trial.
        clock: what counts into the time to target: see `on_clock`.
    """
    lines = []
    for (cell, _), flat in frame(records).groupby(["cell", "machine"], sort=False, observed=True):
        first, told = flat.iloc[0], json.loads(str(cell))
        counted = flat[flat.status.isin(["reached", "missed", "timeout"])]
        reached = int((flat.status == "reached").sum())
        lines.append(
            {
                **{name: str(first[name]) for name in CELL[:4]},
                "units": str(told.get("recipe", {}).get("units", "")),
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
                "note": _note(flat, told),
            }
        )
    return sorted(lines, key=lambda line: [line[name] for name in CELL[:4]])


def on_clock(flat: pd.DataFrame, clock: str) -> pd.Series[float]:
    """Return each trial's seconds to the target, or to the end of its budget.

    Args:
        flat: records, their fields the columns.
        clock: `train`, training alone; `compile`, with the compiling before it; `wall`,
            from the process's start to the certificate, which holds all else too.
    """
    if clock == "wall":
        return flat.wall_to_target_s.fillna(flat.wall_s)
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
    values = pd.to_numeric(column).dropna().astype(float)
    if values.empty:
        return ""
    median = form.format(values.median())
    low, high = form.format(values.min()), form.format(values.max())
    return median if low == high else f"{median} [{low}, {high}]"


def _note(flat: pd.DataFrame, told: dict[str, Any]) -> str:
    """Return the reasons, each with the number of trials, most frequent first, then doubts."""
    missed = flat[flat.status != "reached"]
    reasons = Counter(
        # How far a miss or a timeout got differs by seed, and is in the record.
        status if status in {"missed", "timeout"} or pd.isna(reason) else reason or status
        for status, reason in zip(missed.status, missed.reason, strict=True)
    )
    doubts = {
        "parity unchecked": flat.unchecked.sum(),
        "100% did not last": ((flat.status == "reached") & ~flat.lasted).sum(),
        "compiled programs kept": len(flat) if told.get("cache") else 0,
        "disturbed": flat.disturbed.sum(),
    }
    noted = [*reasons.most_common(), *((doubt, n) for doubt, n in doubts.items() if n)]
    return "; ".join(f"{note} ({count}x)" if count > 1 else note for note, count in noted)


def terminal(records: Records, width: int, clock: str = "train") -> Table:
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
