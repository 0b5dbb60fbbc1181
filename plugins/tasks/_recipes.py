"""Recipes of our tasks: the tutorial's two, which several share, and the open ones.

The open recipes are data, in `recipes.toml` beside this file: `echobench tune` finds them, and
nobody needs to read them to understand a task. A task of your own may write `Recipe(...)` for
both.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from echobench import Recipe

TUTORIAL_WHOLE = Recipe(units=20, batch=7, epochs=500, evaluate_every=25)
TUTORIAL_PARTIAL = Recipe(units=150, batch=21, epochs=5000, evaluate_every=100)


def open_recipe(selector: str) -> Recipe:
    """Return the open recipe of a task, given as `--task` takes it."""
    return Recipe.model_validate(open_recipes()[selector])


@cache
def open_recipes() -> dict[str, dict[str, Any]]:
    """Return the fields of each open recipe, by task."""
    return tomllib.loads(resources.files(__package__).joinpath("recipes.toml").read_text("utf-8"))
