"""Tables of trials, predictions and candidates: for a terminal, JSON, CSV, Markdown, Parquet."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
from rich.console import RenderableType

from echobench.analysis.flat import FLAT_FIELDS, flat_table
from echobench.analysis.frame import CELL, Records
from echobench.analysis.table import GROUP_BY, GROUPS, JUDGED, TIME, UPDATE, Group
from echobench.core.task import Recipe
from echobench.errors import UnknownNameError
from echobench.machine import parallel
from echobench.present.terminal import DISPENSABLE, MARK, drawn
from echobench.store.search_log import Candidate, SeedResult, ranked
from echobench.text import markdown, percent, spreadsheet
from echobench.trial.record import (
    INTEGERS,
    PREDICTION_FIELDS,
    Latency,
    Prediction,
)
from echobench.trial.variables import short_text

PIECE = 25_000
"""Rows that one process formats at a time."""
FIRST_RUN = "first run"
"""Column that tells rows of the same names apart."""
SMOKE = "smoke runs: none of these figures is a measurement"
MAX_CANDIDATES = 5
"""Best candidates in the table of a search; the starting recipe is always added."""


def lines(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Return the rows as printed: the best marked, with the columns in which they differ.

    What the judge found is a column where there was one: older records have none.
    """
    rows = [row for group in groups for row in group.rows]
    more = [n for n in GROUPS if n not in CELL[:4] and len({r.place[n] for r in rows}) > 1]
    judged = any(row.line[JUDGED] for row in rows)
    doubled = any(row.first_run for row in rows)
    printed = []
    for group in groups:
        best = {id(row) for row in group.best}
        for row in group.rows:
            line = {name: row.line[name] for name in CELL[:4]}
            line |= {name: row.place[name] for name in more}
            line |= {FIRST_RUN: row.first_run} if doubled else {}
            line |= row.line
            if not judged:
                del line[JUDGED]
            if id(row) in best:
                line[group.by] = MARK + line[group.by]
            printed.append(line)
    return printed


def terminal(groups: Sequence[Group], width: int, asked: Collection[str] = ()) -> RenderableType:
    """Return the rows as a table for a terminal of `width` columns.

    Columns that were `asked` for, and those that decide which row is best, are never left out.
    """
    printed = lines(groups)
    cells = [row.cell for group in groups for row in group.rows]
    for line, cell in zip(printed, cells, strict=True):
        if "environment" in line:
            line["environment"] = short_text(dict(cell.environment))
    kept_whole = [n for n in (*GROUPS, FIRST_RUN) if n not in ("units", "machine")]
    names = [n for n in kept_whole if printed and n in printed[0]]
    kept = {group.by for group in groups if group.best}.union(asked)
    return drawn(printed, width, names, [name for name in DISPENSABLE if name not in kept])


def shown(groups: Sequence[Group]) -> list[str]:
    """Return the conditions of cells that a column tells in full."""
    cells = [row.cell for group in groups for row in group.rows]
    whole = all(short_text(dict(cell.environment)) == cell.variables for cell in cells)
    fields = ["side_by_side"] if len({cell.side_by_side for cell in cells}) > 1 else []
    return fields + (
        ["environment"] if whole and len({cell.variables for cell in cells}) > 1 else []
    )


def legend(groups: Sequence[Group], group_by: Sequence[str] = GROUP_BY) -> list[str]:
    """Return what is said of smoke runs, and a line that explains the mark, if a row has one."""
    lines = [SMOKE] if any(row.cell.quick for group in groups for row in group.rows) else []
    decides = [by for by in (TIME, UPDATE) if any(g.best and g.by == by for g in groups)]
    if not decides:
        return lines
    fast = " and where nobody reached it, by ".join(decides)
    same = ", ".join(dict.fromkeys([*group_by, "division"]))
    return [*lines, f"{MARK}best of those with the same {same}, by {fast}"]


