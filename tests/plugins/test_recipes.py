"""Recipes as data: what recipes.toml says is what the tasks report."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from echobench import Recipe
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.cells import CHAT

FILE = Path(__file__).parents[2] / "plugins" / "tasks" / "recipes.toml"
TABLES = tomllib.loads(FILE.read_text())


@pytest.mark.parametrize("selector", TABLES)
def test_a_table_is_the_open_recipe_of_its_selector(selector: str, plugins: Plugins) -> None:
    selected = f"pairs[path={CHAT}]" if selector == "pairs" else selector
    _, _, recipe = resolve(selected, "open", plugins)
    assert recipe == Recipe.model_validate(TABLES[selector])


def test_every_open_recipe_of_ours_has_a_table(plugins: Plugins) -> None:
    ours = [task.value for task in plugins.tasks.values() if task.distribution == "echobench"]
    partial = [task.name for task in ours if getattr(task, "partial_recipes", None)]
    assert set(TABLES) == {task.name for task in ours} | {f"{name}[n_out=2]" for name in partial}
