"""Rows as tables: for a terminal, and as JSON, CSV, Markdown and Parquet for scripts."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from rich.console import RenderableType

from echobench.analysis.frame import CELL, INTEGERS, Records, frame
from echobench.analysis.ranking import GROUP_BY, GROUPS, TIME, UPDATE, Group
from echobench.errors import UnknownNameError
from echobench.machine import parallel
from echobench.present.terminal import DISPENSABLE, MARK, drawn
from echobench.text import markdown, spreadsheet
from echobench.trial.record import TABLE_FIELDS


def lines(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Return the rows as they are printed: the best marked, and told apart by what differs."""
    rows = [row for group in groups for row in group.rows]
    more = [n for n in GROUPS if n not in CELL[:4] and len({r.place[n] for r in rows}) > 1]
    found = []
    for group in groups:
        best = {id(row) for row in group.best}
        for row in group.rows:
            line = {name: row.line[name] for name in CELL[:4]}
            line |= {name: row.place[name] for name in more} | row.line
            if id(row) in best:
                line[group.by] = MARK + line[group.by]
            found.append(line)
    return found


def terminal(groups: Sequence[Group], width: int) -> RenderableType:
    """Return the rows as a table for a terminal of `width` columns."""
    printed = lines(groups)
    names = [n for n in GROUPS if n not in ("units", "machine") and printed and n in printed[0]]
    # What decides somewhere stays.
    kept = {group.by for group in groups if group.best}
    return drawn(printed, width, names, [name for name in DISPENSABLE if name not in kept])


def legend(groups: Sequence[Group], group_by: Sequence[str] = GROUP_BY) -> list[str]:
    """Return what the mark means, if there is one."""
    decides = [by for by in (TIME, UPDATE) if any(g.best and g.by == by for g in groups)]
    if not decides:
        return []
    fast = " and where nobody reached it, by ".join(decides)
    same = ", ".join(dict.fromkeys([*group_by, "division"]))
    return [f"{MARK}best of those with the same {same}, by {fast}"]


PIECE = 25_000
"""Rows that one process writes at a time."""


def render(flat: pd.DataFrame, form: str) -> Iterator[str]:
    """Yield rows (`ordered`) as `json`, texts as they are, or as `csv` for a spreadsheet."""
    pieces = [flat[at : at + PIECE] for at in range(0, len(flat), PIECE)]
    if form == "json":
        texts = parallel.map_items(_json, pieces)
        yield "[\n" if pieces else "["
        yield next(texts, "")
        yield from (f",\n{text}" for text in texts)
        yield "\n]" if pieces else "]"
    else:
        # A column of whole numbers with gaps is one of floats, as pandas has it.
        gaps = frozenset(name for name in INTEGERS & {*flat} if flat[name].isna().any())
        yield ",".join(TABLE_FIELDS)
        for text in parallel.map_items(functools.partial(_csv, gaps), pieces):
            yield "\n" + text


def parquet(flat: pd.DataFrame) -> bytes:
    """Return rows (`ordered`) as a Parquet file: texts as texts, what is missing as null.

    Needs pyarrow, which is an extra.
    """
    texts = flat.select_dtypes("category").columns
    file = io.BytesIO()
    whole = flat.astype(dict.fromkeys([*texts, "started_at"], "str"))
    if whole["seed"].dtype == object:  # more than 64 bits
        whole["seed"] = whole["seed"].astype("str")
    whole.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def ordered(
    records: Records, group_by: Sequence[str] = (), sort: str | None = None
) -> pd.DataFrame:
    """Return a row a trial, the table's fields its columns.

    Args:
        records: the latest of each trial.
        group_by: fields whose equals stand together.
        sort: the field that rows are in order of, `-` before it for the largest first; what
            is missing comes last.

    Raises:
        UnknownNameError: no such field.
    """
    flat = _in_order(records)
    for name in [*group_by, *([sort.removeprefix("-")] if sort else [])]:
        if name not in TABLE_FIELDS:
            raise UnknownNameError("column", name, TABLE_FIELDS)
    if sort:
        name = sort.removeprefix("-")
        flat = flat.sort_values(name, ascending=name == sort, na_position="last", kind="stable")
    return flat.sort_values([*group_by], kind="stable") if group_by else flat


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
    texts = flat.select_dtypes(["category", "object"])
    flat = flat.assign(**{str(name): column.map(_cell) for name, column in texts.items()})
    csv.writer(text, lineterminator="\n").writerows(_tuples(flat))
    return text.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    return spreadsheet(value) if isinstance(value, str) else value


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
        text: str = frame.map(_cell).rename(columns=_cell).to_csv(index=False)
        return text.rstrip("\n")
    texts = frame.fillna("").astype(str).map(markdown).rename(columns=markdown)
    return texts.to_markdown(index=False, disable_numparse=True)
