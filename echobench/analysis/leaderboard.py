"""From records to a leaderboard: what is let in, what is compared, who is ranked where."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echobench.analysis.comparison import ratios
from echobench.analysis.statistics import FEWEST_PAIRS, Estimate, censored_median, ratio
from echobench.plugin.manager import Plugins
from echobench.store import referee
from echobench.store.decoding import decoded
from echobench.store.reading import read_numbered
from echobench.store.referee import Finding
from echobench.trial.cell import Cell
from echobench.trial.record import Record, latest
from echobench.trial.trial import FIRST_TUNING_SEED

TARGET = "time_to_target_s"
COUNTED = ("reached", "missed", "timeout")
Field = tuple[str, str, str, str, int, str]
"""What is compared with each other: division, machine class, task, device, threads, source."""


@dataclass(frozen=True)
class Row:
    """A cell: one task on one backend and engine, over its seeds.

    Attributes:
        backend, engine: of the cell.
        versions: of the frameworks.
        records: the latest of each trial, those that count.
        reached: how many were certified.
        target: seconds to the certified target: the median with its interval.
        update_s: median seconds of an update; None where none was measured.
        digest: of the cell and its machine: names the file of its records.
    """

    backend: str
    engine: str
    versions: str
    records: list[Record]
    reached: int
    target: Estimate
    update_s: float | None
    digest: str


@dataclass
class Standing:
    """A row among its like.

    Attributes:
        row: the cell.
        rank: one more than there are rows shown to be faster; None without a median.
        against: compared with the row of the lowest median, pair by pair; None for that row.
        alone: whether it has nobody to be compared with.
    """

    row: Row
    rank: int | None
    against: Estimate | None
    alone: bool

    @property
    def verdict(self) -> str:
        """Return in words how the row stands to the one of the lowest median."""
        if self.rank is None:
            return "not ranked"
        if self.against is None:
            return "alone" if self.alone else "lowest median"
        value, low, high, pairs = self.against
        if value is None:
            return "no pair says which is faster"
        if low is None or high is None:
            few = f"{pairs} of {FEWEST_PAIRS} pairs that an interval needs"
            return f"tied: {few}"
        told = f"{value:.3g}x the time [{low:.3g}, {high:.3g}]"
        return told if self.against.excludes(1.0) else f"tied: {told}"


@dataclass
class Board:
    """What is on the site.

    Attributes:
        fields: standings, best first, by what they share.
        lines: each record's own line in its file, by the record's identity.
        refused: errors of the referee, one record each or several.
        records: how many were read.
        left_out: how many count for no row, by reason.
    """

    fields: dict[Field, list[Standing]]
    lines: dict[int, str]
    refused: list[Finding]
    records: int
    left_out: Counter[str] = field(default_factory=Counter)


def board(files: Sequence[Path], plugins: Plugins) -> Board:
    """Return the leaderboard of files of records.

    Args:
        files: JSON Lines files; what the referee finds an error in stays out.
        plugins: tasks that are installed here, whose closed recipes count.
    """
    found, count = referee.validate(files, plugins)
    refused = [finding for finding in found if finding.severity == "error"]
    bad = {finding.where for finding in refused}
    lines: dict[int, str] = {}
    records: list[Record] = []
    for path in files:
        # What is damaged the referee has counted.
        for line, record in read_numbered(path, decoded, lambda damage: None):
            if f"{path}:{line.number}" not in bad:
                lines[id(record)] = (line.raw or b"").decode().strip()
                records.append(record)
    left_out: Counter[str] = Counter()
    kept = []
    for record in records:
        why = _why_left_out(record)
        left_out[why or ""] += 1
        if not why:
            kept.append(record)
    del left_out[""]
    last = latest(sorted(kept, key=lambda record: record.started_at))
    if len(last) < len(kept):
        left_out["run again later"] = len(kept) - len(last)
    return Board(_fields(last), {id(r): lines[id(r)] for r in last}, refused, count, left_out)


def _why_left_out(record: Record) -> str | None:
    """Return why a record counts for no row, if it does not."""
    reasons = {
        "smoke runs": record.trial.quick,
        "seeds that a search used": record.seed >= FIRST_TUNING_SEED,
        "seeds trained together, without times of their own": record.is_replicate,
        "compiled programs kept": record.trial.cache,
        "parity gate failed": record.failed_parity,
        "unfinished, or not possible": record.status not in COUNTED,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _fields(records: Sequence[Record]) -> dict[Field, list[Standing]]:
    cells: dict[Field, dict[Cell, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        trial, machine = record.trial, record.machine_class
        where = (record.division, machine, record.task, record.device, trial.threads, trial.source)
        cells[where][record.cell].append(record)
    return {
        where: ranked([_row(cell, where[1], group) for cell, group in cells[where].items()])
        for where in sorted(cells)
    }


def _row(cell: Cell, machine: str, records: list[Record]) -> Row:
    first = records[0]
    seconds = [(r, r.time_to_target_s or _spent(r)) for r in records]
    hits = [s for r, s in seconds if r.status == "reached" and s is not None]
    misses = [s for r, s in seconds if r.status != "reached" and s is not None]
    updates = [r.seconds_per_update for r in records if r.seconds_per_update is not None]
    versions = first.trial.versions
    return Row(
        backend=first.backend,
        engine=first.engine,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        records=sorted(records, key=lambda r: r.seed),
        reached=len(hits),
        target=censored_median(hits, misses),
        update_s=_median(updates),
        digest=hashlib.sha256(f"{cell.text}\n{machine}".encode()).hexdigest()[:16],
    )


def _spent(record: Record) -> float:
    return (record.first_update_s or 0.0) + (record.train_s or 0.0)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def ranked(rows: Sequence[Row]) -> list[Standing]:
    """Return rows in order, each with its rank.

    Ordered by the median time, without one by successes. A row ranks behind those alone
    that are shown to be faster: by trials paired by seed and repeat, the whole interval of
    the ratio. Fewer than six pairs show nothing.
    """
    ordered = sorted(
        rows,
        key=lambda row: (
            row.target.value is None,
            row.target.value if row.target.value is not None else -row.reached,
            row.backend,
            row.engine,
            row.digest,
        ),
    )
    standings = []
    for row in ordered:
        against = [_against(other, row) for other in ordered if other is not row]
        faster = sum(found.low is not None and found.low > 1 for found in against)
        rank = None if row.target.value is None else 1 + faster
        first = None if row is ordered[0] else _against(ordered[0], row)
        standings.append(Standing(row, rank, first, alone=len(rows) == 1))
    return sorted(standings, key=lambda one: (one.rank is None, one.rank or 0))


def _against(a: Row, b: Row) -> Estimate:
    """Return the ratio b / a of the times to the target, over the trials that both have."""
    theirs = {_trial(record): record for record in a.records}
    pairs = [(theirs[at], record) for record in b.records if (at := _trial(record)) in theirs]
    found = ratios(pairs, TARGET).values
    return ratio(found) if len(found) else Estimate(None, None, None, 0)


def _trial(record: Record) -> tuple[int, int]:
    return record.seed, record.trial.repeat
