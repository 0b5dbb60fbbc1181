"""The sentences below the table: who is faster and by how much, or that nothing is shown."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from echobench.analysis.footnotes import TIMES, too_few_processes
from echobench.analysis.pairs import (
    EACH,
    MARGIN,
    SECONDS_PER_UPDATE,
    TIME_TO_TARGET,
    Decision,
    judge,
    pair,
)
from echobench.analysis.table import TIME, Group, Row
from echobench.present.further import Further, further
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

    Where there are too few pairs it names the command that makes enough in the folder `results`,
    but none of replicates, since the command trains one seed at a time.
    Several intervals have a line that says how often they hold.
    """
    machines, bounds, jobs = (
        {row.place[name] for group in groups for row in group.rows}
        for name in ("machine", "bound", "side_by_side")
    )
    sentences: list[str] = []
    alone: dict[str, list[str]] = {}
    for group in groups:
        place = group.rows[0].place
        tasks = list(dict.fromkeys(row.place["task"] for row in group.rows))
        parts = [place["division"]]
        parts += [f"bound {place['bound']}"] if len(bounds) > 1 else []
        parts += [f"{place['side_by_side']} side by side"] if len(jobs) > 1 else []
        parts += [place["machine"]] if len(machines) > 1 else []
        conditions = f"({', '.join(parts)})"
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
    lone = (row for group in groups if len(group.order) < 2 for row in group.rows)
    return [*sentences, *(text for row in lone if (text := _for_an_interval(row, clock, results)))]


def _sentence(group: Group, where: str, clock: str, results: Path | None) -> str:
    names = dict(zip(map(id, group.rows), _names(group.rows), strict=True))
    rows = group.order[:2]
    a, b = (names[id(row)] for row in rows)
    metric = TIME_TO_TARGET if group.by == TIME else SECONDS_PER_UPDATE
    verdict = judge(pair(rows[0].trials, rows[1].trials, metric, clock))
    if verdict.decision is Decision.FEW:
        few = f"{a} or {b} {where}: {verdict.how_many}, too few to say"
        if any(row.cell.replicates for row in rows):
            return few
        asked = further(rows, metric, clock)
        more = "" if asked.forks is None else f" {_in_words(asked)}"
        command = _command(rows, asked, results)
        return f"{few}; enough with{more}: {command}"
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


def _in_words(asked: Further) -> str:
    """Return in words which trials add processes, and why no others do."""
    count = asked.new
    if asked.forks is not None and asked.forks < asked.seeds:
        new = f"{count} more seeds, two in each process"
    elif count == 1:
        new = "1 more seed in a process of its own"
    else:
        new = f"{count} more seeds, each in a process of its own"
    return f"{new} (trials that are done stay in theirs)"


def _for_an_interval(row: Row, clock: str, results: Path | None) -> str:
    """Return what gives a row that is compared with none an interval; empty if it has one."""
    counted = row.trials[row.trials.counts]
    lacking = [name for name in TIMES if too_few_processes(counted, name, clock) is not None]
    if row.cell.replicates or not lacking:
        return ""
    asked = max((further([row], name, clock) for name in lacking), key=lambda one: one.seeds)
    command = _command([row], asked, results)
    return f"{row.cell}: an interval of its times with {_in_words(asked)}: {command}"


def _command(rows: Sequence[Row], asked: Further, results: Path | None) -> str:
    """Return the command that runs the seeds that are asked for, of some rows."""
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
        "--jobs": [count for count in every("side_by_side")[:1] if count != "1"],
        "--devices": [count for count in every("devices")[:1] if count != "1"],
        "--device": [device for device in every("device")[:1] if device != "cpu"],
        "--max-epochs": [] if cells[0].max_epochs == usual else every("max_epochs")[:1],
        "--bound": [] if cells[0].bound in {0.0, default} else every("bound")[:1],
        "--env": [f"{name}={value}" for name, value in cells[0].environment],
        "--seeds": [str(asked.seeds)],
        "--forks": [] if asked.forks is None else [str(asked.forks)],
        "--plugin": shlex.split("".join(dict.fromkeys(options)))[1::2],
        "--results": [] if results is None else [str(results)],
    }.items():
        words += [word for value in dict.fromkeys(values) for word in (option, value)]
    words += [f"--{name}" for name in ("quick", "cache", "smt") if getattr(cells[0], name)]
    return shlex.join(words)
