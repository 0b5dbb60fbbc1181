"""The search space of any starting recipe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echobench import Recipe
from echobench.harness.search_space import (
    SEARCHED,
    Range,
    recipe_with,
    search_ranges,
    starting_recipe,
)
from echobench.trial.trial import BUDGET

RECIPES = st.builds(
    Recipe,
    units=st.integers(1, 4096),
    batch=st.just(7),
    sequences=st.integers(1, 512),
    learning_rate=st.floats(1e-6, 10.0),
    warmup=st.integers(0, 5000),
    decay=st.integers(0, 200_000),
    epochs=st.integers(1, 10_000),
    evaluate_every=st.integers(1, 1000),
)
DIVISIONS = st.sampled_from(["open", "closed"])


@given(RECIPES, DIVISIONS, st.integers(1, 25))
def test_the_start_lies_in_its_ranges(recipe: Recipe, division: str, batches: int) -> None:
    start = starting_recipe(recipe, batches)
    assert start.decay > 0
    assert start == (recipe if recipe.decay else start.model_copy(update={"decay": start.decay}))
    found = search_ranges(start, division)
    assert tuple(found) == SEARCHED
    for name, where in found.items():
        assert where.low <= where.high
        assert where.low > 0 or not where.log  # a logarithm is taken of it
        assert where.holds(getattr(start, name))
    assert found["evaluate_every"].high == recipe.evaluate_every


@given(RECIPES, DIVISIONS, st.integers(1, 25), st.data())
def test_a_candidate_is_a_recipe_whose_budget_ends_with_its_schedule(
    recipe: Recipe, division: str, batches: int, data: st.DataObject
) -> None:
    start = starting_recipe(recipe, batches)
    found = search_ranges(start, division, fixed=["units"])
    assert "units" not in found
    drawn = {
        name: where.nearest(data.draw(st.floats(where.low, where.high)))
        for name, where in found.items()
    }
    candidate = recipe_with(start, drawn, batches)
    for name, value in drawn.items():
        assert getattr(candidate, name) == value
        assert found[name].holds(value)
    schedule, budget = candidate.warmup + candidate.decay, BUDGET * candidate.epochs * batches
    assert schedule <= budget < schedule + BUDGET * batches
    kept = {"units", "batch", "stateful", "clip"}
    assert candidate.model_dump(include=kept) == start.model_dump(include=kept)


@given(st.floats(1, 1e6), st.floats(1, 1e3), st.booleans(), st.floats(0, 1))
def test_values_have_few_digits_or_are_an_end(
    low: float, factor: float, whole: bool, share: float
) -> None:
    low, high = (round(low), round(low * factor)) if whole else (low, low * factor)
    where = Range(low, high, whole=whole)
    value = where.nearest(low + share * (high - low))
    assert where.holds(value)
    assert value in {low, high} or value == float(f"{value:.2g}")
    assert where.nearest(value) == value


def test_a_rate_that_stays_constant_if_asked_to() -> None:
    recipe = Recipe(units=8, batch=7, epochs=50, evaluate_every=5)
    assert starting_recipe(recipe, 3).decay == 1500
    start = starting_recipe(recipe, 3, fixed=["decay"])
    assert start == recipe
    found = search_ranges(start, "closed", fixed=["decay"])
    values = {name: where.low for name, where in found.items()}
    assert recipe_with(start, values, 3).epochs == 50
