"""Echo with a network that is updated, and forgets, after every sample.

::

    sample 1    7   3   9   1   4   -> update, state to zero
    sample 2    3   9   1   4   8   -> update, state to zero
    ...

Batch size 1 and no state from sample to sample: each window holds all that its
echo needs. `--task 'stateless[stateful=true]'` carries the state from sample to
sample instead. `n_out` less than `n_in` asks for the partial echo. The closed
recipes are the tutorial's, but for batch and state.
"""

from __future__ import annotations

from typing import ClassVar

from echobench import EchoTask, Recipe, hookimpl

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, open_recipe


class Stateless(EchoTask):
    """Echo, one sample an update, the state reset after each."""

    name: ClassVar[str] = "stateless"
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": TUTORIAL_WHOLE.model_copy(update={"batch": 1, "stateful": False}),
        "open": open_recipe("stateless"),
    }
    partial_recipes: ClassVar[dict[str, Recipe] | None] = {
        "closed": TUTORIAL_PARTIAL.model_copy(update={"batch": 1, "stateful": False}),
        "open": open_recipe("stateless[n_out=2]"),
    }


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    """Register the task."""
    return [Stateless]
