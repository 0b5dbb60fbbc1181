"""Echo numbers instead of symbols: the linear representation.

::

    integer     7     3     9     1     4
    input       .07   .03   .09   .01   .04      (integer / 99, one feature)
    target      .07   .03   .09   .01   .04      (mean squared error)
    correct     if the rounded prediction is the integer

One feature instead of a hundred, and no two symbols are equally far apart. To
be correct, a prediction must be within half a step of the target, 0.005 for a
hundred symbols. If `n_out` is less than `n_in`, the task is the partial echo. The
closed recipes are the tutorial's.
"""

from __future__ import annotations

from echobench import Coding, EchoTask, Linear, hookimpl

from ._recipes import TUTORIAL_PARTIAL, TUTORIAL_WHOLE, divisions


class Regression(EchoTask):
    """Echo integers scaled to 0..1."""

    name = "regression"
    recipes = divisions("regression", TUTORIAL_WHOLE)
    partial_recipes = divisions("regression[n_out=2]", TUTORIAL_PARTIAL)

    @property
    def coding(self) -> Coding:
        """One feature a token."""
        return Linear(self.symbols)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Regression]
