"""The recipe of a task with parameters, and what pydantic says in our words."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import ValidationError

from echobench import EchoTask, Recipe
from echobench.errors import UsageError
from echobench.trial.selectors import default_recipe, division_of, explained, label


class Mine(EchoTask):
    """Needs a number of windows that it has no default for."""

    name = "mine"
    windows: int
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": Recipe(units=8, batch=7, epochs=2, evaluate_every=1),
        "open": Recipe(units=8, batch=40, epochs=2, evaluate_every=1),
    }

    def model_post_init(self, _: object) -> None:
        """Refuse, as one that reads a file might."""
        if self.windows > self.length:
            raise ValueError("expected fewer windows")


@pytest.mark.parametrize(
    ("length", "windows", "batch"),
    [
        (25, 5, 7),  # 21 samples
        (27, 5, 23),  # 23 samples are no 3 batches: one of all
        (28, 5, 8),  # 24 samples in 3 batches
        (60, 40, 7),  # the default length does not fit 40 windows: 56 samples, of any batch
    ],
)
def test_a_batch_is_scaled_though_a_parameter_has_no_default(
    length: int, windows: int, batch: int
) -> None:
    task = Mine(length=length, windows=windows)
    recipe = default_recipe(task, "closed")
    assert recipe is not None
    assert recipe.batch == batch
    assert division_of(task, recipe, "closed") == "closed"
    given = f"length={length},windows={windows}" if length != 25 else f"windows={windows}"
    assert label(task, recipe, "closed") == f"mine[{given}]"


def test_a_batch_larger_than_the_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="task 'mine', open recipe: "):
        default_recipe(Mine(windows=1), "open")


def test_what_pydantic_says_is_what_is_expected_and_received() -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"units": 0, "batch": "x", "epochs": 1})
    assert explained(caught.value) == (
        "expected units to be greater than or equal to 1; received 0; "
        "expected batch to be a valid integer, unable to parse string as an integer; received x; "
        "needs evaluate_every"
    )
