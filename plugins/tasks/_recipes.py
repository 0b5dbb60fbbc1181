"""Recipes of our tasks: the tutorial's two, which several share, and the open ones.

The open recipes are data, in `recipes.toml` beside this file: `echobench tune` finds them, and
nobody needs to read them to understand a task. A task of your own may write `Recipe(...)` for
both.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from echobench import Recipe

TUTORIAL_WHOLE = Recipe(units=20, batch=7, epochs=500, evaluate_every=25)
TUTORIAL_PARTIAL = Recipe(units=150, batch=21, epochs=5000, evaluate_every=100)

OPEN = tomllib.loads(resources.files(__package__).joinpath("recipes.toml").read_text("utf-8"))
"""The fields of each open recipe, by the selector of its task as `--task` takes it."""


def divisions(selector: str, closed: Recipe, **changes: Any) -> dict[str, Recipe]:
    """Return the recipe of each division: `closed` with changes, and the selector's open one."""
    return {
        "closed": closed.model_copy(update=changes),
        "open": Recipe.model_validate(OPEN[selector]),
    }
