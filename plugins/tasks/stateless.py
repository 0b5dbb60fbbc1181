"""Echo with a network that is updated, and forgets, after every sample.

::

    sample 1    7   3   9   1   4   -> update, state to zero
    sample 2    3   9   1   4   8   -> update, state to zero
    ...

The batch size is 1, and no state is carried from sample to sample: each window holds
all that its echo needs. `--task 'stateless[stateful=true]'` carries the state instead.
If `n_out` is less than `n_in`, the task is the partial echo. The closed recipes are the
tutorial's except for batch and state.
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
