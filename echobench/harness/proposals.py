"""What a search tries next, asked of optuna; it follows from what was tried alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echobench.core.task import Recipe
from echobench.harness import ranges
from echobench.harness.ranges import Range
from echobench.store.search_log import Candidate

if TYPE_CHECKING:
    import optuna

TRIES = 100
"""Draws after which no recipe is left that was not tried."""


def proposal(
    start: Recipe, where: Mapping[str, Range], batches: int, tried: Sequence[Candidate]
) -> Recipe | None:
    """Return what to try next; None when nothing is left in the ranges.

    First the recipe to start from, then what optuna's sampler asks for: a tree-structured
    Parzen estimator, random for the first ten.

    Args:
        start: the recipe to start from.
        where: ranges by field.
        batches: updates of an epoch.
        tried: candidates so far, equal in all fields that have no range.
    """
    if all(one.recipe != start for one in tried):
        return start
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(one) for name, one in where.items()}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=len(tried)))
    for one in tried:
        values = {name: getattr(one.recipe, name) for name in where}
        if all(where[name].holds(value) for name, value in values.items()):
            study.add_trial(_as_optuna_has_it(one, values, distributions))
    for _ in range(TRIES):
        params = study.ask(distributions).params
        values = {name: where[name].nearest(value) for name, value in params.items()}
        recipe = ranges.candidate(start, values, batches)
        if all(one.recipe != recipe for one in tried):
            return recipe
    return None


def _distribution(where: Range) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if where.whole:
        return IntDistribution(int(where.low), int(where.high), log=where.log)
    return FloatDistribution(where.low, where.high, log=where.log)


def _as_optuna_has_it(
    one: Candidate,
    values: dict[str, Any],
    distributions: dict[str, optuna.distributions.BaseDistribution],
) -> optuna.trial.FrozenTrial:
    """Return a finished trial of optuna's.

    One without a median is pruned: worse than all that have one, and the better the
    more accurate it was.
    """
    import optuna

    if one.objective is not None:
        return optuna.create_trial(params=values, distributions=distributions, value=one.objective)
    return optuna.create_trial(
        state=optuna.trial.TrialState.PRUNED,
        params=values,
        distributions=distributions,
        intermediate_values={0: 1.0 - one.accuracy},
    )
