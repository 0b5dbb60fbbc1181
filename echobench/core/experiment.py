"""One cell's experiment without a framework: batches, index tables, initial weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from echobench.core.sequences import Floats
from echobench.core.task import Recipe, Task
from echobench.errors import UsageError

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Adam's constants, Keras' defaults."""

Shapes = list[tuple[str, tuple[int, ...]]]
"""Name and shape of each trainable variable, in the model's order."""


class Experiment(ABC):
    """A task with a recipe: what a backend makes its trainer and predictor from.

    Attributes:
        batches: updates per epoch.
        samples: samples per update.
        carries: whether the recurrent state is carried from batch to batch.
        inputs, targets: positions in a row for each batch, int32 [batches, batch, n_in] and
            [batches, batch, n_out].
        traces: how often Python ran the network's code: once for each compiled program, or
            at every call where nothing is compiled.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        self.task = task
        self.recipe = recipe
        self.batches = updates_per_epoch(task.framing.samples, recipe)
        self.samples = recipe.sequences * recipe.batch
        self.carries = carries(task, recipe)
        self.inputs = _by_batch(task.framing.inputs, self.batches)
        self.targets = _by_batch(task.framing.targets, self.batches)
        self.traces = 0

    @abstractmethod
    def weight_shapes(self) -> Shapes:
        """Return name and shape of each trainable variable, in the order of the layers."""

    @abstractmethod
    def update_flops(self) -> int | None:
        """Return the floating-point operations of one update; None if they are not known."""

    def initial_weights(self, rng: np.random.Generator) -> list[Floats]:
        """Draw initial weights, in the order of `weight_shapes`; see `initial_weights`."""
        return initial_weights(self.weight_shapes(), rng)

    def plain_model(self, weights: list[Floats]) -> Any:
        """Return the trained network as a `keras.Model` of Keras' own layers, to be saved.

        It maps encoded input [samples, n_in, width] to outputs; where the recipe carries
        the state from batch to batch, [x, h, c, ...] to [y, h, c, ...].
        """
        return plain_model(self.task, self.recipe, weights)


def updates_per_epoch(samples: int, recipe: Recipe) -> int:
    """Return how many updates take the samples of a sequence, each of which is in just one.

    Raises:
        UsageError: the recipe's batch does not divide the samples.
    """
    batches, rest = divmod(samples, recipe.batch)
    if rest:
        divisors = ", ".join(str(n) for n in range(1, samples + 1) if samples % n == 0)
        raise UsageError(
            f"expected a batch that divides the {samples} samples of a sequence: {divisors}; "
            f"received batch={recipe.batch}"
        )
    return batches


def carries(task: Task, recipe: Recipe) -> bool:
    """Return whether the recurrent state is carried from batch to batch."""
    return recipe.stateful and task.framing.samples > recipe.batch


def plain_model(task: Task, recipe: Recipe, weights: list[Floats]) -> Any:
    """Return a trained network as `Experiment.plain_model` does.

    Raises:
        ValueError: the weights are not those of the task's network.
    """
    from echobench.core.forms import PlainForm

    form = PlainForm(task.coding, carry=carries(task, recipe))
    model = task.network(form, recipe.units).model
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    return model


def _by_batch(index: Any, batches: int) -> Any:
    """Split positions [samples, n] into [batches, batch, n], in order."""
    return np.asarray(index, np.int32).reshape(batches, -1, index.shape[1])


def initial_weights(shapes: Shapes, rng: np.random.Generator) -> list[Floats]:
    """Draw weights from the distributions that Keras' layers use by default.

    They are drawn in NumPy, so that a seed gives the same bytes on every backend.

    Raises:
        ValueError: no distribution is known for a variable's name.
    """
    return [_initial(name, shape, rng) for name, shape in shapes]


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    if name == "kernel":  # Glorot and Bengio 2010
        limit = np.sqrt(6.0 / (shape[0] + shape[1]))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    if name == "recurrent_kernel":
        return _orthogonal(shape, rng)
    if name == "lstm_bias":  # ones for the forget gate; Jozefowicz et al. 2015
        bias = np.zeros(shape, np.float32)
        units = shape[0] // 4
        bias[units : 2 * units] = 1.0
        return bias
    if name in {"bias", "beta"}:
        return np.zeros(shape, np.float32)
    if name in {"gamma", "scale"}:
        return np.ones(shape, np.float32)
    if name == "embeddings":
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)
    raise ValueError(
        f"no initial values known for a variable named {name!r}; "
        "expected kernel, recurrent_kernel, bias, embeddings, gamma, beta or scale"
    )


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return orthonormal rows or columns, from a QR decomposition; Saxe et al. 2014."""
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return (q.T if rows < columns else q).astype(np.float32)
