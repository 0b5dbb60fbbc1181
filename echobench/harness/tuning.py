"""Search for an open recipe: candidate after candidate, each run with the tuning seeds.

The next candidate depends only on the log, so an interrupted search resumes exactly.
Hopeless candidates end early, in two ways: a trial may take `LIMIT` times as long as the best
candidate's slowest one, from process start to certificate; and once a seed is clearly worse,
a candidate's further seeds are not run (`why_stop`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from echobench.core.experiment import updates_per_epoch
from echobench.core.task import Recipe, Task
from echobench.errors import TrainingError, UnknownNameError, UsageError
from echobench.harness.asking import resolve
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.harness.search_space import (
    SEARCHED,
    Range,
    next_recipe,
    search_ranges,
    starting_recipe,
)
from echobench.machine import facts
from echobench.plugin.manager import Plugins
from echobench.store.search_log import Candidate, SearchLog, SeedResult, Status, best, objective
from echobench.trial.record import Record
from echobench.trial.selectors import default_recipe, division_of, label
from echobench.trial.trial import BUDGET, FIRST_TUNING_SEED, Trial

LIMIT = 3
SPENT = "--budget is spent; the same command goes on from here"
CLEARLY = 2
"""A seed that takes more than this many times the best median so far is clearly worse."""


@dataclass(frozen=True)
class Search:
    """What to search, and where.

    Attributes:
        task: with its parameters.
        division: of the task's recipe that the search starts from.
        recipe: the starting recipe.
        ranges: of the searched fields.
        trials: of the starting recipe, one for each tuning seed.
    """

    task: Task
    division: str
    recipe: Recipe
    ranges: dict[str, Range]
    trials: list[Trial]

    @property
    def name(self) -> str:
        """The task with its parameters, as `--task` takes it."""
        return self.label(default_recipe(self.task, self.division) or self.recipe)

    @property
    def batches(self) -> int:
        """Updates of an epoch."""
        return updates_per_epoch(self.task.framing.samples, self.recipe)

    @property
    def conditions(self) -> dict[str, Any]:
        """What must be equal for two candidates to be comparable."""
        compared = {
            "task", "parameters", "backend", "engine", "device", "threads", "timeout_s",
            "versions", "source", "task_source", "backend_source",
        }  # fmt: skip # one line reads better
        unsearched = set(Recipe.model_fields) - {*self.ranges, "epochs"}
        environment = self.trials[0].environment
        return {
            **self.trials[0].model_dump(mode="json", include=compared),
            **({"smt": True} if self.trials[0].smt else {}),  # older searches have no such key
            **({"environment": environment} if environment else {}),  # older logs have none
            "recipe": self.recipe.model_dump(mode="json", include=unsearched),
            "seeds": [trial.seed for trial in self.trials],
            "machine": facts.machine_of(self.trials[0].device).kind,
        }

    def label(self, recipe: Recipe) -> str:
        """Return the task with a recipe, as `--task` takes it."""
        return label(self.task, recipe, self.division)

    def trials_of(self, recipe: Recipe, timeout_s: float) -> list[Trial]:
        """Return the trials of a candidate."""
        changes = {
            "recipe": recipe,
            "label": self.label(recipe),
            "division": division_of(self.task, recipe, self.division),
            "max_epochs": BUDGET * recipe.epochs,
            "timeout_s": timeout_s,
            "sustain": 0,  # checked later, when the recipe is run to be reported
        }
        return [trial.model_copy(update=changes) for trial in self.trials]


def plan_search(
    selector: str, fixed: Mapping[str, str], selection: Selection, plugins: Plugins
) -> Search:
    """Plan a search for a recipe of the task that `--task` names so.

    Args:
        selector: the task.
        fixed: values of fields of the recipe that are not searched.
        selection: backend, engine and limits; its tasks, divisions and first seed are replaced.
        plugins: provide the task and the backend.

    Raises:
        UsageError: a name, parameter or number is invalid.
    """
    for name in fixed:
        if name not in SEARCHED:
            raise UnknownNameError("field of the search", name, SEARCHED)
    if fixed:
        values = ",".join(f"{name}={value}" for name, value in fixed.items())
        selector = selector.strip()
        selector = f"{selector[:-1]},{values}]" if selector[-1:] == "]" else f"{selector}[{values}]"
    _, task, _ = resolve(selector, "closed", plugins)
    division = "closed" if task.recipe("open") is None else "open"
    _, task, recipe = resolve(selector, division, plugins)
    recipe = starting_recipe(recipe, updates_per_epoch(task.framing.samples, recipe), fixed)
    changes = {"tasks": [selector], "divisions": [division], "first_seed": FIRST_TUNING_SEED}
    trials = plan(selection.model_copy(update=changes), plugins)
    return Search(task, division, recipe, search_ranges(recipe, division, fixed), trials)


def run_search(
    search: Search,
    matrix: Matrix,
    log: SearchLog,
    watcher: Watcher,
    say: Callable[[str], None],
    max_candidates: int | None = None,
) -> Iterator[Candidate]:
    """Try candidates until there are enough or the matrix' deadline passes; yield each.

    A candidate is in the log when it is yielded, and its trials' records in the matrix' store.
    `max_candidates` includes those that are in the log already. Why the search ends is said.

    Raises:
        TrainingError: the first recipe fails, other than by missing the target.
        StorageError: the folder cannot be written; records in it are kept.
    """
    machine = facts.machine_of(search.trials[0].device)
    done = matrix.store.done(machine, also=("timeout",))
    while max_candidates is None or len(log.candidates) < max_candidates:
        recipe = next_recipe(search.recipe, search.ranges, search.batches, log.candidates)
        number = len(log.candidates)
        if recipe is None:
            say("the search ends: no other recipe is in its ranges; --fix fewer fields for more")
            return
        if time.monotonic() > matrix.deadline:
            say(f"the search ends: {SPENT}")
            return
        about = {
            "seeds": {"rule": "a search's own, never reported", "first": FIRST_TUNING_SEED},
            "search": {"candidate": number},
        }
        matrix.options = matrix.options.model_copy(update={"about": about})

        def run(trial: Trial) -> Record | None:
            record = done.get(trial.key)
            if record is not None and not _had_less_time(record, trial):
                return record
            return next(iter([*matrix.run([trial], watcher)]), None)

        candidate = _try_recipe(search, number, recipe, log, run)
        if candidate is None:
            say(f"the search ends among the seeds of candidate {number}: {SPENT}")
            return
        if recipe == search.recipe and candidate.status == "failed":
            raise TrainingError(
                f"{search.label(recipe)}, from which the search starts, failed: "
                f"{candidate.reason}; its log is in {matrix.store.logs}"
            )
        log.append(candidate)
        yield candidate
    say(f"the search ends: {len(log.candidates)} candidates are tried, as --candidates asks")


def time_limit(leader: Candidate | None, longest: float) -> float:
    """Return how many seconds a trial may take, given the best candidate so far."""
    if leader is None:
        return longest
    return min(longest, LIMIT * max(result.wall_to_target_s or 0.0 for result in leader.seeds))


def why_stop(
    times: Sequence[float | None], seeds: int, leader: Candidate | None = None
) -> str | None:
    """Return why a candidate's further seeds are not worth running; None if they are.

    Args:
        times: of its seeds so far, None for a miss.
        seeds: number of seeds of a candidate.
        leader: the best candidate so far.
    """
    if len(times) == seeds:
        return None
    best_case = [*times, *[0.0] * (seeds - len(times))]
    if objective(best_case) is None:
        return "too many seeds missed for a median"
    if leader is None or leader.objective is None:
        return None
    if times[-1] is None:
        return "a seed missed"
    if times[-1] > CLEARLY * leader.objective:
        return f"a seed took more than {CLEARLY} times the best median"
    return None


def _try_recipe(
    search: Search,
    number: int,
    recipe: Recipe,
    log: SearchLog,
    run: Callable[[Trial], Record | None],
) -> Candidate | None:
    """Run a candidate's seeds; None if the time was up before one of them."""
    leader = best(log.candidates)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    results: list[SeedResult] = []
    reason = None
    for trial in search.trials_of(recipe, time_limit(leader, search.trials[0].timeout_s)):
        record = run(trial)
        if record is None:
            return None
        results.append(SeedResult.of(record))
        times = [result.time_to_target_s for result in results]
        reason = why_stop(times, len(search.trials), leader)
        if reason is not None:
            break
    median = objective([result.time_to_target_s for result in results])
    status: Status = "complete" if reason is None else "stopped"
    if median is None:
        missed = any(result.status in {"missed", "timeout"} for result in results)
        status, reason = ("missed", reason) if missed else ("failed", results[-1].reason)
    return Candidate(
        number=number,
        recipe=recipe,
        objective=median,
        status=status,
        reason=reason,
        seeds=results,
        started_at=started_at,
        conditions=log.conditions,
    )


def _had_less_time(record: Record, trial: Trial) -> bool:
    return record.status == "timeout" and record.trial.timeout_s < trial.timeout_s


def search_backend(name: str | None, plugins: Plugins) -> str:
    """Return the backend to search on: the named one, or the reference.

    Raises:
        UsageError: there is none, or it cannot train here.
    """
    if name is None:
        references = [name for name, one in plugins.backends.items() if one.value.reference]
        if not references:
            raise UsageError("expected --backend: no installed one is the reference")
        name = references[0]
    backend = plugins.backends[name].value
    reason = backend.why_no_training() or backend.why_unavailable()
    if reason is not None:
        raise UsageError(f"--backend {name}: {reason}")
    return name
