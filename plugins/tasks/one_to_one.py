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

from echobench import EchoTask, Form, Network, hookimpl, one_to_one

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, divisions


class OneToOne(EchoTask):
    """Echo one vector of all timesteps as one vector."""

    name = "one-to-one"
    recipes = divisions("one-to-one", TUTORIAL_WHOLE)
    partial_recipes = divisions("one-to-one[n_out=2]", TUTORIAL_PARTIAL)

    def network(self, form: Form, units: int) -> Network:
        return one_to_one(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [OneToOne]
