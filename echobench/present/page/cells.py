"""From records to what the page shows: groups that may be ranked, their cells, and the best."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from echobench.analysis import pairs, table
from echobench.analysis.footnotes import agreement, course, variants, who_is_first
from echobench.analysis.pairs import MARGIN, Decision, hits_and_misses
from echobench.analysis.statistics import censored_median, times
from echobench.present.page import data
from echobench.trial.cell import Cell
from echobench.trial.record import Record

COLUMNS = {
    "success": "share of trials that reached certified 100%",
    "time to target": "median training time, misses censored",
    "compile + target": "the same with the compiling before it",
    "ms/update": "median",
    "updates to target": "median, misses censored",
    "compile": "median",
    "wall": "whole process, median",
    "accuracy": "median",
    "of limit": "of the machine's matrix rate",
    "note": "misses, failures and doubts, with their reasons",
}
"""Columns of the overview, with their explanation."""


class Question(NamedTuple):
    """A question that the page answers for each group, by a metric on a clock."""

    text: str
    metric: str
    clock: str = "train"


QUESTIONS = {
    "compile + target": Question(
        "Short jobs (one training from cold, compiling counted)", pairs.TIME_TO_TARGET, "compile"
    ),
    "time to target": Question("Training time to certified 100%", pairs.TIME_TO_TARGET),
    "ms/update": Question(
        "Long jobs (time of an update, when compiling no longer matters)", pairs.SECONDS_PER_UPDATE
    ),
}
"""Questions, by the column that holds the figures."""
ABOUT = ("task", "backend", "engine", "division", "machine")


@dataclass
class CellView:
    """A row of the overview, and the data of its charts.

    Attributes:
        id: the same in every page of the same records.
        name: backend, engine, and what else tells it apart in its group.
        about: what it is filtered by (`ABOUT`, and `status`: those of its trials).
        texts: by column, for people.
        numbers: by column, to sort by.
        drawn: the data of its charts.
        flat: its records as a frame.
        marks: by column `best` (shown by pairs) or `lowest` (a median, no more).
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

    @property
    def cell(self) -> Cell:
        """Return the cell of its trials."""
        cell: Cell = self.flat.iloc[0].cell
        return cell


