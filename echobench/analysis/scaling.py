"""The time of an update by size: where it starts to grow, and where lines cross."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

from echobench.analysis.pairs import MARGIN
from echobench.trial.record import Record

STEEP = 0.5
"""Slope on double logarithmic scales above which the time grows with the size: 0 is no growth,
1 is as fast as the size."""
Curve = Mapping[int, float]
"""Seconds of an update, by size."""


class Crossing(NamedTuple):
    """Which line becomes the faster one, and between which sizes."""

    faster: str
    slower: str
    above: int
    below: int


def curves(
    measurements: Iterable[tuple[Mapping[str, int], Record]],
) -> dict[str, dict[str, dict[int, float]]]:
    """Return the median seconds of an update by axis, line (`line_names`) and size.

    Each record comes with its sizes by axis. Those without a time of an update, or that failed
    the parity gate, are left out.
    """
    measurements = list(measurements)
    names = line_names([record for _, record in measurements])
    values: dict[str, dict[str, dict[int, list[float]]]] = {}
    for (sizes, record), name in zip(measurements, names, strict=True):
        seconds = record.seconds_per_update
        if seconds is None or record.contradiction:
            continue
        for axis, size in sizes.items():
            by_size = values.setdefault(axis, {}).setdefault(name, defaultdict(list))
            by_size[size].append(seconds)
    return {
        axis: {
            name: {size: median(by_size[size]) for size in sorted(by_size)}
            for name, by_size in sorted(by_name.items())
        }
        for axis, by_name in values.items()
    }


def line_names(records: list[Record]) -> list[str]:
    """Return the name of each record's line: its backend, and in what else the lines differ."""
    parts = [
        (record.engine, f"{record.trial.threads} threads", record.machine_class)
        for record in records
    ]
    seen: dict[str, list[set[str]]] = defaultdict(lambda: [set(), set(), set()])
    for record, told in zip(records, parts, strict=True):
        for kinds, part in zip(seen[record.backend], told, strict=True):
            kinds.add(part)
    return [
        " ".join(
            [r.backend, *(p for p, k in zip(told, seen[r.backend], strict=True) if len(k) > 1)]
        )
        for r, told in zip(records, parts, strict=True)
    ]


def crossings(lines: Mapping[str, Curve]) -> list[Crossing]:
    """Return where one line overtakes another, from the smallest size on.

    Compared are the sizes that both have. At a size where they differ by less than `MARGIN`
    neither is faster, so that a crossing may lie between sizes that are not neighbours.
    """
    found = []
    for a, b in combinations(lines, 2):
        leads = [
            (size, a if lines[a][size] < lines[b][size] else b)
            for size in sorted(lines[a].keys() & lines[b].keys())
            if _apart(lines[a][size], lines[b][size])
        ]
        for (above, before), (below, after) in pairwise(leads):
            if before != after:
                found.append(Crossing(after, before, above, below))
    return sorted(found, key=lambda c: (c.above, c.below, c.faster, c.slower))


def _apart(a: float, b: float) -> bool:
    return min(a, b) < (1 - MARGIN) * max(a, b)


def bend(line: Curve) -> int | None:
    """Return the size from which on every slope between neighbours exceeds `STEEP`, or None."""
    sizes, start = sorted(line), None
    for smaller, larger in reversed(list(pairwise(sizes))):
        if math.log(line[larger] / line[smaller]) <= STEEP * math.log(larger / smaller):
            break
        start = smaller
    return start


def remarks(drawn: Mapping[str, Mapping[str, Curve]]) -> list[str]:
    """Return a sentence for each bend and crossing, axis by axis, of what `curves` returns."""
    sentences = []
    for axis, lines in drawn.items():
        bends = [(name, bend(line), line) for name, line in lines.items() if len(line) > 1]
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
    return sentences
