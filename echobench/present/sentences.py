"""What the table says in plain words: who was sooner, how much, or that nothing is shown."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from echobench.analysis.ranking import TIME, Group
from echobench.analysis.statistics import FEWEST_PAIRS, Estimate, Floats, Pairs, paired, ratio
from echobench.analysis.table import Row, on_clock
from echobench.trial.cell import Cell
from echobench.trial.trial import BUDGET

CLOCKS = {"train": "", "compile": ", compiling counted", "wall": ", from the process's start on"}
NAMED = {
    "task": "{}", "backend": "{}", "engine": "{}", "device": "on {}",
    "devices": "over {} devices", "threads": "on {} threads", "units": "of {} units",
}  # fmt: skip # one line reads better
"""How a row is told apart from others of its group."""


def verdicts(
    groups: Sequence[Group], clock: str = "train", results: Path | None = None
) -> list[str]:
    """Return a sentence for each group: its best row beside the next.

    Both are compared by paired ratios of their trials, pairs being equal in seed and repeat.
    A winner is named only where the interval excludes 1.

    Args:
        groups: of the summary's rows.
        clock: what counts into the time to target.
        results: where the records are, for the command that would make enough pairs.
    """
    machines = {row.place["machine"] for group in groups for row in group.rows}
    said: list[str] = []
    alone: dict[str, list[str]] = {}
    for group in groups:
        tasks, where = _where(group, several_machines=len(machines) > 1)
        if len(group.order) > 1:
            on = f"on {tasks[0]} {where}" if len(tasks) == 1 else where
            said.append(_verdict(group, on, clock, results))
        else:
            alone.setdefault(where, []).extend(tasks)
    said += [
        f"nothing to compare with on {', '.join(dict.fromkeys(tasks))} {where}"
        for where, tasks in alone.items()
    ]
    return said


def _verdict(group: Group, where: str, clock: str, results: Path | None) -> str:
    names = dict(zip(map(id, group.rows), _names(group.rows), strict=True))
    first, second = group.order[:2]
    pairs, common = against(*(measured(row.trials, group.by, clock) for row in (first, second)))
    found = ratio(pairs.values) if len(pairs.values) else Estimate(None, None, None, 0)
    a, b = names[id(first)], names[id(second)]
    if found.low is None or found.high is None:
        seeds = max(FEWEST_PAIRS, common + FEWEST_PAIRS - found.n)
        return (
            f"{a} or {b} {where}: {_counted(found.n)}, too few to say; enough with: "
            f"{_command((first, second), seeds, results)}"
        )
    value, low, high = found.value or 1.0, found.low, found.high
    if not found.excludes(1.0):
        return f"no difference is shown between {a} and {b} {where} [{low:.3g}, {high:.3g}]"
    if value < 1:
        a, b, value, low, high = b, a, 1 / value, 1 / high, 1 / low
    times = f"{'at least ' if 2 * pairs.bounded >= found.n else ''}{value:.3g}x"
    interval = f"[{low:.3g}, {high:.3g}]"
    if group.by == TIME:
        return (
            f"{a} reached certified 100% {where} {times} sooner than {b}{CLOCKS[clock]} {interval}"
        )
    missed = not any(row.values["success"] for row in group.rows)
    none = "; none reached the target" if missed else ""
    return f"{a} made an update {where} {times} faster than {b} {interval}{none}"


def _counted(pairs: int) -> str:
    return "1 pair" if pairs == 1 else f"{pairs} pairs"


def measured(trials: pd.DataFrame, by: str, clock: str) -> pd.DataFrame:
    """Return what each trial took, or had spent when it missed, by seed and repeat.

    Args:
        trials: records of a cell, their fields the columns.
        by: `TIME` or `UPDATE`.
        clock: what counts into the time to target.

    Returns:
        Columns `value` and `spent`, seconds; nan where there is none.
    """
    if by == TIME:
        seconds = on_clock(trials, clock).astype(float)
        value = seconds.where(trials.status == "reached")
        spent = seconds.where(trials.status.isin(["missed", "timeout"]))
    else:
        value = trials.seconds_per_update.astype(float)
        spent = value * float("nan")
    keys = [trials.seed.astype(str), trials.again.astype(str)]
    return pd.DataFrame({"value": value, "spent": spent}).set_index(keys)


def against(first: pd.DataFrame, second: pd.DataFrame) -> tuple[Pairs, int]:
    """Return the ratios of second to first, and how many trials have a partner.

    Args:
        first: what `measured` returns of a cell.
        second: the same of another.
    """
    both = first.add_suffix("_a").join(second.add_suffix("_b"), how="inner")
    columns: list[Floats] = [
        both[name].to_numpy(float) for name in ("value_a", "value_b", "spent_a", "spent_b")
    ]
    return paired(*columns), len(both)


def _where(group: Group, *, several_machines: bool) -> tuple[list[str], str]:
    """Return a group's tasks, and what never differs in it, in brackets."""
    place = group.rows[0].place
    tasks = list(dict.fromkeys(row.place["task"] for row in group.rows))
    return tasks, f"({place['division']}{', ' + place['machine'] if several_machines else ''})"


def _names(rows: Sequence[Row]) -> list[str]:
    """Return what each row is called: its backend, and what else tells it apart."""
    told = [
        name for name in NAMED if name == "backend" or len({row.place[name] for row in rows}) > 1
    ]
    names = [" ".join(NAMED[name].format(row.place[name]) for name in told) for row in rows]
    alike, seen = Counter(names), Counter[str]()
    for place, name in enumerate(names):
        if alike[name] > 1:  # other versions, sources or settings
            seen[name] += 1
            names[place] = f"{name} ({seen[name]})"
    return names


def _command(rows: Sequence[Row], seeds: int, results: Path | None) -> str:
    """Return the command that gives rows enough pairs."""
    cells = [row.cell for row in rows]

    def every(name: str) -> list[str]:
        return list(dict.fromkeys(str(getattr(cell, name)) for cell in cells))

    words = ["echobench", "run"]
    for option, values in {
        "--task": every("label"),
        **{f"--{name}": every(name) for name in ("backend", "engine", "division")},
        "--threads": every("threads")[:1],
        "--devices": [count for count in every("devices")[:1] if count != "1"],
        "--device": [device for device in every("device")[:1] if device != "cpu"],
        "--max-epochs": _budget(cells[0]),
        "--seeds": [str(seeds)],
        "--results": [] if results is None else [str(results)],
    }.items():
        words += [word for value in values for word in (option, value)]
    words += [f"--{name}" for name in ("quick", "cache") if getattr(cells[0], name)]
    return shlex.join(words)


def _budget(cell: Cell) -> list[str]:
    """Return the epochs that a trial may take, where they are not the usual ones."""
    usual = BUDGET * cell.recipe.epochs
    return [] if cell.max_epochs == usual else [str(cell.max_epochs)]
