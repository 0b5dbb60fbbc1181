"""Foresee how long a plan takes, by what trials like its own took: recorded here, or shipped."""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from echobench.analysis.costs import Cost, History, Level, Place, history_here, shipped
from echobench.harness.references import References
from echobench.machine.calibration import calibrate
from echobench.trial.job import LONGEST_TURNS_S
from echobench.trial.record import Rates, Record
from echobench.trial.trial import Trial

HERE, SHIPPED, UNKNOWN = "records", "shipped", "unknown"
"""Where an expectation comes from."""


class Expected(NamedTuple):
    """What trials of a cell are expected to take, in seconds.

    Attributes:
        start_s: until a process has prepared its program; None if unknown.
        trial_s: for each trial of the process, or for all of them where they train together; None
            if unknown.
        reached: the share of trials that are certified.
        source: `records` of this folder, `shipped` medians, or `unknown`.
    """

    start_s: float | None
    trial_s: float | None
    reached: float
    source: str


class Span(NamedTuple):
    """When a trial begins and ends, in seconds after the start of its job.

    Attributes:
        begins_s: of the first trial of a process, when this process begins.
        ends_s: when its process has ended, if no further trial begins.
    """

    begins_s: float
    ends_s: float


@dataclass(frozen=True)
class TrialCost:
    """What a trial is expected to take, with its share of what its process takes beside trials.

    Attributes:
        trial: the trial.
        expected_s: None if unknown.
        known_s: the part of it that is known.
        worst_s: where the trial and each of its retries lasts to its time limit; of replicates,
            which have one limit together, a share of it.
        source: where the expectation comes from.
        span: when it is expected to begin and to end, as far as that is known.
    """

    trial: Trial
    expected_s: float | None
    known_s: float
    worst_s: float
    source: str
    span: Span


@dataclass(frozen=True)
class JobCost:
    """What a job is expected to take: its trials in the order they run, and their processes.

    A process that is at work for long leaves its other trials to a further one (`LONGEST_TURNS_S`).
    """

    trials: Sequence[TrialCost]

    @property
    def is_known(self) -> bool:
        """Whether all of it is known, and not a part of it."""
        return all(trial.expected_s is not None for trial in self.trials)

    @property
    def known_s(self) -> float:
        """Return the part of it that is known."""
        return self.trials[-1].span.ends_s

    @property
    def worst_s(self) -> float:
        """Return how long it takes where each trial lasts to its limit."""
        return sum(trial.worst_s for trial in self.trials)

    @property
    def worst_spans(self) -> list[Span]:
        """Return when its trials begin and end where each lasts to its limit."""
        if self.trials[0].trial.replicates:  # they begin and end together
            return [Span(0.0, self.worst_s)] * len(self.trials)
        ends = itertools.accumulate((trial.worst_s for trial in self.trials), initial=0.0)
        return [Span(*both) for both in itertools.pairwise(ends)]


@dataclass(frozen=True)
class Estimate:
    """What jobs are expected to take.

    Attributes:
        jobs: each with its cost, in the order in which they start.
        expected_s: seconds from the first start to the last end, of what is known.
        worst_s: the same at the time limits.
        begun: how many trials begin before the budget is spent; all without one.
        unknown: how many trials take nobody knows how long; they are in `expected_s` with what is
            known of them, such as their start.
        begun_unknown: how many of these begin before the budget is spent.
    """

    jobs: Sequence[JobCost]
    expected_s: float
    worst_s: float
    begun: int
    unknown: int
    begun_unknown: int

    @property
    def trials(self) -> int:
        """Return the number of trials."""
        return sum(len(job.trials) for job in self.jobs)

    @property
    def unknown_worst_s(self) -> float:
        """Return how long the trials of unknown length last at their limits, one by one."""
        trials = (trial for job in self.jobs for trial in job.trials)
        return sum(trial.worst_s for trial in trials if trial.expected_s is None)


