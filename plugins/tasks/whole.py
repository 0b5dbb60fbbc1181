"""Echo every observation of a window: sequence to sequence.

::

    time        1   2   3   4   5
    input       7   3   9   1   4
    target      7   3   9   1   4
    network     LSTM at each step, one output a step

The tutorial's recipe: 20 units, three batches of 7 samples for each sequence of
25 integers, the state carried between them, 500 epochs.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from echobench import EchoTask, Recipe, hookimpl


class Whole(EchoTask):
    """Echo all of the window."""

    name: ClassVar[str] = "whole"
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": Recipe(units=20, batch=7, epochs=500, evaluate_every=25),
        "open": Recipe(
            units=20,
            batch=21,
            learning_rate=0.04,
            warmup=10,
            decay=290,
            epochs=50,
            evaluate_every=10,
        ),
    }

    @model_validator(mode="after")
    def _check_whole(self) -> Whole:
        if self.is_partial:
            raise ValueError(f"expected n_out={self.n_in}, all of them; for fewer, task 'partial'")
        return self


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    """Register the task."""
    return [Whole]
