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

from echobench import EchoTask, hookimpl

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, divisions


class Stateless(EchoTask):
    """Echo, one sample an update, the state reset after each."""

    name = "stateless"
    recipes = divisions("stateless", TUTORIAL_WHOLE, batch=1, stateful=False)
    partial_recipes = divisions("stateless[n_out=2]", TUTORIAL_PARTIAL, batch=1, stateful=False)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Stateless]