@dataclass
class GroupView:
    """Cells that may be ranked: of one task, recipe, division, budget, setting and machine.

    Attributes:
        settings: in what it differs from other groups of this task and division.
        cells: the fastest to the target first.
        absent: backends and engines that this machine has records of, but not here.
        answers: by question: the winner, if one is shown, and the rest of the sentence.
        lines: compile time and seconds of an update, for the break-even.
        few: whether there are too few pairs to name a winner in anything.
    """

    id: str
    task: str
    division: str
    machine: str
    settings: str
    cells: list[CellView]
    absent: list[str]
    answers: dict[str, tuple[str, str]]
    lines: list[dict[str, Any]]
    few: bool

    @property
    def several(self) -> bool:
        """Return whether there are cells to choose between."""
        return len(self.cells) > 1

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns that are not empty, with their explanation."""
        return {n: text for n, text in COLUMNS.items() if any(c.texts[n] for c in self.cells)}

    @property
    def decided(self) -> bool:
        """Return whether a winner is shown in anything."""
        return any("best" in cell.marks.values() for cell in self.cells)


class Best(NamedTuple):
    """Which cell of a group is the fastest.

    Attributes:
        name: the winner, or the cell with the lowest median; None where no trial has the metric.
        shown: whether it is a winner: the verdicts on it and every other cell say so.
        text: the rest of the sentence after the name of a winner, or a whole one.
        few: whether there were too few pairs for a verdict.
    """

    name: str | None
    shown: bool
    text: str
    few: bool = False


def best(
    cells: Mapping[str, pd.DataFrame], metric: str = pairs.TIME_TO_TARGET, clock: str = "train"
) -> Best:
    """Return the fastest cell; `cells` are records as frames, by the cell's name.

    One with a trial that was not compared with a reference takes no part.
    """
    cells = {name: flat for name, flat in cells.items() if not flat.unchecked.any()}
    order: dict[str, tuple[float, ...]] = {}
    reached = False
    for name, flat in cells.items():
        hits, misses = hits_and_misses(flat, metric, clock)
        if pairs.trained(flat) and (len(hits) or len(misses)):
            median = censored_median(hits, misses).value
            order[name] = (math.inf, -len(hits)) if median is None else (median,)
            reached = reached or len(hits) > 0
    if not reached:
        return Best(None, False, "")
    names = sorted(order, key=lambda name: order[name])
    if len(names) == 1:
        return Best(names[0], False, "only one was measured")

    def verdicts(name: str) -> dict[str, pairs.Verdict]:
        rivals = (rival for rival in names if rival != name)
        return {r: pairs.judge(pairs.pair(cells[name], cells[r], metric, clock)) for r in rivals}

    lowest = verdicts(names[0])
    # Seeds that only one of two cells has move its median, and are in no pair.
    faster = [name for name, verdict in lowest.items() if verdict.decision is Decision.SECOND]
    for name, found in ((names[0], lowest), *((name, verdicts(name)) for name in faster)):
        if all(verdict.decision is Decision.FIRST for verdict in found.values()):
            rival, verdict = next(iter(found.items()))
            text = f", {verdict.times} faster than {rival} {verdict.ratio.interval}"
            return Best(name, True, text)
    rival, verdict = next((r, v) for r, v in lowest.items() if v.decision is not Decision.FIRST)
    if verdict.decision is Decision.FEW:
        text = f"no winner named: {names[0]} and {rival} have {verdict.too_few}"
        return Best(names[0], False, text, few=True)
    interval = verdict.ratio.interval
    if verdict.decision is Decision.ALIKE:
        text = f"{rival} and {names[0]} differ by less than {MARGIN:.0%} {interval}"
    else:
        least = "at least " if verdict.is_bound else ""
        took = f"{least}{times(verdict.ratio.value or 0.0)}x the time"
        text = f"{rival} takes {took} of {names[0]} {interval}"
    return Best(names[0], False, f"no winner shown: {text}")


def groups(
    records: Sequence[Record], flat: pd.DataFrame, folders: Sequence[str] = ()
) -> list[GroupView]:
    """Return the groups of the overview, in order of task and division.

    `flat` is the frame of the records, each in the division that its recipe says. Records of
    several `folders`, one for each record, make no common row: each folder is as its table.
    """
    flat = flat.assign(folder=list(folders) or "")
    labels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for machine, place, *words in zip(
        flat.machine, flat.folder, flat.backend, flat.engine, strict=True
    ):
        labels[str(machine), str(place)].add(" ".join(map(str, words)))
    found, conditions = [], []
    for by_label in variants(flat).values():
        alike: dict[tuple[Cell, str, str], list[CellView]] = defaultdict(list)
        for label, frames in by_label.items():
            for part in frames:
                for name, own in part.groupby("folder", sort=False):
                    view = _cell(label, own, records)
                    shared = view.cell.without(*pairs.RIVALS)
                    alike[shared, view.about["machine"], str(name)].append(view)
        for (shared, machine, folder), cells in alike.items():
            conditions.append({**_settings(shared), "machine": machine, "folder": folder})
            there = {f"{view.about['backend']} {view.about['engine']}" for view in cells}
            _tell_apart(cells)
            found.append(_group(cells, sorted(labels[machine, folder] - there)))
    same: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, group in enumerate(found):
        same[group.task, group.division].append(index)
    for indices in same.values():
        texts = _differences([conditions[index] for index in indices])
        for index, text in zip(indices, texts, strict=True):
            found[index].settings = text
    return found


def _differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in what each of several settings differs from the others: `threads 2, units 64`."""
    names = dict.fromkeys(name for one in settings for name in one)
    differing = [n for n in names if any(one.get(n) != settings[0].get(n) for one in settings)]
    return [
        ", ".join(f"{n.rpartition('.')[2]} {one[n]}" for n in differing if one.get(n) is not None)
        for one in settings
    ]


