"""One cell's experiment, whatever runs it: its batches, its places, its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from echobench.core.sequences import Floats
from echobench.core.task import Recipe, Task

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Adam's constants, Keras' defaults."""


class Experiment(ABC):
    """What is trained, and how, before a framework makes a program of it.

    Args:
        task: what is echoed.
        recipe: how it is trained.

    Attributes:
        batches: updates of an epoch.
        samples: samples of an update.
        carries: whether the state goes from batch to batch.
        inputs, targets: places in a row by batch, int32 [batches, batch, n_in] and
            [batches, batch, n_out].
        traces: how often Python went through the network: once for each program
            that a compiler made of it, each time where there is none.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        self.task = task
        self.recipe = recipe
        self.batches = task.framing.samples // recipe.batch
        self.samples = recipe.sequences * recipe.batch
        self.carries = self.batches > 1 and recipe.stateful
        self.inputs = _by_batch(task.framing.inputs, self.batches)
        self.targets = _by_batch(task.framing.targets, self.batches)
        self.traces = 0

    @abstractmethod
    def initial_weights(self, rng: np.random.Generator) -> list[Floats]:
        """Draw the weights of a seed, in the order of the network's layers."""

    @abstractmethod
    def update_flops(self) -> int | None:
        """Return the floating-point operations of an update; None where they are not known."""

    def plain_model(self, weights: list[Floats]) -> Any:
        """Return the trained network in Keras' own layers, to save.

        Encoded input [samples, n_in, width] to outputs; where the recipe carries
        the state from batch to batch, [x, h, c, ...] to [y, h, c, ...].
        """
        from echobench.core.forms import PlainForm

        form = PlainForm(self.task.coding, carry=self.carries)
        model = self.task.network(form, self.recipe.units).model
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)
        return model


def _by_batch(index: Any, batches: int) -> Any:
    """Split places [samples, n] into [batches, batch, n], in order."""
    return np.asarray(index, np.int32).reshape(batches, -1, index.shape[1])
