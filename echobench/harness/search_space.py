"""Where a search for a recipe looks, and which recipe it tries next.

Throughout, `batches` is the number of updates in an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from echobench.core.task import Recipe
from echobench.store.search_log import Candidate
from echobench.trial.trial import BUDGET

if TYPE_CHECKING:
    import optuna

REACH: dict[str, dict[str, tuple[int, int]]] = {
    "open": {
        "units": (4, 4),
        "sequences": (4, 4),
        "learning_rate": (4, 4),
        "decay": (4, 4),
        "evaluate_every": (8, 1),
    },
    "closed": {
        "units": (4, 4),
        "sequences": (4, 32),
        "learning_rate": (4, 32),
        "decay": (32, 1),
        "evaluate_every": (8, 1),
    },
}
"""Factors below and above the starting value. The best recipe lies near an open one; from a
closed one it lies towards more sequences, a higher rate and fewer updates. A time to target is
bounded by the evaluation before it, so evaluations never become rarer."""
SEARCHED = ("units", "sequences", "learning_rate", "warmup", "decay", "evaluate_every")
DIGITS = 2
"""Significant digits of a value that is tried; more would be noise, and hard to read."""
DRAWS = 100
"""Proposals already tried after which the search space counts as exhausted."""


class Range(NamedTuple):
    """The values that a field may have, both ends included.

    Attributes:
        low, high: the ends.
        whole: only whole numbers.
        log: search on a logarithmic scale.
    """

    low: float
    high: float
    whole: bool = True
    log: bool = True

    def holds(self, value: float) -> bool:
        """Return whether a value lies in the range."""
        return self.low <= value <= self.high

    def nearest(self, value: float) -> float:
        """Round a value to `DIGITS` digits within the range."""
        rounded = float(f"{value:.{DIGITS}g}")
        clipped = min(max(rounded, self.low), self.high)
        return round(clipped) if self.whole else clipped

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Return the range as optuna takes it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def starting_recipe(recipe: Recipe, batches: int, fixed: Collection[str] = ()) -> Recipe:
    """Return the recipe that a search starts from: the task's, with a schedule.

    A constant rate is made to decay over the whole budget, so that the length of the decay
    can be searched, unless it is among the fields that stay `fixed`.
    """
    if recipe.decay or "decay" in fixed:
        return recipe
    remaining = BUDGET * recipe.epochs * batches - recipe.warmup
    return recipe.model_copy(update={"decay": max(1, remaining)})


def search_ranges(recipe: Recipe, division: str, fixed: Collection[str] = ()) -> dict[str, Range]:
    """Return the range of each searched field, around the starting recipe of a division."""
    ranges: dict[str, Range] = {}
    for name in SEARCHED:
        value = getattr(recipe, name)
        if name == "warmup":
            # It may be zero, so its scale is linear; and it is short beside the shortest decay.
            down, _ = REACH[division]["decay"]
            ranges[name] = Range(0, max(4 * value, recipe.decay // (4 * down), 1), log=False)
            continue
        down, up = REACH[division][name]
        if isinstance(value, int):
            ranges[name] = Range(max(1, value // down), value * up)
        else:
            ranges[name] = Range(value / down, value * up, whole=False)
    return {name: ranges[name] for name in SEARCHED if name not in fixed}


def recipe_with(recipe: Recipe, values: Mapping[str, float], batches: int) -> Recipe:
    """Change fields of a recipe, and its epochs so that its budget ends with its schedule."""
    changed = Recipe.model_validate({**recipe.model_dump(), **values})
    if not changed.decay:
        return changed
    # After the schedule the rate is zero, so nothing more is learnt.
    epochs = math.ceil((changed.warmup + changed.decay) / (BUDGET * batches))
    return changed.model_copy(update={"epochs": epochs})


def next_recipe(
    start: Recipe, ranges: Mapping[str, Range], batches: int, tried: Sequence[Candidate]
) -> Recipe | None:
    """Return the recipe to try next; None if the search space is exhausted.

    First the starting recipe, then proposals of optuna's tree-structured Parzen estimator,
    of which the first ten are random. The result depends only on the arguments; candidates
    tried so far must be equal in all fields that have no range.
    """
    if all(candidate.recipe != start for candidate in tried):
        return start
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: where.distribution() for name, where in ranges.items()}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=len(tried)))
    for candidate in tried:
        values = {name: getattr(candidate.recipe, name) for name in ranges}
        if not all(ranges[name].holds(value) for name, value in values.items()):
            continue
        result: dict[str, Any] = {"value": candidate.objective}
        if candidate.objective is None:
            # Pruned counts as worse than any median; among these the more accurate is better.
            result = {
                "state": optuna.trial.TrialState.PRUNED,
                "intermediate_values": {0: 1.0 - candidate.accuracy},
            }
        study.add_trial(optuna.create_trial(params=values, distributions=distributions, **result))
    for _ in range(DRAWS):
        params = study.ask(distributions).params
        values = {name: ranges[name].nearest(value) for name, value in params.items()}
        recipe = recipe_with(start, values, batches)
        if all(candidate.recipe != recipe for candidate in tried):
            return recipe
    return None
