"""From records to what the page shows: groups that may be ranked, cells, and their trials."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from echobench.analysis.footnotes import variants
from echobench.analysis.ranking import TIME, UPDATE
from echobench.analysis.table import summary
from echobench.present.page import data, verdict
from echobench.present.sentences import measured
from echobench.trial.record import Record

COLUMNS = {
    "success": "share of trials that reached certified 100%",
    "time to target": "median training time, 95% interval",
    "compile + target": "the same with the compiling before it",
    "ms/update": "median [smallest, largest]",
    "updates to target": "median [smallest, largest]",
    "compile": "median [smallest, largest]",
    "wall": "whole process, median [smallest, largest]",
    "accuracy": "median [smallest, largest]",
    "of limit": "of the machine's matrix rate",
    "note": "misses, failures and doubts, with their reasons",
}
"""Columns of the overview, and what they hold."""
QUESTIONS = {
    "compile + target": "Short jobs (one training from cold, compiling counted)",
    "time to target": "Training time to certified 100%",
    "ms/update": "Long jobs (time of an update, when compiling no longer matters)",
}
"""What is asked of a group, by the column that answers it."""
OF_BACKENDS = ("backend", "engine", "versions")
"""What cells of a group differ in."""
ABOUT = ("task", "backend", "engine", "division", "machine")


@dataclass
class Cell:
    """A row of the overview, and what is drawn of it.

    Attributes:
        id: the same in every page of the same records.
        name: backend, engine, and what else tells it apart in its group.
        about: what it is filtered by (`ABOUT`, and `status`: those of its trials).
        texts: by column, for people.
        numbers: by column, to sort by.
        marks: by column `best` (shown by pairs) or `lowest` (a median, no more).
        drawn: what charts need.
        records: of its trials.
        flat: the same, as rows of the frame.
    """

    id: str
    name: str
    about: dict[str, str]
    texts: dict[str, str]
    numbers: dict[str, float | None]
    drawn: dict[str, Any]
    records: list[Record]
    flat: pd.DataFrame
    marks: dict[str, str] = field(default_factory=dict)


@dataclass
class Group:
    """Cells that may be ranked: of one task, recipe, division, budget, setting and machine.

    Attributes:
        id: of its element.
        task, division, machine: what they have in common.
        settings: in what it differs from other groups of this task and division.
        cells: the fastest to the target first.
        absent: backends and engines that this machine has records of, but not here.
        said: what to choose, by question: a winner that is shown, and the rest of the sentence.
        lines: compile and seconds for an update, for the break-even.
        few: whether there are too few pairs to name a winner in anything.
    """

    id: str
    task: str
    division: str
    machine: str
    settings: str
    cells: list[Cell]
    absent: list[str]
    said: dict[str, tuple[str, str]]
    lines: list[dict[str, Any]]
    few: bool

    @property
    def several(self) -> bool:
        """Return whether there is something to choose between."""
        return len(self.cells) > 1

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns that are not empty, and what they hold."""
        return {n: what for n, what in COLUMNS.items() if any(c.texts[n] for c in self.cells)}

    @property
    def decided(self) -> bool:
        """Return whether a winner is shown in anything."""
        return any("best" in cell.marks.values() for cell in self.cells)


def groups(records: Sequence[Record], flat: pd.DataFrame) -> list[Group]:
    """Return the groups of the overview, in order of task and division.

    Args:
        records: by the frame's index.
        flat: their frame, each in the division that its recipe says.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for machine, backend, engine in zip(flat.machine, flat.backend, flat.engine, strict=True):
        labels[str(machine)].add(f"{backend} {engine}")
    found, told = [], []
    for by_label in variants(flat).values():
        alike: dict[str, list[Cell]] = defaultdict(list)
        for label, frames in by_label.items():
            for frame in frames:
                cell = _cell(label, frame, records)
                alike[json.dumps(_conditions(cell), sort_keys=True)].append(cell)
        for cells in alike.values():
            told.append(_conditions(cells[0]))
            there = {f"{cell.about['backend']} {cell.about['engine']}" for cell in cells}
            _tell_apart(cells)
            found.append(_group(cells, sorted(labels[cells[0].about["machine"]] - there)))
    same: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, group in enumerate(found):
        same[group.task, group.division].append(place)
    for places in same.values():
        different = differences([told[place] for place in places])
        for place, text in zip(places, different, strict=True):
            found[place].settings = text
    return found


def differences(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return of each object where it differs from the others: `threads 2, units 64`."""
    flat = [dict(_leaves(one)) for one in objects]
    names = list(dict.fromkeys(name for one in flat for name in one))
    differing = [
        n for n in names if len({json.dumps(one.get(n), sort_keys=True) for one in flat}) > 1
    ]
    return [
        ", ".join(f"{n.rpartition('.')[2]} {one[n]}" for n in differing if one.get(n) is not None)
        for one in flat
    ]


