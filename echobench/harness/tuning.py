"""A search for an open recipe: one candidate after the other, each on the tuning seeds.

What is asked next follows from the log alone, so that a search that was interrupted goes on
as if nothing had been. Hopeless candidates end early, in two ways: a trial may take `LIMIT`
times as long as the best candidate's slowest one, from process start to certificate; and no
further seed is run of a candidate once one was clearly worse (`why_stop`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from echobench.core.task import Recipe, Task
from echobench.errors import TrainingError, UnknownNameError, UsageError
from echobench.harness import ranges
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan, resolve
from echobench.harness.proposals import proposal
from echobench.harness.ranges import SEARCHED, Range
from echobench.machine import facts
from echobench.plugin.manager import Plugins
from echobench.store.search_log import Candidate, Outcome, SearchLog, Status, best, objective
from echobench.trial.record import Record, machine_class
from echobench.trial.selectors import default_recipe, division_of, label
from echobench.trial.trial import BUDGET, FIRST_TUNING_SEED, Trial

LIMIT = 3
CLEARLY = 2
"""A seed that takes more than this many times the best median so far is clearly worse."""


@dataclass(frozen=True)
class Question:
    """What is searched for.

    Attributes:
        task: with its parameters.
        division: whose recipe the search starts from.
        recipe: the one it starts from.
        ranges: where it looks, by field.
        trials: of that recipe, one a tuning seed.
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
        return self.task.framing.samples // self.recipe.batch

    @property
    def conditions(self) -> dict[str, Any]:
        """What must be equal for two candidates to be compared."""
        told = {
            "task", "parameters", "backend", "engine", "device", "threads", "timeout_s",
            "versions", "source",
        }  # fmt: skip # one line reads better
        unsearched = set(Recipe.model_fields) - {*self.ranges, "epochs"}
        return {
            **self.trials[0].model_dump(mode="json", include=told),
            "recipe": self.recipe.model_dump(mode="json", include=unsearched),
            "seeds": [trial.seed for trial in self.trials],
            "machine": machine_class(facts.machine_facts()),
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
            "sustain": 0,  # whether 100% lasts is looked at when the recipe is reported
        }
        return [trial.model_copy(update=changes) for trial in self.trials]


