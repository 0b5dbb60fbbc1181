"""The time of an update by size: where it starts to grow, and where lines cross."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from echobench.analysis.frame import frame
from echobench.analysis.pairs import MARGIN, SECONDS_PER_UPDATE, Decision, Pairs, judge, values
from echobench.analysis.resampling import linked
from echobench.analysis.statistics import FEWEST_PAIRS
from echobench.trial.record import Record

STEEP = 0.5
"""Slope on double logarithmic scales above which the time grows with the size: 0 is no growth,
1 is as fast as the size."""
Curve = Mapping[int, float]
"""Median seconds of an update, by size."""


class Run(NamedTuple):
    """A trial's seconds of an update, and the process that trained it: empty for one of its own."""

    seconds: float
    process: str = ""


Runs = Mapping[tuple[int, int], Run]
"""The runs of a size, by seed and repeat."""
Line = Mapping[int, Runs]
"""The runs of a line, by size."""
Axes = Mapping[str, Mapping[str, Line]]
"""Lines by axis and name."""


class Crossing(NamedTuple):
    """Which line becomes the faster one, and between which sizes."""

    faster: str
    slower: str
    above: int
    below: int


def measured(measurements: Iterable[tuple[Mapping[str, int], Record]]) -> Axes:
    """Return the seconds of an update by axis, line (`line_names`), size and run.

    Each record comes with its sizes by axis. Those without a time of an update, or that failed
    the parity gate, are left out, and so are first trials that are set apart.
    """
    measurements = list(measurements)
    records = [record for _, record in measurements]
    flat = frame(records)
    runs_of = zip(values(flat, SECONDS_PER_UPDATE), flat.process, strict=True)
    found: dict[str, dict[str, dict[int, dict[tuple[int, int], Run]]]] = {}
    for (sizes, record), name, run in zip(
        measurements, line_names(records), map(Run._make, runs_of), strict=True
    ):
        if math.isnan(run.seconds):
            continue
        for axis, size in sizes.items():
            runs = found.setdefault(axis, {}).setdefault(name, {}).setdefault(size, {})
            runs[record.seed, record.trial.repeat] = run
    return {
        axis: {name: dict(sorted(by_size.items())) for name, by_size in sorted(lines.items())}
        for axis, lines in found.items()
    }


def curve(line: Line) -> dict[int, float]:
    """Return the median seconds of an update of a line, by size."""
    return {size: _middle(line[size]) for size in line}


def curves(axes: Axes) -> dict[str, dict[str, dict[int, float]]]:
    """Return the `curve` of each line, by axis and name."""
    return {
        axis: {name: curve(line) for name, line in lines.items()} for axis, lines in axes.items()
    }


def line_names(records: list[Record]) -> list[str]:
    """Return the name of each record's line: its backend, and in what else the lines differ."""
    parts = [
        (
            record.engine,
            f"{record.trial.threads} threads",
            f"{record.trial.side_by_side} side by side",
            record.machine_class,
        )
        for record in records
    ]
    seen: dict[str, list[set[str]]] = defaultdict(lambda: [set() for _ in parts[0]])
    for record, own in zip(records, parts, strict=True):
        for kinds, part in zip(seen[record.backend], own, strict=True):
            kinds.add(part)
    return [
        " ".join([r.backend, *(p for p, k in zip(own, seen[r.backend], strict=True) if len(k) > 1)])
        for r, own in zip(records, parts, strict=True)
    ]


def crossings(lines: Mapping[str, Line]) -> list[Crossing]:
    """Return where one line overtakes another, from the smallest size on.

    Compared are the sizes that both have. At a size where they differ by less than `MARGIN`, or
    where the interval of their pairs does not exclude 1, neither is faster, so that a crossing
    may lie between sizes that are not neighbours.
    """
    found = []
    for a, b in combinations(lines, 2):
        sizes = sorted(lines[a].keys() & lines[b].keys())
        leads = [
            (size, faster)
            for size in sizes
            if (faster := _faster(a, b, lines[a][size], lines[b][size]))
        ]
        for (above, before), (below, after) in pairwise(leads):
            if before != after:
                found.append(Crossing(after, before, above, below))
    return sorted(found, key=lambda c: (c.above, c.below, c.faster, c.slower))


def _faster(a: str, b: str, ours: Runs, theirs: Runs) -> str | None:
    """Return which of two lines is faster at a size; by its medians where there are few pairs."""
    first, second = _middle(ours), _middle(theirs)
    if min(first, second) >= (1 - MARGIN) * max(first, second):
        return None
    both = sorted(ours.keys() & theirs.keys())
    if len(both) >= FEWEST_PAIRS:
        ratios = np.array([theirs[run].seconds / ours[run].seconds for run in both])
        processes = linked(*([side[run].process for run in both] for side in (ours, theirs)))
        verdict = judge(Pairs(ratios, processes=processes))
        return {Decision.FIRST: a, Decision.SECOND: b}.get(verdict.decision)
    return a if first < second else b


def _middle(runs: Runs) -> float:
    return median(run.seconds for run in runs.values())


def bend(line: Curve) -> int | None:
    """Return the size from which on every slope between neighbours exceeds `STEEP`, or None."""
    sizes, start = sorted(line), None
    for smaller, larger in reversed(list(pairwise(sizes))):
        if math.log(line[larger] / line[smaller]) <= STEEP * math.log(larger / smaller):
            break
        start = smaller
    return start


def remarks(axes: Axes) -> list[str]:
    """Return a sentence for each bend and crossing, axis by axis, and how sure they are."""
    sentences = []
    for axis, lines in axes.items():
        drawn = {name: curve(line) for name, line in lines.items()}
        bends = [(name, bend(line), line) for name, line in drawn.items() if len(line) > 1]
        if bends:
            each = (
                f"{name} from {at:,} on" if at is not None else f"{name} not up to {max(line):,}"
                for name, at, line in bends
            )
            sentences.append(f"{axis}: the time of an update grows: {', '.join(each)}")
        sentences += [
            f"{axis}: {c.faster} overtakes {c.slower} between {c.above:,} and {c.below:,}"
            for c in crossings(lines)
        ]
    counts = [
        len(runs) for lines in axes.values() for line in lines.values() for runs in line.values()
    ]
    if sentences and min(counts) < FEWEST_PAIRS:
        trials = "one trial" if min(counts) == 1 else f"{min(counts)} trials"
        sentences.append(
            f"not sure: medians of as few as {trials} at a size, and {FEWEST_PAIRS} make an "
            "interval"
        )
    return sentences