def _leaves(value: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{before}{name}.")
        else:
            yield before + name, item


def _cell(label: str, flat: pd.DataFrame, records: Sequence[Record]) -> Cell:
    own = [records[index] for index in flat.index]
    first = flat.iloc[0]
    digest = hashlib.sha256(f"{first.cell.text}\n{first.machine}".encode()).hexdigest()[:10]
    (texts,) = summary(flat)
    compiled = measured(flat, TIME, "compile")
    median = verdict.median(compiled)
    texts["compile + target"] = summary(flat, "compile")[0]["time to target"]
    target = verdict.median(measured(flat, TIME, "train")).value
    counted = flat[flat.status.isin(["reached", "missed", "timeout"])]
    middle = {
        "ms/update": flat.seconds_per_update,
        "updates to target": flat.updates_to_target,
        "compile": flat.compile_s,
        "wall": flat.wall_s,
        "accuracy": flat.accuracy,
        "of limit": flat.limit_fraction,
    }
    numbers = {
        "success": float((flat.status == "reached").sum() / len(counted)) if len(counted) else None,
        "time to target": target,
        "compile + target": median.value,
        **{name: _median(column) for name, column in middle.items()},
    }
    about = {name: str(first[name]) for name in ABOUT}
    about["status"] = " ".join(sorted(set(map(str, flat.status))))
    return Cell(digest, label, about, texts, numbers, data.charts(own, flat), own, flat)


def _median(values: pd.Series[Any]) -> float | None:
    there = pd.to_numeric(values).dropna()
    return float(there.median()) if len(there) else None


def _tell_apart(cells: Sequence[Cell]) -> None:
    """Add to names that occur more than once what differs between their cells."""
    by_name: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_name[cell.name].append(cell)
    for same in by_name.values():
        if len(same) > 1:
            told = [_settings(cell) for cell in same]
            for cell, text in zip(same, differences(told), strict=True):
                cell.name = f"{cell.name} ({text or 'as usual'})"
    for name, times in Counter(cell.name for cell in cells).items():
        if times > 1:
            for number, cell in enumerate([c for c in cells if c.name == name], start=1):
                cell.name += f" #{number}"


def _settings(cell: Cell) -> dict[str, Any]:
    told = json.loads(cell.flat.iloc[0].cell.text)
    # What is not set (a zero) goes without saying.
    return {name: value for name, value in told.items() if name != "label" and value}


def _conditions(cell: Cell) -> dict[str, Any]:
    """Return what cells must share to be ranked: all but the backend's own."""
    told = {name: value for name, value in _settings(cell).items() if name not in OF_BACKENDS}
    return {**told, "machine": cell.about["machine"]}


def _group(cells: list[Cell], absent: list[str]) -> Group:
    by_name = {cell.name: cell for cell in cells}
    questions = {
        "time to target": {n: measured(c.flat, TIME, "train") for n, c in by_name.items()},
        "compile + target": {n: measured(c.flat, TIME, "compile") for n, c in by_name.items()},
        "ms/update": {n: measured(c.flat, UPDATE, "train") for n, c in by_name.items()},
    }
    found = {name: verdict.verdict(sides) for name, sides in questions.items()}
    for name, one in found.items():
        if one.first is not None and len(cells) > 1:
            by_name[one.first].marks[name] = "best" if one.shown else "lowest"
    straight = verdict.courses({name: cell.flat for name, cell in by_name.items()})
    said = {question: found[name].said for name, question in QUESTIONS.items()}
    few = all(one.few for one in found.values() if one.first is not None)
    if few:
        said = {}
    said["By number of updates, compiling counted (medians)"] = ("", verdict.even(straight))
    if found["time to target"].first is None:
        said["Certified 100%"] = ("", "no trial reached it within its budget")
    cells.sort(key=_order)
    name = " ".join(cells[0].about[n] for n in ("task", "division"))
    return Group(
        id="group-" + re.sub(r"[^a-z0-9]+", "-", name.lower()) + "-" + cells[0].id[:6],
        task=cells[0].about["task"],
        division=cells[0].about["division"],
        machine=cells[0].about["machine"],
        settings="",
        cells=cells,
        absent=absent,
        said={question: text for question, text in said.items() if any(text)},
        lines=[
            {
                "name": line.name,
                "compile": float(line.compile_s),
                "update": float(line.seconds_per_update),
            }
            for line in straight
        ],
        few=few,
    )


def _order(cell: Cell) -> tuple[float, float, str]:
    numbers = [cell.numbers[name] for name in ("time to target", "ms/update")]
    first, second = (float("inf") if number is None else number for number in numbers)
    return first, second, cell.name