def question(
    selector: str, fixed: Mapping[str, str], selection: Selection, plugins: Plugins
) -> Question:
    """Return what is searched for.

    Args:
        selector: the task as `--task` takes it.
        fixed: fields of the recipe that are not searched, and their values.
        selection: backend, engine and limits; its task, division and first seed are ours.
        plugins: where task and backend come from.

    Raises:
        UsageError: a name, parameter or number that cannot be.
    """
    for name in fixed:
        if name not in SEARCHED:
            raise UnknownNameError("field of the search", name, SEARCHED)
    if fixed:
        inside = ",".join(f"{name}={value}" for name, value in fixed.items())
        selector = selector.strip()
        selector = f"{selector[:-1]},{inside}]" if selector[-1:] == "]" else f"{selector}[{inside}]"
    _, task, _ = resolve(selector, "closed", plugins)
    division = "closed" if task.recipe("open") is None else "open"
    _, task, recipe = resolve(selector, division, plugins)
    recipe = ranges.start(recipe, task.framing.samples // recipe.batch, fixed)
    chosen = {"tasks": [selector], "divisions": [division], "first_seed": FIRST_TUNING_SEED}
    trials = plan(selection.model_copy(update=chosen), plugins)
    return Question(task, division, recipe, ranges.ranges(recipe, division, fixed), trials)


def search(
    asked: Question, matrix: Matrix, log: SearchLog, watcher: Watcher, most: int | None = None
) -> Iterator[Candidate]:
    """Try candidates until there are enough, or the matrix' deadline has passed; yield each.

    Each is in the log when it is yielded, and each trial's record in the matrix' store.

    Args:
        asked: what is searched for.
        matrix: runs and keeps the trials.
        log: of the candidates so far.
        watcher: told of each trial.
        most: candidates, those in the log included; None for as many as there is time for.

    Raises:
        TrainingError: the first recipe fails, for another reason than missing the target.
        StorageError: the folder takes no more; what it holds stays.
    """
    done = matrix.store.done(facts.machine_facts(), also=("timeout",))
    while most is None or len(log.candidates) < most:
        recipe = proposal(asked.recipe, asked.ranges, asked.batches, log.candidates)
        number = len(log.candidates)
        if recipe is None or time.monotonic() > matrix.deadline:
            return
        about = {
            "seeds": {"rule": "a search's own, never reported", "first": FIRST_TUNING_SEED},
            "search": {"candidate": number},
        }
        matrix.options = matrix.options.model_copy(update={"about": about})

        def run(trial: Trial) -> Record | None:
            before = done.get(trial.key)
            if before is not None and not _had_less_time(before, trial):
                return before
            return next(iter([*matrix.run([trial], watcher)]), None)

        candidate = _tried(asked, number, recipe, log, run)
        if candidate is None:
            return  # out of budget amid its seeds, which are recorded
        if recipe == asked.recipe and candidate.status == "failed":
            raise TrainingError(
                f"{asked.label(recipe)}, from which the search starts, failed: {candidate.reason}; "
                f"its log is in {matrix.store.logs}"
            )
        log.append(candidate)
        yield candidate


def time_limit(leader: Candidate | None, longest: float) -> float:
    """Return how many seconds a trial may take, given the best candidate so far.

    Args:
        leader: the best so far, if there is one.
        longest: what no trial may exceed.
    """
    if leader is None:
        return longest
    return min(longest, LIMIT * max(outcome.wall_to_target_s or 0.0 for outcome in leader.seeds))


def why_stop(
    times: Sequence[float | None], seeds: int, leader: Candidate | None = None
) -> str | None:
    """Return why a candidate's further seeds are not worth running; None where they are.

    Args:
        times: of its seeds so far, None where one missed.
        seeds: how many there are.
        leader: the best candidate so far, if there is one.
    """
    if len(times) == seeds:
        return None
    hoped_for = [*times, *[0.0] * (seeds - len(times))]
    if objective(hoped_for) is None:
        return "too many seeds missed for a median"
    if leader is None or leader.objective is None:
        return None
    if times[-1] is None:
        return "a seed missed"
    if times[-1] > CLEARLY * leader.objective:
        return f"a seed took more than {CLEARLY} times the best median"
    return None


def _tried(
    asked: Question,
    number: int,
    recipe: Recipe,
    log: SearchLog,
    run: Callable[[Trial], Record | None],
) -> Candidate | None:
    """Run a candidate's seeds; None when there was no time for one of them."""
    leader = best(log.candidates)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    outcomes: list[Outcome] = []
    reason = None
    for trial in asked.trials_of(recipe, time_limit(leader, asked.trials[0].timeout_s)):
        record = run(trial)
        if record is None:
            return None
        outcomes.append(Outcome.of(record))
        reason = why_stop([one.time_to_target_s for one in outcomes], len(asked.trials), leader)
        if reason is not None:
            break
    median = objective([one.time_to_target_s for one in outcomes])
    status: Status = "complete" if reason is None else "stopped"
    if median is None:
        ended = any(one.status in {"missed", "timeout"} for one in outcomes)
        status, reason = ("missed", reason) if ended else ("failed", outcomes[-1].reason)
    return Candidate(
        number=number,
        recipe=recipe,
        objective=median,
        status=status,
        reason=reason,
        seeds=outcomes,
        started_at=started_at,
        conditions=log.conditions,
    )


def _had_less_time(record: Record, trial: Trial) -> bool:
    return record.status == "timeout" and record.trial["timeout_s"] < trial.timeout_s


def usable(name: str | None, plugins: Plugins) -> str:
    """Return the name of the backend to search on: the reference one, where none is named.

    Raises:
        UsageError: there is none of that name, or it cannot train here.
    """
    if name is None:
        found = [name for name, one in plugins.backends.items() if one.value.reference]
        if not found:
            raise UsageError("expected --backend: no installed one is the reference")
        name = found[0]
    backend = plugins.backend(name).value
    reason = backend.why_no_training() or backend.why_unavailable()
    if reason is not None:
        raise UsageError(f"--backend {name}: {reason}")
    return name
