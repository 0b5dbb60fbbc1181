"""`echobench compare`: two sides, cell by cell, with the verdict of the pairs of each."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from echobench.analysis.counterparts import counterparts
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
from echobench.analysis.places import remarks
from echobench.analysis.sides import KEYS, OF_TRIAL, Side
from echobench.analysis.statistics import ROUNDING, Estimate
from echobench.errors import UnknownNameError, UsageError
from echobench.store.rules import lacks_rehearsal
from echobench.trial.record import Record

USUAL = METRICS[:3]
"""The time to the target, and the two numbers it is the product of."""
ALL = "all tasks"
PRECISION = ("matmul_precision", "tf32", "precision")
"""Facts of a backend's execution that tell its precision."""
NAMED = ("backend", "engine", "division")
"""Of `KEYS`, those that name a cell beside its task."""
VARIED = (
    "device", "threads", "smt", "side_by_side", "devices", "bound", "environment", "machine",
)  # fmt: skip # one line reads better
"""The rest of what makes a cell, of `KEYS`: named where it differs within a comparison."""
KNOWN = {
    *KEYS, "label", "parameters", "recipe", "certify", "test_set", "versions", "execution",
    "source", "task_source", "backend_source",
}  # fmt: skip # in fewer lines it reads better
"""Fields of a cell that are chosen, follow from the task, or are named by themselves."""
RUN_KEYS = dict(zip(("machine", "repeat", "seed"), RUN, strict=True))
"""Of `KEYS`, those that tell the runs of one cell apart, and their columns in the frame."""


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
            few = f"too few {verdict.lacks} to say"
            if abs(value - 1) <= ROUNDING:
                return few
            ratio = "infinite" if math.isinf(verdict.advantage.value or 0.0) else verdict.times
            return f"{few}; median ratio {ratio} ({side} {adverb})"
        return f"{better} {verdict.advantage.interval}"


