"""The leaderboard: which records count, which rows are compared, and their ranks."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from echobench.analysis.frame import crashed, frame
from echobench.analysis.pairs import SECONDS_PER_UPDATE, Decision, Verdict, judge, median, pair
from echobench.analysis.statistics import Estimate, times
from echobench.plugin.manager import Plugins
from echobench.store import referee
from echobench.store.reading import decoded, read_numbered
from echobench.store.referee import Finding
from echobench.store.rules import doubts, lacks_rehearsal
from echobench.trial.cell import Cell
from echobench.trial.declared import Shortfall, declaration, shortfall
from echobench.trial.record import COUNTED, Record, cells_of, latest
from echobench.trial.trial import FIRST_TUNING_SEED


class Field(NamedTuple):
    """What the rows of one table share: only they are compared with each other.

    `certificate` says in words what one says: its bound, that it is of a whole test set, or the old
    rule, by which 1,000 sequences certify at every attempt. `environment` has the variables that
    workers were given.
    """

    division: str
    machine: str
    task: str
    device: str
    threads: int
    smt: bool
    side_by_side: int
    source: str
    certificate: str
    environment: str = ""


@dataclass(frozen=True)
class LeaderboardRow:
    """A cell on one class of machine, over its seeds.

    Attributes:
        records: the latest of each trial, by seed; `trials` has the same as a frame.
        reached: how many were certified; the others missed, or crashed by themselves.
        target: median seconds to the certified target, with its interval.
        update_s: median seconds of an update; None where none was measured.
        digest: of the cell and its machine; names the file of its records.
        missing: the trials that were declared and are not there; None if all are.
        notes: what a reader should know of its conditions and its records.
    """

    backend: str
    engine: str
    versions: str
    records: list[Record]
    trials: pd.DataFrame
    reached: int
    target: Estimate
    update_s: float | None
    digest: str
    missing: Shortfall | None
    notes: list[str]


@dataclass(frozen=True)
class Standing:
    """A row among those it is compared with.

    Its rank is 1 plus the number of ranked rows shown to be faster; None without a median, or if
    trials are missing. It is judged `against` the ranked row of the lowest median, unless it is
    that row itself, or `alone`.
    """

    row: LeaderboardRow
    rank: int | None
    against: Verdict | None
    alone: bool

    @property
    def words(self) -> str:
        """Return in words how the row compares with the one of the lowest median."""
        if self.rank is None:
            return f"not ranked: {self.row.missing.short}" if self.row.missing else "not ranked"
        if self.against is None:
            return "alone" if self.alone else "lowest median"
        ratio = self.against.ratio
        if ratio.value is None:
            return "no pair says which is faster"
        if self.against.decision is Decision.FEW:
            return f"tied: {self.against.too_few}"
        if ratio.value == np.inf:
            return "never arrives"
        text = f"{times(ratio.value)}x the time {ratio.interval}"
        return text if self.against.has_winner else f"tied: {text}"


@dataclass
class Board:
    """The content of the site: standings, best first, by what they share.

    Attributes:
        lines: each record's own line in its file, by the record's identity.
        refused: errors that the referee found, one or several for each refused record.
        records: how many were read.
        left_out: how many count for no row, by reason.
    """

    fields: dict[Field, list[Standing]]
    lines: dict[int, str]
    refused: list[Finding]
    records: int
    left_out: Counter[str] = field(default_factory=Counter)


def board(files: Sequence[Path], plugins: Plugins) -> Board:
    """Return the leaderboard of files of records; those that the referee refuses stay out."""
    findings, count = referee.validate(files, plugins)
    refused = [finding for finding in findings if finding.severity == "error"]
    bad = {finding.where for finding in refused}
    lines: dict[int, str] = {}
    records: list[Record] = []
    left_out: Counter[str] = Counter()
    for path in files:
        # Damaged lines are among the referee's findings.
        for line, record in read_numbered(path, decoded, lambda damage: None):
            if f"{path}:{line.number}" in bad:
                continue
            why = _why_left_out(record)
            if why:
                left_out[why] += 1
            else:
                lines[id(record)] = (line.raw or b"").decode().strip()
                records.append(record)
    last = latest(sorted(records, key=lambda record: record.started_at))
    if len(last) < len(records):
        left_out["run again later"] = len(records) - len(last)
    return Board(_fields(last), {id(r): lines[id(r)] for r in last}, refused, count, left_out)


def _why_left_out(record: Record) -> str | None:
    """Return why a record counts for no row; None if it counts."""
    reasons = {
        "smoke runs": record.trial.quick,
        "seeds that a search used": record.seed >= FIRST_TUNING_SEED,
        "seeds trained together, without times of their own": record.is_replicate,
        "compiled programs kept": record.trial.cache,
        "contradicted by the parity gate, the fingerprint, the judge or the clock": (
            record.contradiction is not None
        ),
        "not compared with a reference": record.unchecked,
        "their warm-up, decay and clipping not compared with the reference's": (
            lacks_rehearsal(record)
        ),
        "certificates that were not judged": record.unjudged,
        "fingerprints that were not compared": record.uncompared,
        "not possible there, or stopped from outside": record.status not in COUNTED
        and not crashed(record),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _fields(records: Sequence[Record]) -> dict[Field, list[Standing]]:
    cells: dict[Field, dict[Cell, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record, cell in zip(records, cells_of(records), strict=True):
        source = f"{cell.source} {cell.task_source}".strip()
        conditions = (
            cell.label, cell.device, cell.threads, cell.smt, cell.side_by_side, source,
            cell.certificate, cell.variables,
        )  # fmt: skip # it reads better
        shared = Field(cell.division, record.machine_class, *conditions)
        cells[shared][cell].append(record)
    return {
        shared: ranked([row_of(members, cell, shared.machine) for cell, members in group.items()])
        for shared, group in sorted(cells.items(), key=lambda item: item[0])
    }


def row_of(records: Sequence[Record], cell: Cell, machine: str = "") -> LeaderboardRow:
    """Return the row of a cell's records, of each trial the latest."""
    records = sorted(records, key=lambda record: record.seed)
    trials = frame(records)
    versions = records[0].trial.versions  # the framework first; a cell has them sorted
    return LeaderboardRow(
        backend=cell.backend,
        engine=cell.engine,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        records=records,
        trials=trials,
        reached=int((trials.status == "reached").sum()),
        target=median(trials),
        update_s=median(trials, SECONDS_PER_UPDATE).value,
        digest=hashlib.sha256(f"{cell.text}\n{machine}".encode()).hexdigest()[:16],
        missing=shortfall((declaration(r), r.seed, r.trial.repeat) for r in records),
        notes=_notes(records),
    )


