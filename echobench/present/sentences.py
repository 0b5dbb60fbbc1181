"""The sentences below the table: who is faster and by how much, or that nothing is shown."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from echobench.analysis.pairs import (
    EACH,
    MARGIN,
    SECONDS_PER_UPDATE,
    TIME_TO_TARGET,
    Decision,
    judge,
    pair,
)
from echobench.analysis.statistics import FEWEST_PAIRS
from echobench.analysis.table import TIME, Group, Row
from echobench.trial.trial import BOUND, BUDGET, QUICK_BOUND

CLOCK_WORDS = {
    "train": "", "compile": ", compiling counted", "wall": ", from the process's start on",
}  # fmt: skip # one line reads better
INTERVAL = re.compile(r"\[[\d.]+, [\d.]+\]")
"""An interval as a sentence prints it."""
NAMED = {
    "task": "{}", "backend": "{}", "engine": "{}", "device": "on {}",
    "devices": "over {} devices", "threads": "on {} threads", "smt": "smt {}",
    "units": "of {} units",
}  # fmt: skip # a few lines read better
"""What a row is called by, where rows of its group differ in it."""


def verdicts(
    groups: Sequence[Group], clock: str = "train", results: Path | None = None
) -> list[str]:
    """Return a sentence for each group: the verdict on its best row and the next.

    Where there are too few pairs it names the command that makes enough in the folder `results`.
    Several intervals have a line that says how often they hold.
    """
    machines, bounds = (
        {row.place[name] for group in groups for row in group.rows} for name in ("machine", "bound")
    )
    sentences: list[str] = []
    alone: dict[str, list[str]] = {}
    for group in groups:
        place = group.rows[0].place
        tasks = list(dict.fromkeys(row.place["task"] for row in group.rows))
        told = [place["division"]]
        told += [f"bound {place['bound']}"] if len(bounds) > 1 else []
        told += [place["machine"]] if len(machines) > 1 else []
        conditions = f"({', '.join(told)})"
        if len(group.order) > 1:
            where = f"on {tasks[0]} {conditions}" if len(tasks) == 1 else conditions
            sentences.append(_sentence(group, where, clock, results))
        else:
            alone.setdefault(conditions, []).extend(tasks)
    if sum(INTERVAL.search(sentence) is not None for sentence in sentences) > 1:
        sentences.append(EACH)
    sentences += [
        f"nothing to compare with on {', '.join(dict.fromkeys(tasks))} {conditions}"
        for conditions, tasks in alone.items()
    ]
    return sentences


def _sentence(group: Group, where: str, clock: str, results: Path | None) -> str:
    names = dict(zip(map(id, group.rows), _names(group.rows), strict=True))
    rows = group.order[:2]
    a, b = (names[id(row)] for row in rows)
    metric = TIME_TO_TARGET if group.by == TIME else SECONDS_PER_UPDATE
    verdict = judge(pair(rows[0].trials, rows[1].trials, metric, clock))
    n = verdict.ratio.n
    if verdict.decision is Decision.FEW:
        command = _command(rows, verdict.silent + FEWEST_PAIRS, results)
        return (
            f"{a} or {b} {where}: {n} pair{'' if n == 1 else 's'}, too few to say; enough with: "
            f"{command}"
        )
    if verdict.decision is Decision.ALIKE:
        return f"{a} and {b} differ by less than {MARGIN:.0%} {where} {verdict.ratio.interval}"
    if not verdict.has_winner:
        return f"no difference is shown between {a} and {b} {where} {verdict.ratio.interval}"
    if verdict.decision is Decision.SECOND:
        a, b = b, a
    more = f"{verdict.times} {'sooner' if group.by == TIME else 'faster'} than {b}"
    interval = verdict.advantage.interval
    if group.by == TIME:
        return f"{a} reached certified 100% {where} {more}{CLOCK_WORDS[clock]} {interval}"
    missed = not any(row.values["success"] for row in group.rows)
    none = "; none reached the target" if missed else ""
    return f"{a} made an update {where} {more} {interval}{none}"


def _names(rows: Sequence[Row]) -> list[str]:
    """Return what each row is called: its backend, and what else tells it apart."""
    differing = [
        name for name in NAMED if name == "backend" or len({row.place[name] for row in rows}) > 1
    ]
    names = [" ".join(NAMED[name].format(row.place[name]) for name in differing) for row in rows]
    counts, seen = Counter(names), Counter[str]()
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        if counts[name] > 1:  # other versions, sources or settings
            seen[name] += 1
            names[index] = f"{name} ({row.first_run or seen[name]})"
    return names


def _command(rows: Sequence[Row], seeds: int, results: Path | None) -> str:
    cells = [row.cell for row in rows]

    def every(name: str) -> list[str]:
        return list(dict.fromkeys(str(getattr(cell, name)) for cell in cells))

    options = itertools.chain.from_iterable(row.trials.plugin.astype(str) for row in rows)
    usual = BUDGET * cells[0].recipe.epochs
    default = QUICK_BOUND if cells[0].quick else BOUND
    words = ["echobench", "run"]
    for option, values in {
        "--task": every("label"),
        **{f"--{name}": every(name) for name in ("backend", "engine", "division")},
        "--threads": every("threads")[:1],
        "--devices": [count for count in every("devices")[:1] if count != "1"],
        "--device": [device for device in every("device")[:1] if device != "cpu"],
        "--max-epochs": [] if cells[0].max_epochs == usual else every("max_epochs")[:1],
        "--bound": [] if cells[0].bound in {0.0, default} else every("bound")[:1],
        "--env": [f"{name}={value}" for name, value in cells[0].environment],
        "--seeds": [str(seeds)],
        "--plugin": shlex.split("".join(dict.fromkeys(options)))[1::2],
        "--results": [] if results is None else [str(results)],
    }.items():
        words += [word for value in dict.fromkeys(values) for word in (option, value)]
    words += [f"--{name}" for name in ("quick", "cache", "smt") if getattr(cells[0], name)]
    return shlex.join(words)
