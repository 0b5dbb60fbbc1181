"""`--seeds auto`: as many seeds as it takes to tell cells apart, by a rule fixed beforehand.

`pairs.settled` has the rule; this module plans the trials up to each look. A look adds processes of
`SEEDS_A_PROCESS` seeds to each cell.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import pandas as pd

from echobench.analysis.frame import frame
from echobench.analysis.pairs import (
    LEAST_SPREAD,
    LOOKS,
    MARGIN,
    RIVALS,
    TIME_TO_TARGET,
    Decision,
    pair,
    settled,
)
from echobench.analysis.statistics import ERROR, clustered
from echobench.errors import UsageError
from echobench.harness.plan import Selection, plan
from echobench.harness.sharing import SEEDS_A_PROCESS, Dealing
from echobench.plugin.manager import Plugins
from echobench.trial.cell import Cell
from echobench.trial.record import Record
from echobench.trial.trial import Trial


class Contest(NamedTuple):
    """Two cells of one task and division on one class of machine, at a look.

    Attributes:
        task: the task and the division; the machine too, where records are of several.
        first, second: the cells, as backend and engine.
        decision: None while the rule needs more seeds.
        pairs: how many pairs of their trials say something.
        processes: how many processes of each made them; None if each pair has its own.
    """

    task: str
    first: str
    second: str
    decision: Decision | None
    pairs: int
    processes: int | None = None

    def __str__(self) -> str:
        """Return the contest in words."""
        words = {
            Decision.FIRST: f"{self.first} is faster than {self.second}",
            Decision.SECOND: f"{self.second} is faster than {self.first}",
            Decision.ALIKE: f"{self.first} and {self.second} are within {MARGIN:.0%}",
            None: f"{self.first}, {self.second}: open",
        }
        of = "" if self.processes is None else f" of {self.processes} processes"
        return f"{self.task}: {words[self.decision]} ({self.pairs} pairs{of})"


def rule(contests: int) -> dict[str, Any]:
    """Return the rule as each record keeps it, for so many pairs of cells."""
    return {
        "rule": "auto: until each pair of cells has a winner or is alike, or the budget is spent",
        "contests": contests,
        "looks": [processes * SEEDS_A_PROCESS for processes in LOOKS],
        "processes": [*LOOKS],
        "metric": TIME_TO_TARGET,
        "error": ERROR,
        "margin": MARGIN,
        "test": "of each process the median logarithm of the paired ratios; Student's interval of "
        f"their mean, for a winner with a standard deviation of {LEAST_SPREAD:g} at least, and "
        "from as many processes on as Wilcoxon's exact signed-rank test takes, its interval; "
        "the error divided by the numbers of looks and of pairs of cells",
    }


def dealing(selection: Selection, look: int) -> Dealing:
    """Return how the seeds up to a look are dealt: to each process as many."""
    processes = LOOKS[look]
    return Dealing(selection.first_seed, processes * SEEDS_A_PROCESS, processes)


def planned(selection: Selection, plugins: Plugins) -> int:
    """Return how many pairs of cells a plan has to tell apart.

    Raises:
        UsageError: none; or the number of processes is chosen too.
    """
    if selection.forks is not None:
        raise UsageError(
            "--seeds auto: expected no --forks, since the rule says how many processes there are; "
            f"received --forks {selection.forks}"
        )
    cells: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for trial in plan(selection, plugins):
        cells[trial.label, trial.division].add((trial.backend, trial.engine))
    number = sum(math.comb(len(rivals), 2) for rivals in cells.values())
    if not number:
        raise UsageError(
            "--seeds auto: expected two backends or engines of a task, to compare; received "
            "one; name a number of seeds"
        )
    return number


def rounds(
    selection: Selection, plugins: Plugins, records: Sequence[Record], say: Callable[[str], None]
) -> Iterator[list[Trial]]:
    """Yield the plan up to each look, until every contest is decided.

    Args:
        selection: what the user asked for; its number of seeds is replaced.
        plugins: where tasks and backends come from.
        records: of the trials so far; the caller appends to them between looks.
        say: receives a line for each contest after each look.

    Raises:
        UsageError: no task has two cells.
    """
    number = planned(selection, plugins)
    for look in rule(number)["looks"]:
        yield plan(selection.model_copy(update={"seeds": look}), plugins)
        results = contests(records, number)
        for contest in results:
            say(str(contest))
        if all(contest.decision is not None for contest in results):
            return


def contests(records: Iterable[Record], planned: int = 1) -> list[Contest]:
    """Return each two cells under the same conditions that have a pair of trials.

    They are judged as so many as were `planned`, or as there are if these are more: of several
    classes of machine, each has its own.
    """
    flat = frame(records)
    conditions: dict[tuple[str, Cell], dict[str, list[pd.DataFrame]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for names, trials in flat.groupby(["cell", "machine"], observed=True):
        cell, machine = cast("tuple[Cell, str]", names)
        shared = cell.without(*RIVALS)
        name = f"{shared} on {machine}" if flat.machine.nunique() > 1 else str(shared)
        conditions[name, shared][f"{cell.backend} {cell.engine}"].append(trials)
    found = [
        (name, a, b, pairs)
        for (name, _), cells in sorted(conditions.items(), key=lambda item: item[0][0])
        for (a, ours), (b, theirs) in itertools.combinations(sorted(cells.items()), 2)
        if len((pairs := pair(pd.concat(ours), pd.concat(theirs))).ratios)
    ]
    number = max(planned, len(found))
    return [
        Contest(
            name,
            a,
            b,
            settled(pairs, number),
            len(pairs.ratios),
            len(pairs.by_process) if clustered(pairs.processes) else None,
        )
        for name, a, b, pairs in found
    ]