def _notes(records: Sequence[Record]) -> list[str]:
    """Return what the referee doubts, each with the number of records."""
    counts = Counter(doubt for record in records for _, doubt in doubts(record))
    return [
        doubt if count == len(records) else f"{doubt} ({count} of {len(records)})"
        for doubt, count in counts.most_common()
    ]


def ranked(rows: Sequence[LeaderboardRow]) -> list[Standing]:
    """Return rows with their ranks, best first.

    They are ordered by the median time, those without one by their successes. A row ranks
    behind those that are shown to be faster, and no others. One with fewer trials than were
    declared is not ranked, and outranks nobody: the missing ones may have been slow.
    """
    ordered = sorted(
        rows,
        key=lambda row: (
            row.missing is not None,
            row.target.value is None,
            row.target.value if row.target.value is not None else -row.reached,
            row.backend,
            row.engine,
            row.digest,
        ),
    )
    rivals = [row for row in ordered if row.missing is None]
    standings = []
    for row in ordered:
        others = [judge(pair(other.trials, row.trials)) for other in rivals if other is not row]
        faster = sum(verdict.decision is Decision.FIRST for verdict in others)
        rank = None if row.target.value is None or row.missing else 1 + faster
        first = not others or row is rivals[0]
        against = None if first else others[0]
        standings.append(Standing(row, rank, against, alone=len(rivals) == 1))
    return sorted(standings, key=lambda one: (one.rank is None, one.rank or 0))