def ordered(
    records: Records, group_by: Sequence[str] = (), sort: str | None = None
) -> pd.DataFrame:
    """Return a row per trial, with the fields of the flat table as columns.

    Rows with equal values of `group_by` stand together; `-` before the field to sort each
    group by puts the largest first. Missing values come last.
    """
    column = sort.removeprefix("-") if sort else None
    for name in [*group_by, *([column] if column else [])]:
        if name not in FLAT_FIELDS:
            raise UnknownNameError("column", name, FLAT_FIELDS)
    flat = flat_table(records)
    if column:
        up = column == sort
        flat = flat.sort_values(column, ascending=up, na_position="last", kind="stable")
    return flat.sort_values([*group_by], kind="stable") if group_by else flat


def render(flat: pd.DataFrame, form: str) -> Iterator[str]:
    """Yield the text of `ordered` rows, as `json` or as `csv` for a spreadsheet."""
    pieces = [flat[at : at + PIECE] for at in range(0, len(flat), PIECE)]
    if form == "json":
        texts = parallel.map_items(_json, pieces)
        yield "[\n" if pieces else "["
        yield next(texts, "")
        yield from (f",\n{text}" for text in texts)
        yield "\n]" if pieces else "]"
    else:
        # As in pandas, a column of whole numbers with gaps is written as floats.
        gaps = frozenset(name for name in INTEGERS & {*flat} if flat[name].isna().any())
        yield ",".join(FLAT_FIELDS)
        for text in parallel.map_items(functools.partial(_csv, gaps), pieces):
            yield "\n" + text


