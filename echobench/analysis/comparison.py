"""Two sides, paired trial by trial: what is faster, by how much, and how sure that is."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echobench.analysis.statistics import Estimate, Pairs, paired, ratio
from echobench.errors import UnknownNameError, UsageError
from echobench.plugin.manager import Plugins
from echobench.store.divisions import sorted_out
from echobench.store.folder import Store
from echobench.trial.record import Record, latest

METRICS = ("time_to_target_s", "updates_to_target", "seconds_per_update", "compile_s", "wall_s")
"""What can be compared: less is better in each."""
USUAL = METRICS[:3]
"""The time to the target, and the two it is the product of."""
ALL = "all tasks"
APART = "they are of different machines; to compare these, say machine=... of each side"
PRECISION = ("matmul_precision", "tf32")
"""What a backend's execution says of how it computes."""
TOLD = ("threads", "devices", "repeat")
"""Of `KEYS`, fields of the trial."""
KEYS = ("task", "backend", "engine", "division", "device", *TOLD, "seed", "machine")
"""What two trials of a pair share, but for what the sides say."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison, as it is written: `PATH`, `[key=value,...]` or both.

    Attributes:
        text: as it was written.
        path: a folder or a file of records.
        chosen: the field of a trial and the value that it must have.
    """

    text: str
    path: Path
    chosen: dict[str, str]

    @classmethod
    def parse(cls, text: str, default: Path) -> Side:
        """Read a side.

        Args:
            text: `results/old`, `backend=jax,engine=fused` or `results/old[backend=jax]`.
            default: the folder where none is named.

        Raises:
            UsageError: it is none of these, or names a field that there is not.
        """
        match = re.fullmatch(r"([^\[\]]*)\[(.*)\]", text)
        if match:
            path, filters = match[1], match[2]
        elif "=" in text and not Path(text).exists():
            path, filters = "", text
        else:
            path, filters = text, ""
        chosen = {}
        # A task's own parameters may hold commas: task=partial[n_in=8,n_out=4].
        for pair in re.findall(r"[^,\[\]]+(?:\[[^\]]*\])?", filters):
            key, equals, value = pair.partition("=")
            if not equals or key not in KEYS:
                raise UsageError(
                    f"compare: expected PATH, key=value,... or PATH[key=value,...], the key one "
                    f"of {', '.join(KEYS)}; received {text!r}"
                )
            chosen[key] = value
        where = Path(path) if path else default
        if not where.exists():
            raise UsageError(f"compare: expected a folder or file of records; received {where!s}")
        return cls(text, where, chosen)

    def records(self, plugins: Plugins) -> list[Record]:
        """Return its records: of each trial the latest, in the division that its recipe says.

        Args:
            plugins: tasks that are installed here, whose closed recipes count.

        Raises:
            UsageError: there are none.
        """
        everything, _ = sorted_out(latest(Store.read(self.path)), plugins)
        found = [
            record
            for record in everything
            if all(_is(record, key, value) for key, value in self.chosen.items())
        ]
        machines = {str(_field(record, "machine")) for record in found}
        if "machine" in self.chosen and len(machines) > 1:
            raise UsageError(
                f"compare: expected a part of one machine's name in {self.text!r}; it is part of "
                f"{' and '.join(map(repr, sorted(machines)))}"
            )
        if not found:
            raise UsageError(f"compare: no records for {self.text!r} in {self.path}")
        return found


def _field(record: Record, key: str) -> Any:
    if key == "machine":
        return record.machine_class
    return getattr(record.trial if key in TOLD else record, key)


def _is(record: Record, key: str, value: str) -> bool:
    """Return whether a field is as a side says; of a machine's name, which is long, a part does."""
    field = str(_field(record, key))
    return value in field if key == "machine" else value == field


