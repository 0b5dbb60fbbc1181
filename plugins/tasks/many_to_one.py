"""Echo with the output as one vector, after the last timestep.

::

    time        1   2   3   4   5
    input       7   3   9   1   4
    target                      7 3 9 1 4   (one vector of n_out * symbols)
    network     LSTM, last state -> Dense -> softmax for each token

The encoder of the tutorial without its decoder: one layer reads all tokens off
the last state. `n_out` less than `n_in` asks for the partial echo. The closed
recipes are the tutorial's for the sequences; its author expects larger networks
and longer training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from echobench import EchoTask, Recipe, hookimpl

if TYPE_CHECKING:
    from echobench.core.architectures import Form, Network


class ManyToOne(EchoTask):
    """Echo a sequence as one vector."""

    name: ClassVar[str] = "many-to-one"
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": Recipe(units=20, batch=7, epochs=500, evaluate_every=25),
        "open": Recipe(
            units=256,
            batch=21,
            sequences=12,
            learning_rate=0.03,
            warmup=50,
            decay=1950,
            epochs=200,
            evaluate_every=50,
        ),
    }
    partial_recipes: ClassVar[dict[str, Recipe] | None] = {
        "closed": Recipe(units=150, batch=21, epochs=5000, evaluate_every=100),
        "open": Recipe(
            units=64,
            batch=21,
            sequences=12,
            learning_rate=0.03,
            warmup=50,
            decay=550,
            epochs=100,
            evaluate_every=25,
        ),
    }

    def network(self, form: Form, units: int) -> Network:
        """Build LSTM -> one vector."""
        from echobench.core.architectures import many_to_one

        return many_to_one(form, self.n_in, self.asked, units)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    """Register the task."""
    return [ManyToOne]
