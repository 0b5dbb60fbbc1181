"""What is ahead of a run: its trials by cell, how long they take, and what cannot run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from echobench.harness.estimate import (
    HERE,
    SHIPPED,
    UNKNOWN,
    Estimate,
    JobCost,
    TrialCost,
    together,
)
from echobench.harness.forecast import Forecast
from echobench.text import counted, duration
from echobench.trial.trial import Trial


class Row(NamedTuple):
    """The trials of a task on a backend, with an engine, in a division.

    Attributes:
        to_run, done: numbers of trials.
        expected_s: None if unknown; of what is to run, one after the other.
        worst_s: the same at the time limits.
        source: of the expectation: `records`, `shipped` or `unknown`; empty where nothing is to
            run.
        unsupported: why trials that are done could not train, if they could not.
    """

    task: str
    backend: str
    engine: str
    division: str
    to_run: int
    done: int
    expected_s: float | None
    worst_s: float
    source: str
    unsupported: str | None


@dataclass(frozen=True)
class Outlook:
    """What is ahead of a run.

    Attributes:
        trials: the plan, in order; up to the first look where seeds are chosen while it runs.
        done: the status of each trial that need not run, by key.
        estimate: of the others.
        most: of all trials up to the last look; None where the number of seeds is fixed.
        side_by_side: how many jobs run at once; None if only the executor knows.
        executor: its name.
        budget_s: seconds after which no trial starts.
        left_out: backends that cannot run here, each with the reason.
        unsupported: why trials that are done could not train, by task, backend, engine and
            division.
    """

    trials: list[Trial]
    done: dict[str, str]
    estimate: Estimate
    most: Estimate | None
    side_by_side: int | None
    executor: str
    budget_s: float | None
    left_out: Mapping[str, str]
    unsupported: Mapping[str, str]

    @property
    def longest_s(self) -> float:
        """Return how long the run may be expected to take, each unknown trial at its limit."""
        estimate = self.most or self.estimate
        seconds = estimate.expected_s + estimate.unknown_worst_s / (self.side_by_side or 1)
        if self.budget_s is None:
            return seconds
        return max(estimate.expected_s, min(seconds, self.budget_s))  # what has begun outlasts it

    @property
    def at_limits(self) -> str | None:
        """Return in a line how long the run takes with each unknown trial at its limit.

        None where that is what is expected anyway, or the budget ends it.
        """
        if self.longest_s <= (self.most or self.estimate).expected_s:
            return None
        return f"with those of unknown length up to their limits: {duration(self.longest_s)}"

    @property
    def total(self) -> str:
        """Return in a line how many trials are to run, and how long they take."""
        if not self.estimate.trials:
            planned = f"{len(self.trials):,}"
            return f"nothing to run: {planned} of {planned} trials are done"
        text = total_text(self.estimate, self.budget_s)
        if self.side_by_side is None:
            text += (
                f", one after the other; {self.executor} runs as many at once as it has room for"
            )
        elif self.side_by_side > 1:
            text += f", {self.side_by_side} side by side"
        return text

    def rows(self) -> list[Row]:
        """Return the plan by cell, in the order of tasks, backends, engines and divisions."""
        costs: dict[tuple[str, ...], list[TrialCost]] = {}
        for job in self.estimate.jobs:
            for cost in job.trials:
                costs.setdefault(_names(cost.trial), []).append(cost)
        planned = Counter(map(_names, self.trials))
        done = Counter(_names(trial) for trial in self.trials if trial.key in self.done)
        return [
            _row(
                names,
                planned[names] - done[names],
                done[names],
                costs.get(names, ()),
                self.unsupported.get(" ".join(names)),
            )
            for names in sorted(planned)
        ]

    def in_order(self) -> list[tuple[Trial, str | None]]:
        """Return each trial: those that are done, with their status, then the others with None.

        These are in the order in which they start: the processes' order, and their turns.
        """
        done = [(trial, self.done[trial.key]) for trial in self.trials if trial.key in self.done]
        to_run = [(cost.trial, None) for job in self.estimate.jobs for cost in job.trials]
        return [*done, *to_run]

    def listed(self) -> list[dict[str, Any]]:
        """Return each trial for scripts, in the same order."""
        return [
            {
                "task": trial.label,
                "backend": trial.backend,
                "engine": trial.engine,
                "division": trial.division,
                "seed": trial.seed,
                "key": trial.key,
                "status": status,
            }
            for trial, status in self.in_order()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for scripts; seconds are numbers, None where they are unknown."""
        return {
            "trials": self.estimate.trials,
            "done": len(self.trials) - sum(row.to_run for row in self.rows()),
            **_numbers(self.estimate),
            "longest_s": self.longest_s,
            "up_to": None
            if self.most is None
            else {"trials": self.most.trials, **_numbers(self.most)},
            "budget_s": self.budget_s,
            "side_by_side": self.side_by_side,
            "cells": [row._asdict() for row in self.rows()],
            "left_out": dict(self.left_out),
        }

    def notes(self) -> Iterator[str]:
        """Yield what the table does not say, in lines."""
        rows = self.rows()
        sources = {row.source for row in rows if row.to_run}
        if HERE in sources:
            yield "expected: what the same or like trials in this folder took"
        if SHIPPED in sources:
            yield (
                "expected: what trials shipped with echobench took, scaled to this machine"
                + (", where this folder has none" if HERE in sources else "")
            )
        if UNKNOWN in sources:
            yield (
                "unknown: no such trial is recorded here or shipped; the total counts what is "
                "known of it, such as its start"
            )
        for row in rows:
            if row.unsupported is not None:
                yield f"{' '.join(row[:4])}: unsupported, {row.unsupported}"
        for name, why in self.left_out.items():
            yield f"{name}: not run here, {why}"


