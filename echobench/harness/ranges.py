"""Where a search looks: ranges around the recipe that it starts from."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from echobench.core.task import Recipe
from echobench.trial.trial import BUDGET

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
"""How far down and up from the value at the start, as factors. What is sought lies near an open
recipe; from a closed one the way is to more sequences, a higher rate and fewer updates. A hit
is bounded by the evaluation before it, so those never become rarer."""
SEARCHED = ("units", "sequences", "learning_rate", "warmup", "decay", "evaluate_every")
DIGITS = 2
"""Significant digits of a value that is tried: a third one would be noise, and hard to read."""


class Range(NamedTuple):
    """What a field may be, both ends included.

    Attributes:
        low, high: the ends.
        whole: whether it is a whole number.
        log: whether its magnitude counts, not its distance.
    """

    low: float
    high: float
    whole: bool = True
    log: bool = True

    def holds(self, value: float) -> bool:
        """Whether a value is in it."""
        return self.low <= value <= self.high

    def nearest(self, value: float) -> float:
        """Return a value of few digits in it, near to the one given."""
        rounded = float(f"{value:.{DIGITS}g}")
        kept = min(max(rounded, self.low), self.high)
        return round(kept) if self.whole else kept


def start(recipe: Recipe, batches: int, fixed: Collection[str] = ()) -> Recipe:
    """Return the recipe that a search starts from: this one, with a schedule.

    A rate that is constant decays over the whole budget instead, so that how long it
    decays can be searched for.

    Args:
        recipe: the task's.
        batches: updates of an epoch.
        fixed: fields that stay as they are.
    """
    if recipe.decay or "decay" in fixed:
        return recipe
    left = BUDGET * recipe.epochs * batches - recipe.warmup
    return recipe.model_copy(update={"decay": max(1, left)})


def ranges(recipe: Recipe, division: str, fixed: Collection[str] = ()) -> dict[str, Range]:
    """Return where to look for each field, around the recipe of a search's start.

    Args:
        recipe: see `start`.
        division: whose recipe it was.
        fixed: fields that stay as they are.
    """
    found: dict[str, Range] = {}
    for name in SEARCHED:
        value = getattr(recipe, name)
        if name == "warmup":
            # It may be zero, so it has no magnitude; and it is short beside the shortest decay.
            down, _ = REACH[division]["decay"]
            found[name] = Range(0, max(4 * value, recipe.decay // (4 * down), 1), log=False)
            continue
        down, up = REACH[division][name]
        if isinstance(value, int):
            found[name] = Range(max(1, value // down), value * up)
        else:
            found[name] = Range(value / down, value * up, whole=False)
    return {name: found[name] for name in SEARCHED if name not in fixed}


def candidate(recipe: Recipe, values: Mapping[str, float], batches: int) -> Recipe:
    """Return a recipe with these values, its budget of epochs ending with its schedule, if any.

    Args:
        recipe: what the other fields are taken from.
        values: by field, in their ranges.
        batches: updates of an epoch.
    """
    changed = Recipe.model_validate({**recipe.model_dump(), **values})
    if not changed.decay:
        return changed
    # After it the rate is zero, and nothing more is learnt.
    epochs = math.ceil((changed.warmup + changed.decay) / (BUDGET * batches))
    return changed.model_copy(update={"epochs": epochs})
