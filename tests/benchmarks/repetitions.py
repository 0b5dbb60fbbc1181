"""How many seeds a process should train: from measured variances and costs.

`python -m tests.benchmarks.repetitions --results FOLDER` reads records whose processes have trained
several seeds each, and prints the standard deviation of logarithms between and within processes, of
the time of an update of each cell and of the paired times to target of each two cells; what a
process' start and a trial cost; and the number of seeds a process for which the interval is
narrowest in a given time. With variances within and between processes and the costs of a trial
and of a start it is sqrt(start / trial * within / between) (Kalibera and Jones, "Rigorous
benchmarking in reasonable time", 2013). A second table compares the first trials of processes with
the later ones.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from echobench.analysis import frame, places
from echobench.analysis.footnotes import variants
from echobench.analysis.pairs import pair
from echobench.analysis.resampling import Integers, numbered
from echobench.analysis.statistics import logarithms
from echobench.store.folder import Store
from echobench.trial.record import Record, latest

TRIAL = ("first_update_s", "train_s", "eval_s", "sustain_s")
"""Phases of each trial; the others are its process' start, but for what later trials have too."""


class Spread(NamedTuple):
    """Variances of one-way random effects, from an analysis of variance.

    Attributes:
        between, within: processes; that between them is 0 where the estimate is negative.
        processes, trials: of which it is.
    """

    between: float
    within: float
    processes: int
    trials: int


class Costs(NamedTuple):
    """Seconds that a process takes before its first trial, and that each trial takes."""

    start_s: float
    trial_s: float


def spread(values: ArrayLike, processes: Integers) -> Spread | None:
    """Return the variances of values between and within processes of unequal sizes.

    None unless there are two processes, one of them with two trials (Searle, Casella and
    McCulloch, "Variance Components", 1992, 3.6).
    """
    values = np.asarray(values, float)
    numbers, of, sizes = np.unique(processes, return_inverse=True, return_counts=True)
    k, n = len(numbers), len(values)
    if k < 2 or n == k:
        return None
    means = np.bincount(of, values) / sizes
    within = float(((values - means[of]) ** 2).sum() / (n - k))
    among = float((sizes * (means - values.mean()) ** 2).sum() / (k - 1))
    usual_size = (n - float((sizes**2).sum()) / n) / (k - 1)
    return Spread(max(0.0, (among - within) / usual_size), within, k, n)


def pooled(spreads: Iterable[Spread]) -> Spread:
    """Return the mean variances of several cells, by their degrees of freedom."""
    found = [*spreads]
    between = np.average([s.between for s in found], weights=[s.processes - 1 for s in found])
    within = np.average([s.within for s in found], weights=[s.trials - s.processes for s in found])
    counts = (sum(s.processes for s in found), sum(s.trials for s in found))
    return Spread(float(between), float(within), *counts)


def optimum(found: Spread, costs: Costs) -> float:
    """Return how many seeds a process trains best; infinity where processes do not differ."""
    if found.between == 0:
        return np.inf
    return float(np.sqrt(costs.start_s / costs.trial_s * found.within / found.between))


def costs_of(records: Iterable[Record]) -> Costs | None:
    """Return the costs of a cell's processes and trials, in the median; None without a first.

    What is neither a phase of training nor of evaluation (`other`, import, build, compile) is the
    start's in the first trial of a process, and the trial's in later ones.
    """
    firsts: list[float] = []
    trials: list[float] = []
    rest: list[float] = []
    for record in records:
        if record.status not in ("reached", "missed") or record.wall_s is None:
            continue
        own = sum(getattr(record, name) or 0.0 for name in TRIAL)
        trials.append(own)
        is_first = record.provenance.process is None or record.provenance.process.place == 0
        (firsts if is_first else rest).append(record.wall_s - own)
    if not firsts:
        return None
    each = float(np.median(rest)) if rest else 0.0
    return Costs(float(np.median(firsts)) - each, float(np.median(trials)) + each)


class Line(NamedTuple):
    """A line of the table: what varies, of what, how much, and what it costs."""

    metric: str
    cell: str
    spread: Spread
    costs: Costs


def lines(records: list[Record]) -> Iterator[Line]:
    """Yield a line for each cell's time of an update, and for each two cells' times to target."""
    flat = frame.frame(records)
    by_key = {record.key: record for record in records}
    for name, cells in variants(flat).items():
        whole = {label: pd.concat(groups) for label, groups in cells.items()}
        costs = {
            label: costs_of(by_key[key] for key in trials.key) for label, trials in whole.items()
        }
        for label, trials in whole.items():
            timed = trials[trials.seconds_per_update > 0]
            logs = np.log(timed.seconds_per_update.to_numpy(float))
            found = spread(logs, numbered(timed.process.astype(str)))
            if found is not None and costs[label] is not None:
                yield Line("update", f"{name} {label}", found, cast(Costs, costs[label]))
        for a, b in itertools.combinations(whole, 2):
            pairs = pair(whole[a], whole[b])
            if pairs.processes is None or costs[a] is None or costs[b] is None:
                continue
            found = spread(logarithms(pairs.ratios), pairs.processes)
            if found is not None:
                both = zip(cast(Costs, costs[a]), cast(Costs, costs[b]), strict=True)
                yield Line("paired time", f"{name} {a} / {b}", found, Costs(*map(sum, both)))


def main() -> int:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--results", type=Path, required=True, metavar="FOLDER")
    folder = arguments.parse_args().results
    records = latest(Store.read(folder))
    found = [*lines(records)]
    if not found:
        print("no process of these records has trained several seeds", file=sys.stderr)
        return 1
    print("| | cell | processes | trials | sd between | sd within | start | trial | optimum |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for line in found:
        print(_row(line))
    for metric in dict.fromkeys(line.metric for line in found):
        of = [line for line in found if line.metric == metric]
        costs = Costs(*np.median([line.costs for line in of], axis=0).tolist())
        print(_row(Line(metric, "pooled", pooled(line.spread for line in of), costs)))
    print("\n| cell | time of an update, first trials over later ones |")
    print("| --- | --- |")
    for one in sorted(places.first_over_later(frame.frame(records)), key=str):
        print(f"| {one.cell} | {one.ratio.value:.3f} {one.ratio.interval} |")
    return 0


def _row(line: Line) -> str:
    spread_, costs = line.spread, line.costs
    cells = (
        line.metric,
        line.cell,
        f"{spread_.processes}",
        f"{spread_.trials}",
        f"{spread_.between**0.5:.1%}",
        f"{spread_.within**0.5:.1%}",
        f"{costs.start_s:.2f} s",
        f"{costs.trial_s:.2f} s",
        f"{optimum(spread_, costs):.1f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
