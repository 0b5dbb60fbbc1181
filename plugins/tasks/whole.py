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

from pydantic import model_validator

from echobench import EchoTask, hookimpl

from ._recipes import TUTORIAL_WHOLE, divisions


class Whole(EchoTask):
    """Echo all of the window."""

    name = "whole"
    recipes = divisions("whole", TUTORIAL_WHOLE)

    @model_validator(mode="after")
    def _check_whole(self) -> Whole:
        if self.is_partial:
            raise ValueError(f"expected n_out={self.n_in}, all of them; for fewer, task 'partial'")
        return self


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Whole]