@dataclass(frozen=True)
class Framed:
    """Both sides of a comparison as frames, and what makes two of their trials a pair.

    Attributes:
        sides: A and B.
        ours, theirs: the trials of sides A and B; the column `named` names their cells by what
            the sides leave open.
        keys: of `KEYS`, those that neither side chooses; without `engine` where each side has
            another engine, and just one for each of its tasks.
        run: their columns, in which the two trials of a pair are equal; and `variant`, by which
            several cells of a side that go by the same names are kept apart.
        choices: what is to be said of the cells that were chosen to be compared.
    """

    sides: tuple[Side, Side]
    ours: pd.DataFrame
    theirs: pd.DataFrame
    keys: list[str]
    run: list[str]
    choices: list[str]

    @classmethod
    def of(cls, a: Side, b: Side, records: tuple[Sequence[Record], Sequence[Record]]) -> Framed:
        """Return the frames of two sides' records."""
        keys = [key for key in KEYS if key not in {*a.chosen, *b.chosen}]
        own = {_identity(record): record for record in records[0]}
        others = [record for record in records[1] if own.get(_identity(record)) != record]
        shared = len(records[1]) - len(others)
        if not others:
            raise UsageError(
                f"compare: expected other trials in {b.text!r} than in {a.text!r}; all "
                f"{shared} are A's too, and no trial is compared with itself"
            )
        sides = [*map(_frame, (records[0], others))]
        engines = _other_engines(*sides) if "engine" in keys and "backend" not in keys else None
        if engines is not None:
            keys.remove("engine")
        run = [
            *(key for key in keys if key not in RUN_KEYS),
            *(c for k, c in RUN_KEYS.items() if k in keys),
        ]
        varied = [key for key in VARIED if len({v for flat in sides for v in flat[key]}) > 1]
        names = [name for name in (*NAMED, *varied) if name in keys]
        apart = [column for column in run if column not in {*RUN_KEYS.values()}]
        groups = [_rows(flat, apart) for flat in sides]
        trials = [
            [*zip(group, flat.cell, flat.started_at, strict=True)]
            for group, flat in zip(groups, sides, strict=True)
        ]
        found = counterparts(*trials)
        ours, theirs = (
            flat.assign(
                variant=[place.number for place in places],
                named=[
                    f"{_name(names, row)} {place.label}".rstrip()
                    for row, place in zip(_rows(flat, names), places, strict=True)
                ],
            )
            for flat, places in (
                (flat, [of_side[group, cell] for group, cell, _ in listed])
                for flat, of_side, listed in zip(sides, found.places, trials, strict=True)
            )
        )
        choices = [*([engines] if engines else []), *found.cautions]
        if shared:
            choices.append(f"{shared} trials of B are A's too: none is compared with itself")
        framed = cls((a, b), ours, theirs, keys, [*run, "variant"], choices)
        choices += framed._open_choices()
        return framed

    @property
    def paired(self) -> pd.DataFrame:
        """Return the trials of side A that have a partner."""
        partners = {*self.runs(self.theirs)}
        return self.ours[[run in partners for run in self.runs(self.ours)]]

    def _open_choices(self) -> Iterator[str]:
        """Yield what is compared of a side in each key that only the other one chooses."""
        runs = {*self.runs(self.ours)} & {*self.runs(self.theirs)}
        flats = (self.ours, self.theirs)
        for number, name in enumerate("AB"):
            side, other, flat = self.sides[number], self.sides[1 - number], flats[number]
            used = flat[[run in runs for run in self.runs(flat)]]
            for key in other.chosen:
                values = self._values(used, key)
                if key not in side.chosen and values not in ([], [other.chosen[key]]):
                    yield f"{name} says no {key}: its {_listed(values)} is compared"

    def runs(self, flat: pd.DataFrame) -> list[tuple[Any, ...]]:
        """Return of each trial what its partner has too."""
        return _rows(flat, self.run)

    def cautions(self) -> list[str]:
        """Return what is to be said of how the sides were paired."""
        lone, count = len(self.ours) - len(self.paired), len(self.ours)
        unpaired = f"{lone} of {count} trials of A have no partner in B"
        apart = [f"A: {line}" for line in remarks(self.ours)]
        apart += [f"B: {line}" for line in remarks(self.theirs)]
        return [*self.choices, *([unpaired] if lone else []), *apart]

    def require_pairs(self) -> None:
        """Raise UsageError if no trial of side A has a partner."""
        if why := self.why_no_pairs():
            raise UsageError(f"compare: {why}")

    def why_no_pairs(self) -> str | None:
        """Return why no trial of side A has a partner, and how to compare yet; None if one has."""
        if not self.paired.empty:
            return None
        a, b = self.sides
        return (
            f"no trial of {a.text!r} has a partner in {b.text!r}, equal in "
            f"{', '.join(self.keys)}{self._why_apart()}"
        )

    def _why_apart(self) -> str:
        """Return in which of the keys the sides differ, and the command that compares them yet."""
        differing = [key for key in self.keys if not self._shared(key)]
        differing = differing or [key for key in self.keys if self._would_pair([key])][:1]
        if not differing:
            return ""
        named = "; ".join(
            f"{key}: A has {_listed(self._values(self.ours, key))}, "
            f"B {_listed(self._values(self.theirs, key))}"
            for key in differing
        )
        if not self._would_pair(differing):
            return f"; they differ in {named}"
        return f"; they differ in {named}; to compare these: {self._command(differing)}"

    def _command(self, keys: Sequence[str]) -> str:
        """Return the command that compares both sides by what each has most trials of."""
        chosen = (
            side.choosing({key: self._values(flat, key)[0] for key in keys})
            for side, flat in zip(self.sides, (self.ours, self.theirs), strict=True)
        )
        sides = [text for text in chosen if text is not None]
        if len(sides) == 2:
            return " ".join(["echobench compare", *sides])
        return f"say {' and '.join(f'{key}=...' for key in keys)} of each side"

    def _values(self, flat: pd.DataFrame, key: str) -> list[str]:
        """Return the values of a key on one side, the most frequent first."""
        counts = Counter(sorted(map(str, flat[RUN_KEYS.get(key, key)])))
        return [value for value, _ in counts.most_common()]

    def _shared(self, key: str) -> bool:
        """Return whether both sides have some value of a key."""
        return bool({*self._values(self.ours, key)} & {*self._values(self.theirs, key)})

    def _would_pair(self, keys: Sequence[str]) -> bool:
        """Return whether the sides would have pairs if these keys were chosen."""
        apart = {"variant", *(RUN_KEYS.get(key, key) for key in keys)}
        rest = [name for name in self.run if name not in apart]
        return bool({*_rows(self.ours, rest)} & {*_rows(self.theirs, rest)})

    def partners(self, cell: pd.DataFrame, *, anywhere: bool = False) -> pd.DataFrame:
        """Return side B's trials of a cell of side A, on its class of machine or `anywhere`."""
        apart = {"seed", "again", *(["machine"] if anywhere else [])}
        columns = [column for column in self.run if column not in apart]
        wanted = {*_rows(cell, columns)}
        return self.theirs[[row in wanted for row in _rows(self.theirs, columns)]]


