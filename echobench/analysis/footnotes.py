"""The notes below the table: break-even points, agreement, missing seeds, repeated trials.

A break-even is where the straight lines of two cells cross: compilation, then so many seconds
an update. How far it is known, a bootstrap over seeds says (`leads`).
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from echobench.analysis.frame import CELL, Records, frame
from echobench.analysis.pairs import MARGIN, RUN, judge, pair, trained
from echobench.analysis.statistics import (
    BOOTSTRAP_SEED,
    FEWEST_PAIRS,
    Estimate,
    Floats,
    widened_tail,
)
from echobench.store.rules import OLD_RULE, unusual
from echobench.trial.cell import Cell
from echobench.trial.declared import Shortfall, shortfall

FEW = 5
"""How many cells a note lists."""
MOST = 3
"""How many differences in updates to target a note lists."""
DRAWS = 999
"""Resamples of a break-even."""
PLAIN = {OLD_RULE: "certified by the old rule, which did not count attempts"}
"""Conditions in words that need no acquaintance."""
CERTIFIED = ("bound", "test_set")
"""Conditions that matter only where there is a certificate."""
SHARED = (
    "device", "threads", "smt", "recipe", "source", "task_source", "bound", "test_set",
    "environment",
)  # fmt: skip # one line reads better
"""Fields in which the cells of a variant are equal."""
Cells = dict[str, list[pd.DataFrame]]
"""The records of cells that differ in backend and engine only, by these two."""


class Course(NamedTuple):
    """The time of a cell as a straight line: compilation, then seconds for each update."""

    name: str
    compile_s: float
    seconds_per_update: float


class Lead(NamedTuple):
    """Who is first from a number of updates on: one cell, or several if it is not shown which."""

    start: float
    names: tuple[str, ...]


def footnotes(records: Records) -> list[str]:
    """Return notes on each variant of a task that several backends or engines learnt."""
    found = {name: _whole(cells) for name, cells in variants(frame(records)).items()}
    firsts = {name: who_is_first(cells) for name, cells in found.items()}
    told = [f"{name}, compiling counted: {first}" for name, first in firsts.items() if first]
    agree = {name: agreement(cells) for name, cells in found.items()}
    told += [f"{name}: {text}" for name, text in agree.items() if text]
    several = [name for name, cells in found.items() if sum(map(trained, cells.values())) > 1]
    few = [name for name in several if not firsts[name] and not agree[name]]
    if few:
        told.append(
            f"{', '.join(few)}: too few trials to say who is first, or whether updates to target "
            f"differ; of two cells {FEWEST_PAIRS} seeds can say it, of more a few more"
        )
    return told


def _whole(cells: Cells) -> dict[str, pd.DataFrame]:
    return {label: pd.concat(groups) for label, groups in cells.items()}


def agreement(cells: Mapping[str, pd.DataFrame]) -> str | None:
    """Return in words whether cells take equally many updates to the target.

    None with too few pairs of seeds.

    All intervals within the margin are each at 95% (all must hold for the statement to be wrong
    in none: Berger 1982); a difference is one of many that could have been found, so its
    interval is corrected for their number.
    """
    found = [
        (a, b, pairs)
        for a, b in combinations(cells, 2)
        if len((pairs := pair(cells[a], cells[b], "updates_to_target")).ratios)
    ]
    if not found:
        return None
    each = [judge(pairs) for _, _, pairs in found]
    if all(verdict.within_margin for verdict in each):
        widest = _widest(verdict.ratio for verdict in each)
        return f"updates to target differ by less than {MARGIN:.0%} {widest.interval}"
    told = [(a, b, judge(pairs, contests=len(found))) for a, b, pairs in found]
    apart = [
        f"{a if one.advantage is one.ratio else b} takes {one.times} fewer than "
        f"{b if one.advantage is one.ratio else a} {one.advantage.interval}"
        for a, b, one in told
        if one.has_winner
    ]
    if apart:
        more = f"; {len(apart) - MOST} more differ" if len(apart) > MOST else ""
        return f"updates to target differ: {'; '.join(apart[:MOST])}{more}"
    known = [one.ratio for _, _, one in told if one.ratio.low is not None]
    if not known:
        return None
    few = len(found) - len(known)
    less = f", with too few pairs of {few} more" if few else ""
    return (
        f"no difference in updates to target is shown; ratios of {_widest(known).interval} are "
        f"possible{less}"
    )


def _widest(found: Iterable[Estimate]) -> Estimate:
    """Return what holds all intervals, whichever of two cells comes first."""
    both = [end for one in found for end in (one.low, one.high) if end is not None]
    return Estimate(None, min(both), max(both), len(both))


def chosen(records: Records, shown: Collection[str] = ()) -> list[str]:
    """Return notes on missing seeds, on trials run again and on conditions that users chose.

    All records in a folder are needed. Conditions `shown` by a column are left out.
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
    return lines + conditions(flat, shown)


