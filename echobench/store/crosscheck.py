"""What must hold of several records together: no copies, no seed under another number.

Only records that can be true by themselves are compared, so that a forged one accuses nobody. Of
records that contradict each other those in the minority are refused, and all of them where there
is none: which one is false, the records alone cannot say.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from echobench.core.training import PHASES
from echobench.store.rules import MOST_SOONER, has_pace, started_at, updates_per_epoch
from echobench.trial.cell import Cell
from echobench.trial.declared import Declaration, declaration, shortfall
from echobench.trial.record import LOSS_TOLERANCE, Machine, Record

Severity = Literal["error", "warning"]
MERGED = re.compile(r"(records|predictions)-\d{8}T\d{6}Z-merged-\d{4}-[0-9a-f]{12}\.jsonl")
"""Name of a file that a merge wrote, of trials that several machines may have run."""
FEWEST_TIMES = 3
"""Times that are equal in two records and cannot be by chance: each has nine digits."""
SLACK, SLACK_S = 0.01, 2.0
"""By how much of its time, and how many seconds, a trial may seem to overlap the one before it on
the same cores: the system's clock may be set, and the time of a trial is not taken by it."""
SURELY = 1e-5
"""A smaller difference, at the same accuracy, is that of one training on two backends."""
MOST_UPDATES = 500
"""Updates before the first evaluation: rounding grows, and after 1,000 it was 1e-2."""
POINTS = 3
"""Evaluations in which two trainings of one cell must agree to the last bit to be the same."""

Found = tuple[str, Severity, str, str]
"""Where, severity, subject and message of a finding."""
Member = TypeVar("Member")


class Origin(NamedTuple):
    """A record as others see it: where it is, which run it says it is, and its name."""

    where: str
    run: tuple[str, str, str]
    name: str


class Interval(NamedTuple):
    """When a trial had its cores."""

    start: datetime
    end: datetime
    cores: tuple[int, ...]
    source: Origin
    path: Path


class Training(NamedTuple):
    """A trial as its fingerprint shows it, which is the same on every backend within rounding.

    `bits` are the first `POINTS` evaluations, exactly.
    """

    seed: int
    cell: Cell
    machine: str
    loss: float
    accuracy: float | None
    bits: tuple[float | None, ...]
    source: Origin


class Turn(NamedTuple):
    """A trial as one of its process."""

    place: int
    cell: Cell
    start: datetime | None
    seconds_per_update: float | None
    has_pace: bool
    is_smoke: bool
    source: Origin


