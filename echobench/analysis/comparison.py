"""`echobench compare`: two sides, cell by cell, with the verdict of the pairs of each."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from echobench.analysis.frame import frame
from echobench.analysis.pairs import (
    MARGIN,
    METRICS,
    RUN,
    Decision,
    Verdict,
    judge,
    pair,
)
from echobench.analysis.statistics import ROUNDING, Estimate, ratio
from echobench.errors import UnknownNameError, UsageError
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.referee import sorted_out
from echobench.trial.record import Record, latest

USUAL = METRICS[:3]
"""The time to the target, and the two numbers it is the product of."""
ALL = "all tasks"
APART = "they are of different machines; to compare these, say machine=... of each side"
PRECISION = ("matmul_precision", "tf32")
"""Settings of a backend's execution that change its precision."""
OF_TRIAL = ("threads", "smt", "devices", "bound", "repeat")
"""Of `KEYS`, fields of the trial."""
KEYS = ("task", "backend", "engine", "division", "device", *OF_TRIAL, "seed", "machine")
"""What a side can choose; the two trials of a pair are equal in all that neither side chooses."""
RUN_KEYS = dict(zip(("machine", "repeat", "seed"), RUN, strict=True))
"""Of `KEYS`, those that tell the runs of one cell apart, and their columns in the frame."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison, written `PATH`, `key=value,...` or `PATH[key=value,...]`."""

    text: str
    path: Path
    chosen: dict[str, str]

    @classmethod
    def parse(cls, text: str, default: Path) -> Side:
        """Parse a side; `default` is the folder if it names none. Raise UsageError if malformed."""
        match = re.fullmatch(r"([^\[\]]*)\[(.*)\]", text)
        if match:
            path, filters = match[1], match[2]
        elif "=" in text and not Path(text).exists():
            path, filters = "", text
        else:
            path, filters = text, ""
        chosen = {}
        # The parameters of a task may contain commas: task=partial[n_in=8,n_out=4].
        for item in re.findall(r"[^,\[\]]+(?:\[[^\]]*\])?", filters):
            key, equals, value = item.partition("=")
            if not equals or key not in KEYS:
                raise UsageError(
                    f"compare: expected PATH, key=value,... or PATH[key=value,...], the key one "
                    f"of {', '.join(KEYS)}; received {text!r}"
                )
            chosen[key] = value
        folder = Path(path) if path else default
        if not folder.exists():
            raise UsageError(f"compare: expected a folder or file of records; received {folder!s}")
        return cls(text, folder, chosen)

    def records(self, plugins: Plugins) -> list[Record]:
        """Return its records: the latest of each trial, in the division its recipe belongs to.

        Raises:
            UsageError: there are none, or they are of several machines that the side names as one.
        """
        everything, _ = sorted_out(latest(Store.read(self.path)), plugins)
        records = [
            record
            for record in everything
            if all(_has(record, key, value) for key, value in self.chosen.items())
        ]
        machines = {str(_field(record, "machine")) for record in records}
        if "machine" in self.chosen and len(machines) > 1:
            raise UsageError(
                f"compare: expected a part of one machine's name in {self.text!r}; it is part of "
                f"{' and '.join(map(repr, sorted(machines)))}"
            )
        if not records:
            raise UsageError(f"compare: no records for {self.text!r} in {self.path}")
        return records


def _field(record: Record, key: str) -> Any:
    if key == "machine":
        return record.machine_class
    return getattr(record.trial if key in OF_TRIAL else record, key)


def _has(record: Record, key: str, value: str) -> bool:
    """Return whether a field has a value; of a machine's name, which is long, a part will do."""
    field = str(_field(record, key))
    return value in field if key == "machine" else value == field


@dataclass(frozen=True)
class Comparison:
    """One metric of one cell on both sides, or of all cells (task `ALL`), side A first.

    `cell` has the names that the sides leave open.
    """

    task: str
    cell: str
    metric: str
    verdict: Verdict

    @property
    def words(self) -> str:
        """Return the verdict in words: which side is better, how many times, how surely."""
        verdict = self.verdict
        value, interval = verdict.ratio.value, verdict.ratio.interval
        assert value is not None  # there is a pair
        if verdict.decision is Decision.OPEN:
            return f"no difference shown {interval}"
        if verdict.decision is Decision.ALIKE:
            return f"no difference beyond {MARGIN:.0%} {interval}"
        side = "B" if value < 1 else "A"
        adverb = "fewer" if self.metric == "updates_to_target" else "faster"
        better = f"{side} {verdict.times} {adverb}"
        if verdict.decision is Decision.FEW:
            return (
                f"not shown, by the median {better}" if abs(value - 1) > ROUNDING else "not shown"
            )
        return f"{better} {verdict.advantage.interval}"