def conditions(records: Records, shown: Collection[str] = ()) -> list[str]:
    """Return in what the conditions of cells are not the suite's: their budget, their bound.

    Those `shown` by a column are left out.
    """
    flat = frame(records)
    cells = [cast(Cell, cell) for cell in flat.cell.unique()]
    certified = set(flat.cell[flat.status == "reached"])
    found: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        for name, told in {**unusual(cell), **_test_set(cell)}.items():
            if name not in shown and (name not in CERTIFIED or cell in certified):
                found[PLAIN.get(told, told)].append(str(cell))
    return [
        f"{'all cells' if len(names) == len(cells) else _listed(sorted(set(names)))}: {told}"
        for told, names in sorted(found.items())
    ]


def _test_set(cell: Cell) -> dict[str, str]:
    """Return what a certificate of a whole test set says, which has no bound."""
    if not cell.test_set:
        return {}
    return {"test_set": f"certificates say: {cell.certificate}, and nothing of others"}


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


def who_is_first(cells: Mapping[str, pd.DataFrame]) -> str:
    """Return in words who is first, and up to how many updates; empty with too few trials.

    A number of updates is told as far as it is known; beyond what was run, that is said.
    """
    found = leads(cells)
    if not found:
        return ""
    most = (flat.updates.max() for flat in cells.values())
    run = min((float(updates) for updates in most if not pd.isna(updates)), default=np.inf)
    # Where fewer are possible before and after, two meet; what is possible there is no stage.
    stages = [
        number
        for number, lead in enumerate(found)
        if number in (0, len(found) - 1)
        or not any({*found[beside].names} < {*lead.names} for beside in (number - 1, number + 1))
    ]
    text = f"{' or '.join(found[0].names)} first{_unsure(found[0])}"
    if len(stages) == 1 and run < np.inf:
        text += f" up to the {run:,.0f} updates that were run"
    for before, after in pairwise(stages):
        low, high = round(found[before + 1].start), round(found[after].start)
        between = f"{low:,}" if low == high else f"between {low:,} and {high:,}"
        beyond = f" (beyond the {run:,.0f} that were run)" if high > run else ""
        text += (
            f" up to {between} updates{beyond}, then {' or '.join(found[after].names)}"
            f"{_unsure(found[after])}"
        )
    return text


def _unsure(lead: Lead) -> str:
    return " (not shown which)" if len(lead.names) > 1 else ""


def leads(cells: Mapping[str, pd.DataFrame]) -> list[Lead]:
    """Return who may be first from which number of updates on.

    None with too few trials of a cell, or without two that have both times.

    Runs (seeds) are resampled, those of all cells together, and each resample has its
    `break_even`. From `start` on the named cells are first in more resamples than an interval
    leaves out at one end.
    """
    flats = {name: there for name, flat in cells.items() if len(there := _measured(flat))}
    fewest_trials = min(map(len, flats.values()), default=0)
    if len(flats) < 2 or fewest_trials < FEWEST_PAIRS:
        return []
    runs = sorted(set().union(*(flat.index for flat in flats.values())))
    values = np.stack([flat.reindex(runs).to_numpy(float) for flat in flats.values()])
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = rng.integers(len(runs), size=(DRAWS, len(runs)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")  # a draw without a trial of a cell
        medians = np.nanmedian(values[:, drawn], axis=2).swapaxes(0, 1)
    starts: dict[str, list[float]] = {name: [] for name in flats}
    ends: dict[str, list[float]] = {name: [] for name in flats}
    draws = [draw for draw in medians if not np.isnan(draw).any()]
    for draw in draws:
        stages = break_even([Course(n, *line) for n, line in zip(flats, draw, strict=True)])
        for (start, line), end in zip(stages, [at for at, _ in stages[1:]] + [np.inf], strict=True):
            starts[line.name].append(start)
            ends[line.name].append(end)
    at = np.unique([start for some in starts.values() for start in some])
    shares = {name: _held(at, starts[name], ends[name]) / len(draws) for name in flats}
    tail = widened_tail(fewest_trials)
    found: list[Lead] = []
    for place, start in enumerate(at):
        names = tuple(name for name in sorted(flats) if shares[name][place] > tail)
        if not found or names != found[-1].names:
            found.append(Lead(float(start), names))
    return found


def _held(at: Floats, starts: Sequence[float], ends: Sequence[float]) -> Floats:
    """Return how many stretches, from `starts` to before `ends`, hold each position."""
    begun, over = (np.searchsorted(np.sort(some), at, side="right") for some in (starts, ends))
    return np.asarray(begun - over, float)


def _measured(flat: pd.DataFrame) -> pd.DataFrame:
    """Return the compile time and the time of an update of each run of a cell that has both."""
    there = flat[[*RUN, "compile_s", "seconds_per_update"]].dropna()
    there = there.astype({"machine": str, "again": str}).drop_duplicates([*RUN], keep="last")
    return there.set_index([*RUN]).astype(float)


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
    """Return cells by what they have in common: all but backend, engine and its versions.

    Those of another bound, or of the old rule, needed other certificates, so other updates.
    """
    found: dict[tuple[Cell, str, str, str], Cells] = defaultdict(lambda: defaultdict(list))
    names: dict[tuple[Cell, str, str, str], str] = {}
    groups = flat.groupby(["cell", "machine", *CELL[:4]], sort=False, observed=True)
    for (cell, machine, task, backend, engine, division), group in groups:
        shared = cast(Cell, cell).only(*SHARED)
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
