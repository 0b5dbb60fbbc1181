"""Tasks and recipes: what they refuse, and what they call themselves."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from echobench import Recipe
from echobench.core.sequences import stream
from echobench.plugin.manager import Plugins


@pytest.mark.parametrize("name", ["whole", "partial"])
def test_the_answers_are_the_oldest_of_each_window(name: str, plugins: Plugins) -> None:
    task = plugins.tasks[name].value()
    rows = task.sample(stream(0, "train"), 3)
    assert rows.shape == (3, 25)
    for row, answers in zip(rows, task.expected(rows), strict=True):
        x, y = task.supervised(row)
        np.testing.assert_array_equal(answers, y)
        np.testing.assert_array_equal(y, x[:, : y.shape[1]])


def test_the_tutorials_recipes(plugins: Plugins) -> None:
    whole = plugins.tasks["whole"].value.recipes["closed"]
    partial = plugins.tasks["partial"].value.recipes["closed"]
    assert (whole.units, whole.batch, whole.epochs) == (20, 7, 500)
    assert (partial.units, partial.batch, partial.epochs) == (150, 21, 5000)
    assert whole.learning_rate == partial.learning_rate == 0.001


def test_more_out_than_in_is_refused(plugins: Plugins) -> None:
    with pytest.raises(ValidationError, match="expected n_out <= n_in=5; received n_out=6"):
        plugins.tasks["partial"].value.model_validate({"n_out": 6})


def test_a_sequence_shorter_than_its_window_is_refused(plugins: Plugins) -> None:
    with pytest.raises(ValidationError, match="expected length >= n_in=5; received length=4"):
        plugins.tasks["partial"].value.model_validate({"length": 4})


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_learning_rates_that_cannot_be(rate: float) -> None:
    with pytest.raises(ValidationError):
        Recipe(units=1, batch=1, learning_rate=rate, epochs=1, evaluate_every=1)


def test_the_source_hash_is_of_the_tasks_own_file(plugins: Plugins) -> None:
    whole, partial = plugins.tasks["whole"].value(), plugins.tasks["partial"].value()
    assert whole.source_hash() != partial.source_hash()
    assert whole.source_hash() == whole.source_hash()