def _cell(label: str, flat: pd.DataFrame, records: Sequence[Record]) -> CellView:
    own = [records[index] for index in flat.index]
    first = flat.iloc[0]
    said = "\n".join([first.cell.text, first.machine, first.folder])
    digest = hashlib.sha256(said.encode()).hexdigest()[:10]
    (row,) = table.cells(flat)
    (compiled,) = table.cells(flat, "compile")
    texts = {**row.line, "compile + target": compiled.line[table.TIME]}
    numbers = {**row.values, "compile + target": compiled.values[table.TIME]}
    about = {name: str(first[name]) for name in ABOUT}
    about["status"] = " ".join(sorted(set(map(str, flat.status))))
    return CellView(digest, label, about, texts, numbers, data.charts(own, flat), own, flat)


def _tell_apart(cells: Sequence[CellView]) -> None:
    """Add to names that occur more than once what differs between their cells."""
    by_name: dict[str, list[CellView]] = defaultdict(list)
    for cell in cells:
        by_name[cell.name].append(cell)
    for same in by_name.values():
        if len(same) > 1:
            texts = _differences([_settings(view.cell) for view in same])
            for cell, text in zip(same, texts, strict=True):
                cell.name = f"{cell.name} ({text or 'as usual'})"
    for name, count in Counter(cell.name for cell in cells).items():
        if count > 1:
            for number, cell in enumerate([c for c in cells if c.name == name], start=1):
                cell.name += f" #{number}"


def _settings(cell: Cell) -> dict[str, Any]:
    """Return the fields of a cell that are set: a zero goes without saying."""
    leaves = cell.without("label").leaves()
    return {name: value for name, value in leaves.items() if value or "." in name}


def _group(cells: list[CellView], absent: list[str]) -> GroupView:
    by_name = {cell.name: cell for cell in cells}
    flats = {name: cell.flat for name, cell in by_name.items()}
    bests = {column: best(flats, asked.metric, asked.clock) for column, asked in QUESTIONS.items()}
    for column, one in bests.items():
        cell = by_name.get(one.name or "")
        if cell and len(cells) > 1 and (one.shown or cell.numbers[column] is not None):
            cell.marks[column] = "best" if one.shown else "lowest"
    lines = [line for name, flat in flats.items() if (line := course(name, [flat]))]
    few = all(one.few for one in bests.values() if one.name is not None)
    answers = {}
    if not few:
        answers = {
            asked.text: (one.name or "" if one.shown else "", one.text)
            for asked, one in zip(QUESTIONS.values(), bests.values(), strict=True)
        }
    first = who_is_first(flats)
    if first:
        answers["By number of updates, compiling counted"] = ("", first)
    answers["What they need to learn"] = ("", agreement(flats) or "")
    if bests["time to target"].name is None:
        answers["Certified 100%"] = ("", "no trial reached it within its budget")
    cells.sort(key=_order)
    name = " ".join(cells[0].about[n] for n in ("task", "division"))
    return GroupView(
        id="group-" + re.sub(r"[^a-z0-9]+", "-", name.lower()) + "-" + cells[0].id[:6],
        task=cells[0].about["task"],
        division=cells[0].about["division"],
        machine=cells[0].about["machine"],
        settings="",
        cells=cells,
        absent=absent,
        answers={question: answer for question, answer in answers.items() if any(answer)},
        lines=[
            {"name": name, "compile": float(compile_s), "update": float(update_s)}
            for name, compile_s, update_s in lines
        ],
        few=few,
    )


def _order(cell: CellView) -> tuple[float, float, str]:
    numbers = [cell.numbers[name] for name in ("time to target", "ms/update")]
    first, second = (float("inf") if number is None else number for number in numbers)
    return first, second, cell.name
