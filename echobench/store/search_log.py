"""The log of a search: a line per candidate, beside the records of its trials."""

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
from echobench.store.folder import append_line
from echobench.store.reading import SEARCH, Complaints, read_lines
from echobench.trial.record import Record

Status = Literal["complete", "stopped", "missed", "failed"]


class SeedResult(BaseModel):
    """The result of a candidate with one tuning seed; see `Record` for the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    status: str
    reason: str | None = None
    time_to_target_s: float | None = None
    wall_to_target_s: float | None = None
    accuracy: float | None = None

    @classmethod
    def of(cls, record: Record) -> SeedResult:
        """Take the fields that a search needs from a record."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class Candidate(BaseModel):
    """A recipe that was tried.

    Attributes:
        number: of candidates tried before.
        objective: median seconds of training to the certified target over the seeds
            tried, a miss counting as longer than any hit; None if the median is a miss.
        status: `complete` with all seeds and a median; `stopped` early, with the median of
            those tried; `missed` without a median; `failed` if every trial failed.
        reason: why it was stopped, or failed.
        seeds: the result of each seed tried, in order.
        conditions: what must be equal for two candidates to be comparable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    recipe: Recipe
    objective: float | None
    status: Status
    reason: str | None = None
    seeds: list[SeedResult]
    started_at: str
    conditions: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """The lowest accuracy of its seeds, 0 for a seed without one."""
        return min(result.accuracy or 0.0 for result in self.seeds)


def objective(times: Sequence[float | None]) -> float | None:
    """Return the median of times to the target; None, a miss, is longer than any."""
    median = statistics.median(math.inf if time is None else time for time in times)
    return median if math.isfinite(median) else None


def best(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the complete candidate with the smallest objective, if any."""
    return next(iter(ranked(candidates)), None)


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the complete candidates, the best first."""
    complete = [candidate for candidate in candidates if candidate.status == "complete"]
    return sorted(complete, key=lambda candidate: candidate.objective or 0.0)


class SearchLog:
    """The candidates of one search; those under other conditions stay in the file, counted."""

    def __init__(self, folder: Path, conditions: dict[str, Any]) -> None:
        self.path = folder / SEARCH
        self.conditions = conditions
        everything: list[Candidate] = []
        if self.path.exists():
            with Complaints() as complain:
                everything = list(read_lines(self.path, _parse_candidate, complain))
        self.candidates = [one for one in everything if one.conditions == conditions]
        self.others = len(everything) - len(self.candidates)

    def append(self, candidate: Candidate) -> None:
        """Append a candidate, on disk when this returns; StorageError if it cannot be written."""
        try:
            with interrupts.shielded():
                append_line(self.path, candidate.model_dump_json())
        except OSError as error:
            raise StorageError(
                f"stopped at candidate {candidate.number}: {error.strerror} ({self.path}); earlier "
                "ones are kept; make room, and the same command resumes"
            ) from error
        self.candidates.append(candidate)


def _parse_candidate(line: bytes) -> Candidate:
    try:
        return Candidate.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "line"
        raise DamagedError(f"{where}: {problem['msg']}") from error