def total_text(estimate: Estimate, budget_s: float | None = None) -> str:
    """Return in words how many trials an estimate is of, and how long they take.

    Where a budget leaves some over, how long those take that begin.
    """
    count, unknown = estimate.trials, estimate.begun_unknown
    trials = f"{counted(count, 'trial')},"
    if budget_s is not None and estimate.begun < count:
        trials = (
            f"{count:,} trials, of which about {estimate.begun:,} "
            f"begin{'s' if estimate.begun == 1 else ''} within the budget of "
            f"{duration(budget_s)}:"
        )
    expected = f"{duration(estimate.expected_s)} expected"
    if unknown:
        expected = f"more than {expected} ({unknown:,} of unknown length)"
    return f"{trials} {expected}, {duration(estimate.worst_s)} at worst"


def took_text(
    estimate: Estimate,
    finished: Container[str],
    forecast: Forecast,
    side_by_side: int | None,
) -> str:
    """Return in words how long trials took, beside what was expected of them.

    Args:
        estimate: from before they began.
        finished: the keys of those that ran.
        forecast: from their beginning on.
        side_by_side: how many jobs ran at once; None if only the executor knows.
    """
    jobs = [[cost for cost in job.trials if cost.trial.key in finished] for job in estimate.jobs]
    known = together([JobCost(costs) for costs in jobs if costs], side_by_side or 1)
    trials = counted(known.trials, "trial")
    text = f"{trials} in {duration(forecast.worked_s)}"
    if forecast.waited_s >= 0.5:  # it is said in whole seconds
        text += f", without {duration(forecast.waited_s)} of waiting for cores"
    if side_by_side is None:
        return text
    return f"{text} ({'more than ' if known.unknown else ''}{duration(known.expected_s)} expected)"


def _names(trial: Trial) -> tuple[str, ...]:
    return trial.label, trial.backend, trial.engine, trial.division


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "expected_s": estimate.expected_s,
        "worst_s": estimate.worst_s,
        "unknown": estimate.unknown,
        "begun": estimate.begun,
    }


def _row(
    names: Sequence[str],
    to_run: int,
    done: int,
    costs: Sequence[TrialCost],
    unsupported: str | None,
) -> Row:
    task, backend, engine, division = names
    expected = [cost.expected_s for cost in costs]
    known = [seconds for seconds in expected if seconds is not None]
    sources = {cost.source for cost in costs}
    source = next((one for one in (UNKNOWN, SHIPPED, HERE) if one in sources), "")
    return Row(
        task,
        backend,
        engine,
        division,
        to_run,
        done,
        sum(known) if len(known) == len(expected) else None,
        sum(cost.worst_s for cost in costs),
        source,
        unsupported,
    )
