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


class Stateless(EchoTask):
    """Echo, one sample an update, the state reset after each."""

    name: ClassVar[str] = "stateless"
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": Recipe(units=20, batch=1, stateful=False, epochs=500, evaluate_every=25),
        "open": Recipe(
            units=20,
            batch=1,
            stateful=False,
            learning_rate=0.01,
            warmup=100,
            decay=6200,
            epochs=50,
            evaluate_every=5,
        ),
    }
    partial_recipes: ClassVar[dict[str, Recipe] | None] = {
        "closed": Recipe(units=150, batch=1, stateful=False, epochs=5000, evaluate_every=100),
        "open": Recipe(
            units=64,
            batch=1,
            stateful=False,
            learning_rate=0.003,
            warmup=1000,
            decay=104000,
            clip=1.0,
            epochs=500,
            evaluate_every=200,
        ),
    }


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    """Register the task."""
    return [Stateless]