@dataclass
class Crosscheck:
    """Takes records one by one; then says which contradict each other."""

    _times: dict[bytes, list[Origin]] = field(default_factory=lambda: defaultdict(list))
    _intervals: dict[Hashable, list[Interval]] = field(default_factory=lambda: defaultdict(list))
    _prints: dict[Hashable, list[Training]] = field(default_factory=lambda: defaultdict(list))
    _turns: dict[str, list[Turn]] = field(default_factory=lambda: defaultdict(list))
    _rows: dict[tuple[Cell, str], dict[str, list[tuple[Declaration, int, int]]]] = field(
        default_factory=dict
    )

    def add(self, path: Path, where: str, record: Record) -> None:
        """Take a record."""
        run = (record.key, record.machine_class, record.started_at)
        again = f" repeat {record.trial.repeat}" if record.trial.repeat else ""
        source = Origin(where, run, f"{record.planned_cell} seed {record.seed}{again}, {where}")
        for digest in _measurements(record):
            self._times[digest].append(source)
        self._add_interval(path, record, source)
        self._add_fingerprint(record, source)
        self._add_turn(record, source)
        row = self._rows.setdefault((record.planned_cell, record.machine_class), {})
        trial = (declaration(record), record.seed, record.trial.repeat)
        row.setdefault(where, []).append(trial)

    def findings(self) -> Iterator[Found]:
        """Yield what contradicts what, and the seeds that were declared and are not there."""
        yield from self._copies()
        for intervals in self._intervals.values():
            yield from _overlaps(_in_turn(intervals))
        for turns in self._turns.values():
            yield from _of_one_process(turns)
        for prints in self._prints.values():
            yield from _unlike(prints)
            yield from _renumbered(prints)
        for (cell, _), trials in self._rows.items():
            missing = shortfall(trial for found in trials.values() for trial in found)
            if missing:
                yield next(iter(trials)), "warning", "seeds", f"{cell}: {missing}"

    def _copies(self) -> Iterator[Found]:
        said: set[str] = set()
        for sources in self._times.values():
            if len({source.run for source in sources}) < 2:
                continue
            for source in sources:
                if source.where in said:
                    continue
                said.add(source.where)
                other = next(other for other in sources if other.run != source.run)
                yield source.where, "error", "copy", f"the same times as {other.name}"

    def _add_interval(self, path: Path, record: Record, source: Origin) -> None:
        start, cores = started_at(record), record.execution.get("affinity")
        provenance = record.provenance
        alone = provenance.executor is None and not record.is_replicate
        if alone and start and record.wall_s and isinstance(cores, list):
            end = start + timedelta(seconds=record.wall_s)
            machine = (provenance.machine or Machine(), provenance.host)
            interval = Interval(start, end, tuple(cores), source, path)
            self._intervals[machine].append(interval)

    def _add_turn(self, record: Record, source: Origin) -> None:
        process = record.provenance.process
        if process is not None and not record.is_replicate:
            self._turns[process.id].append(
                Turn(
                    process.place,
                    record.planned_cell,
                    started_at(record),
                    record.seconds_per_update,
                    has_pace(len(record.evaluations), _recompiled(record)),
                    record.trial.quick,
                    source,
                )
            )

    def _add_fingerprint(self, record: Record, source: Origin) -> None:
        if not record.evaluations or record.contradiction:
            return
        first, trial = record.early, record.trial
        if first is None or updates_per_epoch(record) * first.epoch > MOST_UPDATES:
            return
        recipe = msgspec.structs.replace(trial.recipe, epochs=0)  # only the budget's
        shared = (
            trial.task,
            record.planned_cell.parameters,
            trial.source,
            trial.task_source,
            trial.device,
            recipe,
            trial.screen,
        )
        points = record.evaluations[:POINTS]
        bits = tuple(x for p in points for x in (p.epoch, p.loss, p.accuracy, p.exact_match))
        training = Training(
            record.seed,
            record.planned_cell,
            record.machine_class,
            first.loss,
            first.accuracy,
            bits,
            source,
        )
        self._prints[(*shared, first.epoch)].append(training)


def _measurements(record: Record) -> Iterator[bytes]:
    """Yield digests of times that no two runs share: phases, updates, the learning curve."""
    if record.is_replicate:
        return  # its times are those of all replicates
    phases = [getattr(record, f"{phase}_s") for phase in PHASES if phase != "train"]
    updates = [
        *(record.first_update_s, record.train_s, record.seconds_per_update),
        *(record.seconds_per_update_quartiles or ()),
    ]
    for times in (phases, updates, [point.train_s for point in record.evaluations]):
        if len({*times} - {None, 0.0}) >= FEWEST_TIMES:
            yield hashlib.blake2b(repr(times).encode(), digest_size=16).digest()


def _in_turn(intervals: Iterable[Interval]) -> list[Interval]:
    """Return intervals by start; trials of one process, which share its start, in turn."""
    found: list[Interval] = []
    for (start, path), group in groupby(
        sorted(intervals, key=lambda one: (one.start, str(one.path))), attrgetter("start", "path")
    ):
        end = start
        for one in group:
            begun, end = end, end + (one.end - one.start)
            found.append(Interval(begun, end, one.cores, one.source, path))
    return sorted(found, key=attrgetter("start"))


def _overlaps(intervals: Sequence[Interval]) -> Iterator[Found]:
    """Yield trials that had a core while another trial of that machine had it.

    One process runs one trial at a time, and writes one file. Two files may be of two machines
    that look the same: that is a warning.
    """
    last: dict[int, Interval] = {}
    said: set[str] = set()
    for one in intervals:
        for before in {id(last[core]): last[core] for core in one.cores if core in last}.values():
            slack = timedelta(seconds=SLACK_S) + SLACK * (before.end - before.start)
            if one.start >= before.end - slack:
                continue
            sure = one.path == before.path and not MERGED.fullmatch(one.path.name)
            for each, other in ((one, before), (before, one)) if sure else ((one, before),):
                if each.source.where not in said:
                    said.add(each.source.where)
                    message = f"had its cores at the same time as {other.source.name}"
                    yield each.source.where, "error" if sure else "warning", "overlap", message
        for core in one.cores:
            if core not in last or one.end > last[core].end:
                last[core] = one


