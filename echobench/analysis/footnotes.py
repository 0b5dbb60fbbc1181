"""The notes below the table: break-even points, agreement, missing seeds, repeated trials.

A break-even is where the straight lines of two cells cross: compilation, then so many seconds
an update. How far it is known, a bootstrap over seeds says (`leads`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from echobench.analysis import places
from echobench.analysis.frame import CELL, Records, frame
from echobench.analysis.pairs import (
    MARGIN,
    RUN,
    SECONDS_PER_UPDATE,
    TIME_TO_TARGET,
    has,
    judge,
    measured,
    pair,
    trained,
    values,
)
from echobench.analysis.places import shares_processes
from echobench.analysis.resampling import linked, numbered, weights
from echobench.analysis.resampling import medians as drawn_medians
from echobench.analysis.statistics import (
    BOOTSTRAP_SEED,
    FEWEST_PAIRS,
    FEWEST_PROCESSES,
    Estimate,
    Floats,
    clustered,
    observed,
    widened_tail,
)
from echobench.store.rules import OLD_RULE, unusual
from echobench.trial.cell import Cell
from echobench.trial.declared import Shortfall, shortfall

TIMES = {TIME_TO_TARGET: " to the target", SECONDS_PER_UPDATE: " of an update"}
"""The times of a cell that have an interval of processes, and what they are called."""
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
    "device", "threads", "smt", "side_by_side", "recipe", "source", "task_source", "bound",
    "test_set", "environment",
)  # fmt: skip # one line reads better
"""Fields in which the cells of a variant are equal."""
COURSE = ("compile_s", "seconds_per_update")
"""Fields of the record that make a `Course`."""
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


def footnotes(records: Records, clock: str = "train") -> list[str]:
    """Return notes on each variant of a task that several backends or engines learnt."""
    flat = frame(records)
    found = {name: _whole(cells) for name, cells in variants(flat).items()}
    firsts = {name: who_is_first(cells) for name, cells in found.items()}
    lines = [f"{name}, compiling counted: {first}" for name, first in firsts.items() if first]
    agree = {name: agreement(cells) for name, cells in found.items()}
    lines += [f"{name}: {text}" for name, text in agree.items() if text]
    several = [name for name, cells in found.items() if sum(map(trained, cells.values())) > 1]
    few = [name for name in several if not firsts[name] and not agree[name]]
    if few:
        lines.append(
            f"{', '.join(few)}: too few trials to say who is first, or whether updates to target "
            f"differ; {FEWEST_PAIRS} seeds can say it of two cells, a few more of several"
        )
    return [*lines, *of_times(flat, clock)]


def of_times(records: Records, clock: str = "train") -> list[str]:
    """Return notes on the times of cells: which have no interval, which leave out first trials."""
    flat = frame(records)
    return [*_without_interval(flat, clock), *places.remarks(flat)]


def _without_interval(flat: pd.DataFrame, clock: str) -> list[str]:
    """Return a note on the cells whose times have no interval, since few processes made many."""
    found: dict[tuple[int, int, str], set[str]] = defaultdict(set)
    for (cell, _), trials in flat[flat.counts].groupby(["cell", "machine"], observed=True):
        there = [metric for metric in TIMES if trials[metric].notna().any()]
        few = [too_few_processes(trials, metric, clock) for metric in there]
        for metric, one in zip(there, few, strict=True):
            if one is not None:
                words = TIMES[metric] if len({*few}) > 1 else ""
                found[(*one, words)].add(str(cell))
    return [
        f"{listed(sorted(names))}: times{words} of {number} process{'' if number == 1 else 'es'} "
        f"have no interval, which takes {takes}"
        for (number, takes, words), names in sorted(found.items())
    ]


def too_few_processes(
    trials: pd.DataFrame, metric: str = TIME_TO_TARGET, clock: str = "train"
) -> tuple[int, int] | None:
    """Return how many processes made a cell's times, and how many an interval takes.

    None where its times have one, where it has none, or where there are too few trials. Where one
    trial of each process has the times (the first, with its start; the later of two where first
    trials are set apart), it takes as many as of trials that stand alone. Trials count that are
    observations of the median: no failure without a time, and no miss before it.
    """
    if not shares_processes(trials) or len(trials) < FEWEST_PAIRS:
        return None
    timed = trials[has(trials, metric, clock)]
    taken, spent = measured(timed, metric, clock)
    processes = numbered(timed.process.astype(str))[observed(taken, spent)]
    number = len(np.unique(processes))
    takes = FEWEST_PROCESSES if clustered(processes) else FEWEST_PAIRS
    return (number, takes) if 0 < number < takes else None


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
    judged = [(a, b, judge(pairs, contests=len(found))) for a, b, pairs in found]
    apart = [
        f"{a if one.advantage is one.ratio else b} takes {one.times} fewer than "
        f"{b if one.advantage is one.ratio else a} {one.advantage.interval}"
        for a, b, one in judged
        if one.has_winner
    ]
    if apart:
        more = f"; {len(apart) - MOST} more differ" if len(apart) > MOST else ""
        return f"updates to target differ: {'; '.join(apart[:MOST])}{more}"
    known = [one.ratio for _, _, one in judged if one.ratio.low is not None]
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
        for name, value in {**unusual(cell), **_test_set(cell)}.items():
            if name not in shown and (name not in CERTIFIED or cell in certified):
                found[PLAIN.get(value, value)].append(str(cell))
    return [
        f"{'all cells' if len(names) == len(cells) else listed(sorted(set(names)))}: {condition}"
        for condition, names in sorted(found.items())
    ]


def _test_set(cell: Cell) -> dict[str, str]:
    """Return what a certificate of a whole test set says, which has no bound."""
    if not cell.test_set:
        return {}
    return {"test_set": f"certificates say: {cell.certificate}, and nothing of others"}


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
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

    A number of updates is given as far as it is known; beyond what was run, that is said.
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

    Where the first trials of some cell are set apart, each has the updates of later ones alone.
    Runs (seeds) are resampled, those of all cells together, and each resample has its
    `break_even`. Where a process has made several runs, processes are resampled, then runs in them,
    and there are `FEWEST_PROCESSES` at least. From `start` on the named cells are first in more
    resamples than an interval leaves out at one end.
    """
    later = any(places.set_apart(flat).any() for flat in cells.values())
    flats = {name: there for name, flat in cells.items() if len(there := _measured(flat, later))}
    fewest_trials = min((int(f.seconds_per_update.count()) for f in flats.values()), default=0)
    if len(flats) < 2 or fewest_trials < FEWEST_PAIRS:
        return []
    runs = sorted(set().union(*(flat.index for flat in flats.values())))
    whole = [flat.reindex(runs) for flat in flats.values()]
    processes = linked(*(flat.process.fillna("").tolist() for flat in whole))
    number = len(np.unique(processes))
    if clustered(processes) and number < FEWEST_PROCESSES:
        return []
    drawn = weights(processes, DRAWS, np.random.default_rng(BOOTSTRAP_SEED))
    medians = np.stack(
        [[drawn_medians(flat[name], drawn) for name in COURSE] for flat in whole]
    ).transpose(2, 0, 1)
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
    tail = widened_tail(min(fewest_trials, number))
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


def _measured(flat: pd.DataFrame, later: bool) -> pd.DataFrame:
    """Return the compile time and the time of an update of each run of a cell, and its process.

    Runs after the first of a process have no compile time; all others have both times, but those of
    `later` updates alone, where the first ones of some cell are set apart.
    """
    timed = flat.seconds_per_update.notna() & (flat.compile_s.notna() | (flat.place > 0))
    there = flat[[*RUN, "process"]].astype({"machine": str, "again": str, "process": str})
    update = flat.seconds_per_update.where((flat.place > 0) | (not later))
    there = there.assign(compile_s=values(flat, "compile_s"), seconds_per_update=update)[timed]
    return there.drop_duplicates([*RUN], keep="last").set_index([*RUN])


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
    compile_s, seconds_per_update = (values(flat, name).median() for name in COURSE)
    if pd.isna(compile_s) or pd.isna(seconds_per_update):
        return None
    return Course(name, compile_s, seconds_per_update)
