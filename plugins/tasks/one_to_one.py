"""Echo in a single step: timesteps as features, the output as one vector.

::

    time        1
    input       7 3 9 1 4      (one vector of n_in * symbols)
    target      7 3 9 1 4      (one vector of n_out * symbols, a softmax for each token)
    network     LSTM, one step -> Dense -> softmax for each token

There is nothing to remember: the LSTM makes one step from a zero state. If `n_out` is
less than `n_in`, the task is the partial echo. The closed recipes are the tutorial's
for the sequences; its author expects larger networks and longer training.
"""

from __future__ import annotations

from typing import ClassVar

from echobench import EchoTask, Form, Network, Recipe, hookimpl, one_to_one

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, open_recipe


class OneToOne(EchoTask):
    """Echo one vector of all timesteps as one vector."""

    name: ClassVar[str] = "one-to-one"
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": TUTORIAL_WHOLE,
        "open": open_recipe("one-to-one"),
    }
    partial_recipes: ClassVar[dict[str, Recipe] | None] = {
        "closed": TUTORIAL_PARTIAL,
        "open": open_recipe("one-to-one[n_out=2]"),
    }

    def network(self, form: Form, units: int) -> Network:
        """Build an LSTM of one step with one output vector."""
        return one_to_one(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    """Register the task."""
    return [OneToOne]