@dataclass(frozen=True)
class Comparison:
    """One metric of one cell on both sides; of all cells, where `task` says so.

    Attributes:
        task, cell: what is compared: the task, and what the sides left open.
        metric: one of `METRICS`.
        ratio: B over A, median over pairs, with its interval: below 1, B is better.
        bounded: pairs of which one trial missed: their ratio is the bound it gives.
        silent: pairs that say nothing, since both missed, one failed, or one missed early.
    """

    task: str
    cell: str
    metric: str
    ratio: Estimate
    bounded: int = 0
    silent: int = 0

    @property
    def verdict(self) -> str:
        """Return the comparison in words: who is better, how many times, and how surely."""
        value, low, high, _ = self.ratio
        assert value is not None  # there is a pair
        better = "fewer" if self.metric == "updates_to_target" else "faster"
        winner, times = ("B", 1 / value) if value < 1 else ("A", value)
        if 2 * self.bounded >= self.ratio.n:
            winner += " at least"  # the median pair is a bound itself
        if low is None or high is None:
            return f"{winner} {times:.3g}x {better}" if times >= 1.005 else "the same"
        if not self.ratio.excludes(1.0):
            return f"no difference shown [{low:.3g}, {high:.3g}]"
        low, high = (1 / high, 1 / low) if value < 1 else (low, high)
        return f"{winner} {times:.3g}x {better} [{low:.3g}, {high:.3g}]"


def compare(
    a: Side,
    b: Side,
    records: tuple[Sequence[Record], Sequence[Record]],
    metrics: Sequence[str] = USUAL,
) -> list[Comparison]:
    """Return the comparisons of both sides, cell by cell, and over all cells.

    Two trials are a pair where everything but what the sides themselves say is the
    same: task and parameters, division, backend, engine, device, threads, devices, repeat,
    seed and class of machine.

    Args:
        a: the one side.
        b: the other.
        records: of each.
        metrics: what to compare.

    Raises:
        UsageError: an unknown metric, or not one pair.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
    free = {*a.chosen, *b.chosen}
    left, right = ({_identity(r, free): r for r in side} for side in records)
    cells: dict[tuple[str, str], list[tuple[Record, Record]]] = defaultdict(list)
    common = sorted(left.keys() & right.keys())
    machines = {_field(left[key], "machine") for key in common} if "machine" not in free else ()
    named = ["backend", "engine", "division", *(["machine"] if len(machines) > 1 else [])]
    for key in common:
        record = left[key]
        words = [str(_field(record, name)) for name in named if name not in free]
        cells[record.task, " ".join(words)].append((record, right[key]))
    if not cells:
        there = [{str(_field(record, "machine")) for record in side} for side in records]
        apart = "" if there[0] & there[1] or "machine" in free else f"; {APART}"
        raise UsageError(
            f"compare: no trial of {a.text!r} has a partner in {b.text!r}, equal in "
            f"{', '.join(key for key in KEYS if key not in free)}{apart}"
        )
    found = []
    for metric in metrics:
        groups = []
        for (task, cell), pairs in sorted(cells.items()):
            values, bounded, silent = ratios(pairs, metric)
            if len(values):
                groups.append(values)
                found.append(Comparison(task, cell, metric, ratio(values), bounded, silent))
        if len(groups) > 1:
            found.append(Comparison(ALL, "", metric, ratio(*groups)))
    return found


def rows(found: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Return comparisons as flat objects, for scripts."""
    return [
        {
            "task": one.task,
            "cell": one.cell,
            "metric": one.metric,
            "ratio": one.ratio.value,
            "low": one.ratio.low,
            "high": one.ratio.high,
            "pairs": one.ratio.n,
            "bounded": one.bounded,
            "silent": one.silent,
            "verdict": one.verdict,
        }
        for one in found
    ]


