"""Echo with the output as one vector, after the last timestep.

::

    time        1   2   3   4   5
    input       7   3   9   1   4
    target                      7 3 9 1 4   (one vector of n_out * symbols)
    network     LSTM, last state -> Dense -> softmax for each token

The tutorial's encoder without its decoder: one layer reads all tokens off the last
state. If `n_out` is less than `n_in`, the task is the partial echo. The closed recipes
are the tutorial's for the sequences; its author expects larger networks and longer
training.
"""

from __future__ import annotations

from echobench import EchoTask, Form, Network, hookimpl, many_to_one

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, divisions


class ManyToOne(EchoTask):
    """Echo a sequence as one vector."""

    name = "many-to-one"
    recipes = divisions("many-to-one", TUTORIAL_WHOLE)
    partial_recipes = divisions("many-to-one[n_out=2]", TUTORIAL_PARTIAL)

    def network(self, form: Form, units: int) -> Network:
        return many_to_one(form, self.n_in, self.n_targets, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [ManyToOne]