class Estimator:
    """Expects of a trial what others like it took.

    How many epochs a trial takes, how long one of them takes and how long its process starts are
    looked up one by one, each from the nearest trials that say it (`Level`): for the epochs of any
    backend, for the start of the backend's other divisions and tasks. The records of this folder
    come before the shipped medians, which are scaled to this machine; for the start, those of
    another task come after the shipped ones of the same.

    Args:
        here: what trials in this folder took; it may be added to.
        references: what the trials are compared with; None where they are not.
        checked: whether certificates are judged and recipes rehearsed.
        retries: how often a failed trial runs again.
        rates: of this machine; they are measured if they are needed and None.
    """

    def __init__(
        self,
        here: History,
        references: References | None,
        *,
        checked: bool = True,
        retries: int = 0,
        rates: Rates | None = None,
    ) -> None:
        self._here = here
        self._references = references
        self._checked = checked
        self._retries = retries
        self._rates = rates or here.rates
        self._shipped: History | None = None
        self._known: dict[tuple[Place, int, float, bool], Expected] = {}

    def add(self, record: Record) -> None:
        """Take note of a record that is new."""
        self._here.add(record)
        self._known.clear()

    def jobs(self, groups: Iterable[Sequence[Trial]]) -> list[JobCost]:
        """Return what jobs cost, with what only the first of several pays.

        Args:
            groups: the trials of each job, in the order in which the jobs start.
        """
        compared: set[str] = set()
        rehearsed: set[Place] = set()
        return [self._job(group, compared, rehearsed) for group in groups]

    def estimate(
        self,
        groups: Iterable[Sequence[Trial]],
        *,
        side_by_side: int = 1,
        budget_s: float | None = None,
    ) -> Estimate:
        """Return what jobs are expected to take.

        Args:
            groups: the trials of each job, in the order in which the jobs start.
            side_by_side: how many run at once.
            budget_s: seconds after which no trial begins.
        """
        return together(self.jobs(groups), side_by_side, budget_s)

    def expected(self, trial: Trial) -> Expected:
        """Return what trials of a trial's cell are expected to take."""
        place = Place.of(trial)
        key = (place, trial.max_epochs, trial.timeout_s, trial.quick)
        if key not in self._known:
            self._known[key] = self._expected(trial, place)
        return self._known[key]

    def _expected(self, trial: Trial, place: Place) -> Expected:
        ends, ends_source = self._ends(trial, place)
        pace, pace_source = self._pace(place)
        start, start_source = self._start(place)
        reached = statistics.mean(one.status == "reached" for one in ends) if ends else 0.0
        epochs = _mean([one.epochs_of(trial) for one in ends])
        if epochs is None and trial.quick:
            epochs = trial.max_epochs  # too few to learn in
        if epochs is None or pace is None or start is None:
            return Expected(start, None, reached, UNKNOWN)
        sources = {ends_source, pace_source, start_source}
        trial_s = min(epochs * pace, trial.timeout_s)
        return Expected(start, trial_s, reached, SHIPPED if SHIPPED in sources else HERE)

    def _ends(self, trial: Trial, place: Place) -> tuple[Sequence[Cost], str]:
        """Return trials that say after how many epochs one like this ends, and their source."""
        for source, level in (
            (HERE, Level.SAME),
            (HERE, Level.CELL),
            (HERE, Level.TASK),
            (SHIPPED, Level.CELL),
            (SHIPPED, Level.TASK),
        ):
            found = self._costs(source, place, level)
            if telling := [one for one in found if one.epochs_of(trial) is not None]:
                return telling, source
        return (), HERE

    def _pace(self, place: Place) -> tuple[float | None, str]:
        """Return the seconds of an epoch, with its share of evaluating."""
        for source in (HERE, SHIPPED):
            for level in (Level.SAME, Level.CELL):
                if found := self._costs(source, place, level, "replicates"):
                    return sum(c.train_s for c in found) / sum(c.epochs for c in found), source
        return None, UNKNOWN

    def _start(self, place: Place) -> tuple[float | None, str]:
        """Return the seconds until a process trains."""
        for source, level in (
            (HERE, Level.SAME),
            (HERE, Level.CELL),
            (HERE, Level.PROGRAM),
            (SHIPPED, Level.CELL),
            (SHIPPED, Level.PROGRAM),
            (HERE, Level.BACKEND),
            (SHIPPED, Level.BACKEND),
        ):
            for field in ("cache", None):
                starts = [one.start_s for one in self._costs(source, place, level, field)]
                if known := [start for start in starts if start is not None]:
                    return statistics.median(known), source
        return None, UNKNOWN

    def _costs(
        self, source: str, place: Place, level: int, field: str | None = None
    ) -> Sequence[Cost]:
        history = self._here if source == HERE else self._medians(place)
        return history.costs(place, level, field)

    def _medians(self, place: Place) -> History:
        """Return the shipped medians, scaled to this machine by a measurement of it."""
        if self._shipped is None:
            if self._rates is None:
                self._rates = msgspec.convert(calibrate(place.threads), Rates)
            self._shipped = history_here(shipped(), self._rates)
        return self._shipped

    def _job(self, trials: Sequence[Trial], compared: set[str], rehearsed: set[Place]) -> JobCost:
        costs: list[TrialCost] = []
        for process in self._processes(trials):
            began_s = costs[-1].span.ends_s if costs else 0.0
            costs += self._process(process, began_s, compared, rehearsed)
        return JobCost(costs)

    def _processes(self, trials: Sequence[Trial]) -> Iterator[list[Trial]]:
        """Yield the trials of each process of a job, which leaves the rest after a while."""
        process: list[Trial] = []
        worked_s = 0.0
        for trial in trials:
            expected = self.expected(trial)
            if process and worked_s > LONGEST_TURNS_S and not trial.replicates:
                yield process
                process = []
            if not process:
                worked_s = expected.start_s or 0.0
            process.append(trial)
            worked_s += expected.trial_s or 0.0
        yield process

    def _process(
        self,
        trials: Sequence[Trial],
        began_s: float,
        compared: set[str],
        rehearsed: set[Place],
    ) -> list[TrialCost]:
        """Return what the trials of a process cost that begins so long after its job."""
        count, together = len(trials), trials[0].replicates > 0
        turns = 1 / count if together else 1  # that each trial has of its own
        before_s = self._before(trials[0], compared, rehearsed)
        after_s = self._after(trials)
        known = [self.expected(trial) for trial in trials]
        own = [turns * (expected.trial_s or 0.0) for expected in known]
        trained = [*itertools.accumulate(own, initial=began_s + before_s)]
        costs = []
        for place, (trial, expected) in enumerate(zip(trials, known, strict=True)):
            known_s = (before_s + after_s) / count + own[place]
            begins_s = trained[place] if place and not together else began_s
            ends_s = trained[-1 if together else place + 1] + after_s
            costs.append(
                TrialCost(
                    trial=trial,
                    expected_s=None if expected.trial_s is None else known_s,
                    known_s=known_s,
                    worst_s=turns * trial.timeout_s * (1 + self._retries),
                    source=expected.source,
                    span=Span(begins_s, ends_s),
                )
            )
        return costs

    def _before(self, trial: Trial, compared: set[str], rehearsed: set[Place]) -> float:
        """Return how long a process takes until its first trial trains."""
        place = Place.of(trial)
        return self._once(trial, place, compared, rehearsed) + (self.expected(trial).start_s or 0.0)

    def _after(self, trials: Sequence[Trial]) -> float:
        """Return what a process takes beside its trials and its start: its end, and the judge."""
        trial, place = trials[0], Place.of(trials[0])
        seconds = self._aside("other", place, len(trials)) or 0.0
        reached = self.expected(trial).reached
        if self._checked and not trial.quick and reached:
            judge_s = self._aside("judge", place, len(trials))
            if judge_s is None:
                judge_s = self._start_of_reference(trial)
            seconds += reached * judge_s
        return seconds

    def _once(self, trial: Trial, place: Place, compared: set[str], rehearsed: set[Place]) -> float:
        """Return what the first job pays for all of its task, and for all of its cell."""
        seconds = 0.0
        if self._references is None:
            return seconds
        task = f"{trial.label} {trial.division} {trial.recipe}"
        if task not in compared:
            compared.add(task)
            if self._references.lacks(trial):
                found = self._aside("reference", place)
                seconds += self._start_of_reference(trial) if found is None else found
        if self._checked and not trial.quick and place not in rehearsed:
            rehearsed.add(place)
            if not self._references.has_rehearsed(trial):
                found = self._aside("rehearsal", place)
                seconds += (self._start(place)[0] or 0.0) if found is None else found
        return seconds

    def _aside(self, name: str, place: Place, trials: int = 1) -> float | None:
        found = self._here.aside_s(name, place, trials)
        return self._medians(place).aside_s(name, place, trials) if found is None else found

    def _start_of_reference(self, trial: Trial) -> float:
        """Return how long the reference's process starts, for want of what it takes in all."""
        ours = None if self._references is None else self._references.of(trial)
        return 0.0 if ours is None else self._start(Place.of(ours))[0] or 0.0