def lines(found: Iterable[Comparison]) -> dict[str, list[dict[str, str]]]:
    """Return comparisons as lines of a table for each metric, for people."""
    tables: dict[str, list[dict[str, str]]] = defaultdict(list)
    for one in found:
        notes = {
            "too few pairs for an interval": one.ratio.low is None,
            f"{one.bounded} with a miss, as its bound": one.bounded,
            f"{one.silent} left out: missed or failed, and bound nothing": one.silent,
        }
        tables[one.metric].append(
            {
                one.metric: f"{one.task} {one.cell}".strip(),
                "B against A": one.verdict,
                "pairs": str(one.ratio.n),
                "note": "; ".join(note for note, holds in notes.items() if holds),
            }
        )
    return tables


def _identity(record: Record, free: Iterable[str]) -> str:
    told = {key: str(_field(record, key)) for key in KEYS if key not in free}
    return json.dumps(told, sort_keys=True)


def ratios(pairs: Sequence[tuple[Record, Record]], metric: str) -> Pairs:
    """Return the ratios B / A of pairs of records: see `statistics.paired`."""
    sides = [[pair[place] for pair in pairs] for place in (0, 1)]
    a, b = (np.array([measured(r, metric) for r in side], float) for side in sides)
    spent_a, spent_b = (np.array([spent(r, metric) for r in side], float) for side in sides)
    return paired(a, b, spent_a, spent_b)


def measured(record: Record, metric: str) -> float | None:
    """Return a metric; None where it was not measured, or of another mathematics."""
    if record.failed_parity:
        return None
    value: float | None = getattr(record, metric)
    return value


def spent(record: Record, metric: str) -> float | None:
    """Return what a trial that missed the target had spent: less than it would have taken.

    None where that bounds nothing.
    """
    if record.status not in {"missed", "timeout"} or record.failed_parity:
        return None
    if metric == "time_to_target_s" and record.train_s is not None:
        return (record.first_update_s or 0.0) + record.train_s
    return record.updates if metric == "updates_to_target" else None


def cautions(a: Sequence[Record], b: Sequence[Record]) -> list[str]:
    """Return what differs between two sides beside what a comparison is of."""
    both = [*a, *b]
    shared = set.intersection(*(set(r.trial.versions) for r in both))
    settings = set.intersection(*(set(r.execution) for r in both)) & set(PRECISION)
    asked: dict[str, Callable[[Record], Any]] = {
        "machine": lambda r: r.machine_class,
        "versions": lambda r: {name: r.trial.versions[name] for name in sorted(shared)},
        "precision": lambda r: {name: r.execution[name] for name in sorted(settings)},
        "task source": lambda r: {r.trial.task: r.trial.source},
    }
    found = []
    for name, ask in asked.items():
        ours, theirs = ({json.dumps(ask(r), sort_keys=True) for r in side} for side in (a, b))
        if ours != theirs:
            told = (" and ".join(sorted(values)) or "none" for values in (ours, theirs))
            found.append(f"different {name}: A has {next(told)}, B {next(told)}")
    return found


@dataclass(frozen=True)
class Limit:
    """A regression that fails: `seconds_per_update>+10%`.

    Attributes:
        metric: one of `METRICS`.
        factor: of B over A, beyond which it is one.
    """

    metric: str
    factor: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a limit.

        Raises:
            UsageError: it is not written as it should be.
        """
        match = re.fullmatch(r"(\w+)\s*>\s*\+(\d+(?:\.\d+)?)%", text.strip())
        if not match or match[1] not in METRICS:
            raise UsageError(
                "--fail-if: expected METRIC>+N%, such as seconds_per_update>+10%, the metric one "
                f"of {', '.join(METRICS)}; received {text!r}"
            )
        return cls(match[1], 1 + float(match[2]) / 100)

    def broken(self, found: Iterable[Comparison]) -> list[Comparison]:
        """Return the comparisons whose whole interval lies beyond the limit."""
        return [
            one
            for one in found
            if one.metric == self.metric
            and one.ratio.low is not None
            and one.ratio.low > self.factor
        ]

    def undecided(self, found: Iterable[Comparison]) -> list[Comparison]:
        """Return the comparisons without an interval, of which it can never say anything."""
        return [one for one in found if one.metric == self.metric and one.ratio.low is None]
