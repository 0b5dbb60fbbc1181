"""The notes below the table: break-even points, agreement, missing seeds, repeated trials."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple, cast

import pandas as pd

from echobench.analysis.frame import CELL, Records, frame
from echobench.analysis.pairs import MARGIN, hits_and_misses
from echobench.analysis.statistics import disagreement
from echobench.store.rules import unusual
from echobench.trial.cell import Cell
from echobench.trial.declared import Shortfall, shortfall

FEW = 5
"""How many cells a note lists."""
Cells = dict[str, list[pd.DataFrame]]
"""The records of cells that differ in backend and engine only, by these two."""


class Course(NamedTuple):
    """The time of a cell as a straight line: compilation, then seconds for each update."""

    name: str
    compile_s: float
    seconds_per_update: float


def footnotes(records: Records) -> list[str]:
    """Return notes on each variant of a task that several backends or engines learnt."""
    lines: list[str] = []
    for name, cells in variants(frame(records)).items():
        courses = [line for label, group in cells.items() if (line := course(label, group))]
        if len(courses) > 1:
            lines.append(f"{name}, compiling counted: {who_is_first(courses)}")
        updates = [hits_and_misses(pd.concat(g), "updates_to_target") for g in cells.values()]
        p = disagreement(updates)
        if p is not None:
            agree = "do not agree" if p < 0.05 else "agree"
            lines.append(f"{name}: updates to target {agree} (log-rank p = {p:.2g})")
    return lines


def chosen(records: Records) -> list[str]:
    """Return notes on missing seeds, on trials run again and on conditions that users chose.

    All records in a folder are needed.
    """
    flat = frame(records)
    again = flat[flat.duplicated(["key", "machine"], keep=False)]
    runs = Counter(
        (f"{row.task} {row.backend} {row.engine} {row.division} seed {row.seed}{row.again}", key)
        for row, key in zip(again.itertuples(), again.key + again.machine.astype(str), strict=True)
    )
    lines = [
        f"{name} was run {count} times; the last one counts"
        for (name, _), count in sorted(runs.items())
        if count > 1
    ]
    lines += sorted(f"{cell}: {missing}" for cell, missing in incomplete(flat))
    return lines + conditions(flat)


def conditions(records: Records) -> list[str]:
    """Return in what the conditions of cells are not the suite's: their budget, their bound."""
    flat = frame(records)
    cells = [cast(Cell, cell) for cell in flat.cell.unique()]
    certified = set(flat.cell[flat.status == "reached"])
    found: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        for name, told in unusual(cell).items():
            if name != "bound" or cell in certified:
                found[told].append(str(cell))
    return [
        f"{told}: {'all cells' if len(names) == len(cells) else _listed(sorted(set(names)))}"
        for told, names in sorted(found.items())
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def incomplete(records: Records) -> list[tuple[Cell, Shortfall]]:
    """Return the cells that have fewer trials than were declared, of all records in a folder."""
    found = []
    for names, group in frame(records).groupby(["cell", "machine"], sort=False, observed=True):
        repeats = (int(again.rpartition(" ")[2] or 0) for again in group.again)
        missing = shortfall(zip(group.declared, group.seed, repeats, strict=True))
        if missing:
            found.append((cast(Cell, names[0]), missing))
    return found


def absent(records: Records) -> list[str]:
    """Return notes on missing cells: the tasks of a division that a backend and engine lack."""
    flat = frame(records)[CELL[:4]].drop_duplicates().astype(str)
    by_division: dict[str, set[str]] = defaultdict(set)
    by_cell: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for task, backend, engine, division in flat.itertuples(index=False):
        by_division[division].add(task)
        by_cell[backend, engine, division].add(task)
    return [
        f"{' '.join(cell)}: no record of {', '.join(missing)}"
        for cell, tasks in sorted(by_cell.items())
        if (missing := sorted(by_division[cell[-1]] - tasks))
    ]


def who_is_first(courses: Sequence[Course]) -> str:
    """Return in words who is first, and up to how many updates."""
    (_, first), *others = break_even(courses)
    then = "".join(f" up to {round(at):,} updates, then {line.name}" for at, line in others)
    return f"{first.name} first{then}"


def break_even(courses: Sequence[Course]) -> list[tuple[float, Course]]:
    """Return the fastest course and the number of updates from which on it is, for each stretch.

    This is the lower envelope of the courses, except that a course whose updates are faster by
    less than `MARGIN` overtakes none.
    """
    now = min(courses, key=lambda c: (c.compile_s, c.seconds_per_update))
    envelope = [(0.0, now)]
    while True:
        enough = (1 - MARGIN) * now.seconds_per_update
        faster = [c for c in courses if c.seconds_per_update < enough]
        if not faster:
            return envelope
        at, now = min(
            ((_meeting(now, c), c) for c in faster), key=lambda m: (m[0], m[1].seconds_per_update)
        )
        envelope.append((at, now))


def _meeting(slower: Course, faster: Course) -> float:
    gap = faster.compile_s - slower.compile_s
    return gap / (slower.seconds_per_update - faster.seconds_per_update)


def variants(flat: pd.DataFrame) -> dict[str, Cells]:
    """Return cells by what they have in common: all but backend, engine and its versions."""
    found: dict[tuple[Cell, str, str, str], Cells] = defaultdict(lambda: defaultdict(list))
    names: dict[tuple[Cell, str, str, str], str] = {}
    groups = flat.groupby(["cell", "machine", *CELL[:4]], sort=False, observed=True)
    for (cell, machine, task, backend, engine, division), group in groups:
        shared = cast(Cell, cell).only("device", "threads", "recipe", "source")
        key = (shared, str(task), str(division), str(machine))
        names[key] = f"{task} {division}"
        found[key][f"{backend} {engine}"].append(group)
    like = Counter(names.values())
    return {
        name if like[name] == 1 else f"{name} ({number})": found[key]
        for number, (key, name) in enumerate(sorted(names.items(), key=lambda item: item[1]))
    }


def course(name: str, groups: Sequence[pd.DataFrame]) -> Course | None:
    """Return the course of a cell: medians over its trials; None where one is missing."""
    flat = pd.concat(groups)
    compile_s, seconds_per_update = flat.compile_s.median(), flat.seconds_per_update.median()
    if pd.isna(compile_s) or pd.isna(seconds_per_update):
        return None
    return Course(name, compile_s, seconds_per_update)
