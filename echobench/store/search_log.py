"""A search's log: a line for each candidate, beside the records of its trials."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from echobench import interrupts
from echobench.core.task import Recipe
from echobench.errors import DamagedError, StorageError
from echobench.store.appending import append_line
from echobench.store.reading import SEARCH, Complaints, read_lines
from echobench.trial.record import Record

SHOWN = 5
"""Candidates in the table, the best ones; the one to start from always."""


Status = Literal["complete", "stopped", "missed", "failed"]


class Outcome(BaseModel):
    """What came of a candidate with one tuning seed; see `Record` for the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    status: str
    reason: str | None = None
    time_to_target_s: float | None = None
    wall_to_target_s: float | None = None
    accuracy: float | None = None

    @classmethod
    def of(cls, record: Record) -> Outcome:
        """Return what a search needs of a record."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class Candidate(BaseModel):
    """A recipe that was tried.

    Attributes:
        number: how many were tried before.
        recipe: what was tried.
        objective: median seconds of training to the certified target over the seeds
            tried, a miss counted as longer than any hit; None where that is no time.
        status: `complete` with all seeds and a median; `stopped` early, with the median of
            those tried; `missed` without a median; `failed` where no trial came to an end.
        reason: why it was stopped, or failed.
        seeds: what came of each seed tried, in order.
        started_at: in UTC.
        conditions: what must be equal for two candidates to be compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    recipe: Recipe
    objective: float | None
    status: Status
    reason: str | None = None
    seeds: list[Outcome]
    started_at: str
    conditions: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """The worst seed's; 0 where one has none."""
        return min(outcome.accuracy or 0.0 for outcome in self.seeds)


def objective(times: Sequence[float | None]) -> float | None:
    """Return the median of times to the target, None being a miss: longer than any."""
    median = statistics.median(math.inf if time is None else time for time in times)
    return median if math.isfinite(median) else None


def best(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the complete candidate with the least objective, if there is one."""
    return next(iter(ranked(candidates)), None)


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the complete candidates, the best first."""
    complete = [one for one in candidates if one.status == "complete"]
    return sorted(complete, key=lambda one: one.objective or 0.0)


class SearchLog:
    """The candidates of one search; those under other conditions stay in the file.

    Args:
        folder: of the search's records.
        conditions: what a candidate must have been tried under.
    """

    def __init__(self, folder: Path, conditions: dict[str, Any]) -> None:
        self.path = folder / SEARCH
        self.conditions = conditions
        everything = _read(self.path) if self.path.exists() else []
        self.candidates = [one for one in everything if one.conditions == conditions]
        self.others = len(everything) - len(self.candidates)

    def append(self, candidate: Candidate) -> None:
        """Keep a candidate: one line, on disk when this returns.

        Raises:
            StorageError: it cannot be written; its trials' records stay.
        """
        try:
            with interrupts.shielded():
                append_line(self.path, candidate.model_dump_json())
        except OSError as error:
            raise StorageError(
                f"stopped at candidate {candidate.number}: {error.strerror} ({self.path}); earlier "
                "ones are kept; make room, and the same command resumes"
            ) from error
        self.candidates.append(candidate)


def _read(path: Path) -> list[Candidate]:
    with Complaints() as complain:
        return list(read_lines(path, _candidate, complain))


def _candidate(line: bytes) -> Candidate:
    try:
        return Candidate.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "line"
        raise DamagedError(f"{where}: {problem['msg']}") from error


def shown(
    candidates: Sequence[Candidate], start: Recipe, fields: Sequence[str]
) -> list[dict[str, str]]:
    """Return the table of the best candidates and of the one to start from.

    Args:
        candidates: all of a search.
        start: the recipe that it started from.
        fields: of the recipe, to show.
    """
    chosen = ranked(candidates)[:SHOWN]
    chosen += [one for one in candidates if one.recipe == start and one not in chosen]
    return [
        {
            "candidate": str(one.number),
            "time to target": seconds(one.objective),
            "seeds": ", ".join(_hit(outcome) for outcome in one.seeds),
            **{name.replace("_", " "): f"{getattr(one.recipe, name):g}" for name in fields},
            "note": "start" if one.recipe == start else "",
        }
        for one in chosen
    ]


def sentence(candidate: Candidate) -> str:
    """Say what came of a candidate: how it ended, and its seeds' seconds to the target."""
    times = ", ".join(_hit(outcome) for outcome in candidate.seeds)
    if candidate.status == "complete":
        return f"{seconds(candidate.objective)} ({times})"
    why = f", {candidate.reason}" if candidate.status in {"stopped", "failed"} else ""
    return f"{candidate.status}{why} ({times})"


def seconds(value: float | None) -> str:
    """Return a time as people read it; empty where there is none."""
    return "" if value is None else f"{value:.3g} s"


def _hit(outcome: Outcome) -> str:
    return outcome.status if outcome.time_to_target_s is None else f"{outcome.time_to_target_s:.3g}"