def cells(flat: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the trials of each cell of a side, with the cell's task and name."""
    for (task, name), rows in flat.groupby([flat.task.astype(str), flat.named]):
        yield (str(task), str(name)), rows


def compare(framed: Framed, metrics: Sequence[str] = USUAL) -> list[Comparison]:
    """Return the comparisons of both sides, cell by cell, then over all cells.

    A cell without a pair that says something has none.

    Raises:
        UsageError: a metric is unknown.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
    comparisons = []
    for metric in metrics:
        groups = []
        for (task, name), flat in cells(framed.ours):
            pairs = pair(flat, framed.partners(flat), metric, run=framed.run)
            if len(pairs.ratios):
                groups.append(pairs)
                comparisons.append(Comparison(task, name, metric, judge(pairs)))
        if len(groups) > 1:
            comparisons.append(Comparison(ALL, "", metric, judge(*groups)))
    return comparisons


def _other_engines(ours: pd.DataFrame, theirs: pd.DataFrame) -> str | None:
    """Return which engines are compared where the sides have none in common, in words.

    None where they have one, or where a side has several for a task: which of them is meant?
    """
    if {*ours.engine} & {*theirs.engine}:
        return None
    for flat in (ours, theirs):
        if (flat.groupby(flat.task.astype(str)).engine.nunique() > 1).any():
            return None
    names = [
        _listed(sorted({f"{row.backend} {row.engine}" for row in flat.itertuples()}))
        for flat in (ours, theirs)
    ]
    return f"{names[0]} against {names[1]}: the sides have no engine in common"


def _identity(record: Record) -> tuple[str, str, str]:
    """Return what only one run of one trial has."""
    return record.key, record.machine_class, record.started_at


def _listed(values: Sequence[str]) -> str:
    return " and ".join(value or "none" for value in values)


def _frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return records as a frame, with columns for those of `KEYS` that it lacks."""
    flat = frame(records)
    missing = ("threads", "smt", "side_by_side", "devices", "bound")
    columns = {key: [str(getattr(cell, key)) for cell in flat.cell] for key in missing}
    return flat.assign(
        **columns,
        environment=[cell.variables for cell in flat.cell],
        repeat=[record.trial.repeat for record in records],
    )


def _name(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return a cell's name: `jax fused closed`, where they differ with `threads 2` and the like."""
    return " ".join(
        f"{name} {value or 'none'}" if name in OF_TRIAL else str(value)
        for name, value in zip(names, values, strict=True)
    )


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
    """Return what else differs between two sides, and what was not checked of each.

    A backend's version, say, is compared where both sides have that backend.
    """
    ours, theirs = _conditions(a), _conditions(b)
    lines = []
    for name in dict.fromkeys([*ours, *theirs]):
        shared = ours.get(name, {}).keys() & theirs.get(name, {}).keys()
        differing = sorted(one for one in shared if ours[name][one] != theirs[name][one])
        if differing:
            a_has, b_has = (
                "; ".join(f"{one} {' and '.join(sorted(side[name][one]))}".strip()
                          for one in differing)
                for side in (ours, theirs)
            )  # fmt: skip
            lines.append(f"different {name}: A has {a_has}, B {b_has}")
    return [*lines, *_unchecked("A", a), *_unchecked("B", b)]


def _unchecked(side: str, records: Sequence[Record]) -> Iterator[str]:
    """Yield what was not checked of a side's trials, as often as it was not."""
    kinds = {
        "were not compared with a reference": [one.unchecked for one in records],
        "lack the rehearsal of their warm-up, decay and clipping": [*map(lacks_rehearsal, records)],
        "have a certificate that was not judged": [one.unjudged for one in records],
        "have a fingerprint that was not compared": [one.uncompared for one in records],
    }
    for what, trials in kinds.items():
        if any(trials):
            yield f"{sum(trials)} of {len(trials)} trials of {side} {what}"


def _conditions(records: Iterable[Record]) -> dict[str, dict[str, set[str]]]:
    """Return the values of what trials ran under: by its kind, then by whose it is."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        cell, git = record.cell, record.provenance.git
        way = dict(cell.execution or ())
        kinds: dict[str, dict[str, Any]] = {
            "machine": {"": record.machine_class},
            "versions": dict(cell.versions),
            "precision": {name: way[name] for name in PRECISION if name in way},
            "execution": {
                f"{cell.backend} {cell.engine} {name}": value
                for name, value in way.items()
                if name not in PRECISION
            },
            "environment": {"": cell.variables or "none"},
            "certificates": {"": cell.certificate},
            "task source": {cell.task: f"{cell.source} {cell.task_source}".strip()},
            "backend source": {cell.backend: cell.backend_source or "unknown"},
            "checkout of echobench": {"": f"{git.commit[:12]}{' changed' if git.dirty else ''}"}
            if git
            else {},
            "settings": {n: getattr(cell, n) for n in cell.__struct_fields__ if n not in KNOWN},
        }
        for kind, values in kinds.items():
            for owner, value in values.items():
                found[kind][owner].add(value if isinstance(value, str) else json.dumps(value))
    return found