def _of_one_process(turns: Sequence[Turn]) -> Iterator[Found]:
    """Yield trials that one process cannot have trained in turn, as they say.

    One that is there twice, in a merged folder, is the same trial; one that is not there may have
    been left out.
    """
    turns = sorted({turn.source.run: turn for turn in turns}.values(), key=attrgetter("place"))
    first = turns[0]
    for before, one in pairwise(turns):
        why = None
        if one.place == before.place:
            why = f"has the place in its process of {before.source.name}"
        elif one.cell != first.cell and not one.is_smoke:
            why = f"was trained by the process of {first.source.name}, another cell's"
        elif one.start is not None and before.start is not None and one.start < before.start:
            why = f"began before {before.source.name}, which its process trained before it"
        elif (
            first.place == 0
            and first.has_pace
            and one.cell == first.cell
            and one.seconds_per_update is not None
            and MOST_SOONER * one.seconds_per_update < (first.seconds_per_update or 0.0)
        ):
            times = (first.seconds_per_update or 0.0) / one.seconds_per_update
            why = (
                f"made an update {times:.3g} times as fast as {first.source.name}, the first of "
                "its process: the rest was done off the clock"
            )
        if why is not None:
            yield one.source.where, "error", "process", why
    if first.place:
        yield first.source.where, "warning", "process", "the first trial of its process is not here"


def _recompiled(record: Record) -> int:
    return 0 if record.recompilations is None else record.recompilations.times


def _unlike(prints: Sequence[Training]) -> Iterator[Found]:
    """Yield trials of one seed whose first evaluations are not those of one training."""
    ordered = sorted(prints, key=attrgetter("loss"))
    known = any(
        a.cell.backend != b.cell.backend and _is_same(a, b) for a, b in pairwise(ordered)
    )  # rounding does not hide whose seed it is
    by_seed: dict[int, list[Training]] = defaultdict(list)
    for one in ordered:
        by_seed[one.seed].append(one)
    for seed, same in by_seed.items():
        trainings: list[list[Training]] = []
        for one in same:
            if trainings and one.loss <= trainings[-1][-1].loss * (1 + LOSS_TOLERANCE):
                trainings[-1].append(one)
            else:
                trainings.append([one])
        for one in _minority(trainings):
            other = next(p for p in same if abs(p.loss - one.loss) > LOSS_TOLERANCE * one.loss)
            message = (
                f"seed {seed} has a loss of {one.loss:.6g} early in training, and "
                f"{other.loss:.6g} in {other.source.name}: not one training"
            )
            if not known:
                message += "; or rounding grows that fast"
            elif really := next((p for p in _near(ordered, one) if p.seed != seed), None):
                message += f"; it is that of seed {really.seed}"
            yield one.source.where, "error" if known else "warning", "fingerprint", message


def _renumbered(prints: Sequence[Training]) -> Iterator[Found]:
    """Yield trials that have another seed, and are one training to the last bit."""
    by_bits: dict[tuple[float | None, ...], dict[int, list[Training]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for one in prints:
        by_bits[one.bits][one.seed].append(one)
    for by_seed in by_bits.values():
        for one in _minority([*by_seed.values()]):
            other = next(found[0] for seed, found in by_seed.items() if seed != one.seed)
            message = f"seed {one.seed} learnt to the last bit as seed {other.seed}"
            yield one.source.where, "error", "fingerprint", f"{message} of {other.source.name}"


def _near(ordered: Sequence[Training], one: Training) -> Iterator[Training]:
    """Yield those of one training with a fingerprint, from all by loss."""
    reach = 2 * SURELY * abs(one.loss)
    low = bisect_left(ordered, one.loss - reach, key=attrgetter("loss"))
    high = bisect_right(ordered, one.loss + reach, key=attrgetter("loss"))
    return (other for other in ordered[low:high] if _is_same(other, one))


def _is_same(one: Training, other: Training) -> bool:
    near = abs(one.loss - other.loss) <= SURELY * abs(one.loss)
    return near and one.accuracy == other.accuracy


def _minority(groups: Sequence[Sequence[Training]]) -> list[Training]:
    """Return the members of all groups but the one that has the most cells and machines."""
    if len(groups) < 2:
        return []
    sizes = [len({(one.cell, one.machine) for one in group}) for group in groups]
    most = Counter(sizes)[max(sizes)] == 1 and max(sizes)
    return [one for group, size in zip(groups, sizes, strict=True) if size != most for one in group]
