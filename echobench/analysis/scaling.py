"""What an update costs by size: where the time bends, and where one overtakes another."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

from echobench.analysis.comparison import measured
from echobench.analysis.footnotes import MARGIN
from echobench.trial.record import Record

STEEP = 0.5
"""Slope on double logarithmic scales above which the time grows with the size: at 0 it does
not grow at all, at 1 as fast as the size."""
Curve = Mapping[int, float]
"""Seconds of an update by size."""


class Crossing(NamedTuple):
    """Who becomes the faster, and between which sizes."""

    faster: str
    slower: str
    above: int
    below: int


def curves(
    measurements: Iterable[tuple[Mapping[str, int], Record]],
) -> dict[str, dict[str, dict[int, float]]]:
    """Return the seconds of an update by axis, by who measured and by size.

    Who measured is a backend; where it measured with several engines, numbers of
    threads or machines, these too. What was not measured, or failed the parity gate,
    is left out; of several trials it is the median.

    Args:
        measurements: records, each with the places on the axes that it stands for.
    """
    found = list(measurements)
    names = line_names([record for _, record in found])
    values: dict[str, dict[str, dict[int, list[float]]]] = {}
    for (sizes, record), name in zip(found, names, strict=True):
        seconds = measured(record, "seconds_per_update")
        if seconds is None:
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
    """Return what each record's line is called: its backend, and what else tells it apart."""
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
    """Return where one line overtakes another, by size, from the smallest on.

    Compared are the sizes that both have. Where they lie within `MARGIN` neither is the
    faster, so that a crossing may lie between sizes that are not neighbours.

    Args:
        lines: seconds by size, by name.
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
    """Return the size from which on the time grows with it, all the way; None if it does not.

    From there every slope between neighbours, on double logarithmic scale, is above `STEEP`.

    Args:
        line: seconds by size.
    """
    sizes, start = sorted(line), None
    for smaller, larger in reversed(list(pairwise(sizes))):
        if math.log(line[larger] / line[smaller]) <= STEEP * math.log(larger / smaller):
            break
        start = smaller
    return start


def remarks(drawn: Mapping[str, Mapping[str, Curve]]) -> list[str]:
    """Return what the lines say, a sentence each: bends, then crossings, axis by axis.

    Args:
        drawn: what `curves` returns.
    """
    said = []
    for axis, lines in drawn.items():
        bends = [(name, bend(line), line) for name, line in lines.items() if len(line) > 1]
        if bends:
            each = (
                f"{name} from {at:,} on" if at is not None else f"{name} not up to {max(line):,}"
                for name, at, line in bends
            )
            said.append(f"{axis}: the time of an update grows: {', '.join(each)}")
        said += [
            f"{axis}: {c.faster} overtakes {c.slower} between {c.above:,} and {c.below:,}"
            for c in crossings(lines)
        ]
    return said