def parquet(flat: pd.DataFrame) -> bytes:
    """Return `ordered` rows as a Parquet file; needs pyarrow, which is an extra."""
    texts = flat.select_dtypes("category").columns
    file = io.BytesIO()
    whole = flat.astype(dict.fromkeys([*texts, "started_at", "key"], "str"))
    if whole["seed"].dtype == object:  # more than 64 bits
        whole["seed"] = whole["seed"].astype("str")
    whole.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def _rows(flat: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Return the rows; a missing value is None."""
    columns = [flat[name].astype(object) for name in flat]
    return zip(*(column.where(column.notna(), None).tolist() for column in columns), strict=True)


def _json(flat: pd.DataFrame) -> str:
    # The text of json.dumps(rows, indent=2), whose indent would switch off its C code.
    encode = json.JSONEncoder(separators=(",\n    ", ": ")).encode
    rows = (dict(zip(FLAT_FIELDS, row, strict=True)) for row in _rows(flat))
    return ",\n".join(f"  {{\n    {encode(row)[1:-1]}\n  }}" for row in rows)


def _csv(floats: frozenset[str], flat: pd.DataFrame) -> str:
    text = io.StringIO()
    flat = flat.astype(dict.fromkeys(floats, float))
    texts = flat.select_dtypes(["category", "object"])
    flat = flat.assign(**{str(name): column.map(_harmless) for name, column in texts.items()})
    csv.writer(text, lineterminator="\n").writerows(_rows(flat))
    return text.getvalue().rstrip("\n")


def _harmless(value: Any) -> Any:
    return spreadsheet(value) if isinstance(value, str) else value


def written(lines: list[dict[str, Any]], form: str) -> str:
    """Return lines, whose first has all columns, as `json`, `csv` or `md`."""
    if form == "json":
        return json.dumps(lines, indent=2)
    flat = pd.DataFrame(lines)
    if form == "csv":
        text: str = flat.map(_harmless).rename(columns=_harmless).to_csv(index=False)
        return text.rstrip("\n")
    texts = flat.fillna("").astype(str).map(markdown).rename(columns=markdown)
    return texts.to_markdown(index=False, disable_numparse=True)


def prediction_lines(predictions: Iterable[Prediction]) -> list[dict[str, str]]:
    """Return a printed row for each prediction and batch size."""
    return [
        {
            "model": prediction.model,
            "backend": prediction.backend,
            **_latency_columns(latency),
            "agrees": _agreement(prediction),
            "accuracy": "" if prediction.accuracy is None else percent(prediction.accuracy),
            "note": "" if latency else f"{prediction.status}: {prediction.reason}",
        }
        for prediction, latency in _by_batch(predictions)
    ]


def prediction_tables(predictions: Iterable[Prediction], width: int) -> dict[str, RenderableType]:
    """Return a table for each model, by its name, for a terminal of `width` columns."""
    by_model: dict[str, list[dict[str, str]]] = {}
    for line in prediction_lines(predictions):
        by_model.setdefault(line.pop("model"), []).append(line)
    return {model: drawn(group, width, names=("backend",)) for model, group in by_model.items()}


def render_predictions(predictions: Iterable[Prediction], form: str) -> str:
    """Return predictions as `md`, as printed, or as `json` or `csv` with all figures."""
    if form == "md":
        return written(prediction_lines(predictions), form)
    rows = [
        {name: getattr(prediction, name) for name in PREDICTION_FIELDS}
        | {name: getattr(latency, name, None) for name in Latency.__struct_fields__}
        for prediction, latency in _by_batch(predictions)
    ]
    return written(rows, form)


def _by_batch(predictions: Iterable[Prediction]) -> Iterator[tuple[Prediction, Latency | None]]:
    """Yield each prediction with each of its latencies; with None if nothing was measured."""
    for prediction in predictions:
        if not prediction.latencies:
            yield prediction, None
        for latency in prediction.latencies:
            yield prediction, latency


def _latency_columns(latency: Latency | None) -> dict[str, str]:
    if latency is None:
        return dict.fromkeys(("batch", "latency ms", "samples/s"), "")
    seconds = (latency.median_s, *latency.quartiles_s)
    median, low, high = (f"{1e3 * second:.3g}" for second in seconds)
    return {
        "batch": f"{latency.batch:,}",
        "latency ms": f"{median} [{low}, {high}]",
        "samples/s": f"{latency.samples_per_s:,.0f}",
    }


def _agreement(prediction: Prediction) -> str:
    if prediction.tokens is None:
        return ""
    if prediction.differing_tokens is None:
        return "reference"
    if prediction.differing_tokens == 0:
        return "yes"
    return f"{prediction.differing_tokens:,} of {prediction.tokens:,} differ"


def candidate_rows(
    candidates: Sequence[Candidate], start: Recipe, fields: Sequence[str]
) -> list[dict[str, str]]:
    """Return rows of the best candidates and the starting one, with fields of their recipes."""
    chosen = ranked(candidates)[:MAX_CANDIDATES]
    chosen += [one for one in candidates if one.recipe == start and one not in chosen]
    return [
        {
            "candidate": str(one.number),
            "time to target": seconds_text(one.objective),
            "seeds": _seed_times(one.seeds),
            **{name.replace("_", " "): f"{getattr(one.recipe, name):g}" for name in fields},
            "note": "start" if one.recipe == start else "",
        }
        for one in chosen
    ]


def candidate_sentence(candidate: Candidate) -> str:
    """Describe a candidate: how it ended, and its seeds' seconds to the target."""
    times = _seed_times(candidate.seeds)
    if candidate.status == "complete":
        return f"{seconds_text(candidate.objective)} ({times})"
    why = f", {candidate.reason}" if candidate.status in {"stopped", "failed"} else ""
    return f"{candidate.status}{why} ({times})"


def seconds_text(seconds: float | None) -> str:
    """Format a time; empty for None."""
    return "" if seconds is None else f"{seconds:.3g} s"


def _seed_times(results: Sequence[SeedResult]) -> str:
    return ", ".join(
        result.status if result.time_to_target_s is None else f"{result.time_to_target_s:.3g}"
        for result in results
    )