def compare(
    a: Side,
    b: Side,
    records: tuple[Sequence[Record], Sequence[Record]],
    metrics: Sequence[str] = USUAL,
) -> list[Comparison]:
    """Return the comparisons of both sides, cell by cell, then over all cells.

    Two trials are a pair if they are equal in each of `KEYS` that neither side chooses. Not one
    pair is a UsageError.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
    keys = [key for key in KEYS if key not in {*a.chosen, *b.chosen}]
    run = [
        *(key for key in keys if key not in RUN_KEYS),
        *(c for k, c in RUN_KEYS.items() if k in keys),
    ]
    ours, theirs = map(_frame, records)
    partners = set(_rows(theirs, run))
    ours = ours[[row in partners for row in _rows(ours, run)]]
    if ours.empty:
        machines = [{str(_field(record, "machine")) for record in side} for side in records]
        apart = "" if machines[0] & machines[1] or "machine" not in keys else f"; {APART}"
        raise UsageError(
            f"compare: no trial of {a.text!r} has a partner in {b.text!r}, equal in "
            f"{', '.join(keys)}{apart}"
        )
    names = ["backend", "engine", "division", *(["machine"] if ours.machine.nunique() > 1 else [])]
    cell = [" ".join(row) for row in _rows(ours, [name for name in names if name in keys])]
    comparisons = []
    for metric in metrics:
        groups = []
        for (task, name), flat in ours.groupby(
            [ours.task.astype(str), pd.Series(cell, ours.index)]
        ):
            pairs = pair(flat, theirs, metric, run=run)
            if len(pairs.ratios):
                groups.append(pairs)
                comparisons.append(Comparison(str(task), str(name), metric, judge(pairs)))
        if len(groups) > 1:
            bounded, silent = sum(p.bounded for p in groups), sum(p.silent for p in groups)
            all_tasks = Verdict(ratio(*(pairs.ratios for pairs in groups)), bounded, silent)
            comparisons.append(Comparison(ALL, "", metric, all_tasks))
    return comparisons


def _frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return records as a frame, with columns for those of `KEYS` that it lacks."""
    flat = frame(records)
    missing = ("threads", "smt", "devices", "bound")
    return flat.assign(**{key: [str(getattr(c, key)) for c in flat.cell] for key in missing})


def _rows(flat: pd.DataFrame, names: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = [flat[name].tolist() for name in names]
    return list(zip(*columns, strict=True)) if columns else [()] * len(flat)


def as_rows(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Return comparisons as flat objects, for scripts; what is infinite is None."""
    return [
        {
            **{name: getattr(comparison, name) for name in ("task", "cell", "metric")},
            **_finite(comparison.verdict.ratio),
            "bounded": comparison.verdict.bounded,
            "silent": comparison.verdict.silent,
            "verdict": comparison.words,
        }
        for comparison in comparisons
    ]


def _finite(found: Estimate) -> dict[str, float | None]:
    values = (None if end is None or math.isinf(end) else end for end in found)
    return dict(zip(("ratio", "low", "high", "pairs"), values, strict=True))


def as_tables(comparisons: Iterable[Comparison]) -> dict[str, list[dict[str, str]]]:
    """Return the lines of a table for each metric, for people."""
    tables: dict[str, list[dict[str, str]]] = defaultdict(list)
    for comparison in comparisons:
        verdict = comparison.verdict
        notes = {
            "too few pairs for an interval": verdict.decision is Decision.FEW,
            f"{verdict.bounded} with a miss, as its bound": verdict.bounded,
            f"{verdict.silent} left out: missed or failed, and bound nothing": verdict.silent,
        }
        tables[comparison.metric].append(
            {
                comparison.metric: f"{comparison.task} {comparison.cell}".strip(),
                "B against A": comparison.words,
                "pairs": str(verdict.ratio.n),
                "note": "; ".join(note for note, holds in notes.items() if holds),
            }
        )
    return tables


def cautions(a: Sequence[Record], b: Sequence[Record]) -> list[str]:
    """Return what else differs between two sides, beside what they choose."""
    both = [*a, *b]
    shared = set.intersection(*(set(record.trial.versions) for record in both))
    settings = set.intersection(*(set(record.execution) for record in both)) & set(PRECISION)
    facts: dict[str, Callable[[Record], Any]] = {
        "machine": lambda r: r.machine_class,
        "versions": lambda r: {name: r.trial.versions[name] for name in sorted(shared)},
        "precision": lambda r: {name: r.execution[name] for name in sorted(settings)},
        "bound of certificates": lambda r: r.trial.bound or "the old rule",
        "task source": lambda r: {r.trial.task: r.trial.source},
    }
    lines = []
    for name, fact in facts.items():
        ours, theirs = ({json.dumps(fact(r), sort_keys=True) for r in side} for side in (a, b))
        if ours != theirs:
            values = (" and ".join(sorted(side)) or "none" for side in (ours, theirs))
            lines.append(f"different {name}: A has {next(values)}, B {next(values)}")
    return lines


@dataclass(frozen=True)
class Limit:
    """The largest ratio B / A of a metric that passes, such as `seconds_per_update>+10%`."""

    metric: str
    factor: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Parse a limit; raise UsageError if it is malformed or names an unknown metric."""
        match = re.fullmatch(r"(\w+)\s*>\s*\+(\d+(?:\.\d+)?)%", text.strip())
        if not match or match[1] not in METRICS:
            raise UsageError(
                "--fail-if: expected METRIC>+N%, such as seconds_per_update>+10%, the metric one "
                f"of {', '.join(METRICS)}; received {text!r}"
            )
        return cls(match[1], 1 + float(match[2]) / 100)

    def broken(self, comparisons: Iterable[Comparison]) -> list[Comparison]:
        """Return the comparisons whose whole interval lies beyond the limit, each by itself."""
        lows = ((one, one.verdict.ratio.low) for one in comparisons if one.metric == self.metric)
        return [one for one, low in lows if low is not None and low > self.factor]

    def undecided(self, comparisons: Iterable[Comparison]) -> list[Comparison]:
        """Return the comparisons that have no interval, so that no limit can be broken."""
        return [
            one
            for one in comparisons
            if one.metric == self.metric and one.verdict.decision is Decision.FEW
        ]