def _mean(numbers: Sequence[int | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.mean(known) if known else None


def together(
    jobs: Sequence[JobCost], side_by_side: int = 1, budget_s: float | None = None
) -> Estimate:
    """Return what jobs take that start in order, so many side by side, as long as there is time."""
    spans = [[cost.span for cost in job.trials] for job in jobs]
    expected_s, begun = _last_end(spans, side_by_side, budget_s)
    worst_s, _ = _last_end([job.worst_spans for job in jobs], side_by_side, budget_s)
    begin = [cost for job, count in zip(jobs, begun, strict=True) for cost in job.trials[:count]]
    return Estimate(
        jobs=jobs,
        expected_s=expected_s,
        worst_s=worst_s,
        begun=len(begin),
        unknown=sum(cost.expected_s is None for job in jobs for cost in job.trials),
        begun_unknown=sum(cost.expected_s is None for cost in begin),
    )


def _last_end(
    jobs: Sequence[Sequence[Span]], side_by_side: int, budget_s: float | None
) -> tuple[float, list[int]]:
    """Return when the last of jobs ends, and how many trials of each begin within the budget."""
    free_at = [0.0] * side_by_side
    last, begun = 0.0, []
    for spans in jobs:
        at = free_at[0]
        within = [s for s in spans if budget_s is None or at + s.begins_s <= budget_s]
        begun.append(len(within))
        if within:
            end = at + within[-1].ends_s
            heapq.heapreplace(free_at, end)
            last = max(last, end)
    return last, begun
