"""`--seeds auto`: as many seeds as it takes to tell cells apart, by a rule declared beforehand.

To look at the data again and again, and to stop when they please, finds winners where
there are none. So the looks are fixed before the first trial, and each spends an equal
part of the 5% that the whole run may err (Bonferroni; Jennison and Turnbull 1999 have
sharper ways). At a look a pair of cells is tested by the exact sign test of its paired
ratios, which needs no assumption about their distribution.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from echobench.analysis.comparison import ratios
from echobench.errors import UsageError
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.record import Record
from echobench.trial.trial import Trial

LOOKS = (8, 12, 18, 27, 40)
"""Seeds after which the data are looked at. Eight pairs are the fewest that can convince: all on
one side come by chance 2 / 2^8 = 0.8% of the time, and a look may err 1%."""
ERROR = 0.05
"""Chance that a run names a winner of two cells that do not differ."""
MARGIN = 0.05
"""Cells whose ratio surely lies within 1 +- this are alike."""
METRIC = "time_to_target_s"


class Standing(NamedTuple):
    """Two cells of one task so far.

    Attributes:
        task: the task and the division.
        a, b: the cells: backend and engine.
        verdict: `a` or `b` where it is the winner, `alike`, or None while it is open.
        pairs: trials of each that say something.
    """

    task: str
    a: str
    b: str
    verdict: str | None
    pairs: int

    def __str__(self) -> str:
        """Return it in words."""
        names = {"a": f"{self.a} is faster than {self.b}", "b": f"{self.b} is faster than {self.a}"}
        alike = f"{self.a} and {self.b} are within {MARGIN:.0%}"
        told = names.get(self.verdict or "", alike if self.verdict else f"{self.a}, {self.b}: open")
        return f"{self.task}: {told} ({self.pairs} pairs)"


def rule() -> dict[str, Any]:
    """Return the rule as each record keeps it."""
    return {
        "rule": "auto: until each pair of cells has a winner or is alike, or the budget is spent",
        "looks": list(LOOKS),
        "metric": METRIC,
        "error": ERROR,
        "margin": MARGIN,
        "test": "exact sign test of paired ratios, the error divided by the number of looks",
    }


def rounds(
    selection: Selection, plugins: Plugins, found: Sequence[Record], say: Callable[[str], None]
) -> Iterator[list[Trial]]:
    """Yield the plan up to each look, until every pair of cells is told apart.

    Args:
        selection: what the user asked for; its number of seeds is replaced.
        plugins: where tasks and backends come from.
        found: records so far; whoever iterates adds to them.
        say: told how the pairs stand after each look.

    Raises:
        UsageError: there are no two cells of one task.
    """
    cells = {(t.label, t.division, t.backend, t.engine) for t in plan(selection, plugins)}
    if len(cells) == len({cell[:2] for cell in cells}):
        raise UsageError(
            "--seeds auto: expected two backends or engines of a task, to be told apart; received "
            "one; name a number of seeds"
        )
    for look in LOOKS:
        yield plan(selection.model_copy(update={"seeds": look}), plugins)
        standing = standings(found)
        for one in standing:
            say(str(one))
        if all(one.verdict is not None for one in standing):
            return


def standings(records: Iterable[Record]) -> list[Standing]:
    """Return how all pairs of cells of each task stand; a cell without a trial has no pair."""
    tasks: dict[str, dict[str, dict[Any, Record]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        cells = tasks[f"{record.task} {record.division}"]
        run = (record.seed, record.trial.repeat, record.machine_class)
        cells[f"{record.backend} {record.engine}"][run] = record
    found = []
    for task, cells in sorted(tasks.items()):
        for (a, ours), (b, theirs) in itertools.combinations(sorted(cells.items()), 2):
            pairs = [(ours[run], theirs[run]) for run in sorted(ours.keys() & theirs.keys())]
            values, *_ = ratios(pairs, METRIC)
            if len(values):
                found.append(Standing(task, a, b, verdict(values), len(values)))
    return found


def verdict(values: ArrayLike) -> str | None:
    """Return who wins at one look, by the ratios b / a of its pairs: see `Standing`."""
    from scipy import stats  # heavy, and not every run's

    error = ERROR / len(LOOKS)
    logs = np.log(np.asarray(values))
    tested = stats.quantile_test(logs, q=0.0, p=0.5)
    if tested.pvalue <= error:
        return "a" if np.median(logs) > 0 else "b"
    # The stubs take the interval for a number.
    interval: Any = tested.confidence_interval(confidence_level=1 - error)
    within = -np.log1p(MARGIN) < interval.low and interval.high < np.log1p(MARGIN)
    return "alike" if within else None
