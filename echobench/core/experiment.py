"""One cell's experiment without a framework: batches, index tables, initial weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from echobench.core.architectures import Form, Network
from echobench.core.sequences import Floats
from echobench.core.task import Recipe, Task
from echobench.errors import NetworkError, UsageError

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Adam's constants, Keras' defaults."""

Shapes = list[tuple[str, tuple[int, ...]]]
"""Kind and shape of each trainable variable, in the model's order."""

INITIALIZERS: dict[str, tuple[str, dict[str, float | None]]] = {
    "kernel": ("GlorotUniform", {"input_axes": None, "output_axes": None}),
    "recurrent_kernel": ("Orthogonal", {"gain": 1.0}),
    "bias": ("Zeros", {}),
    "gamma": ("Ones", {}),
    "embeddings": ("RandomUniform", {"minval": -0.05, "maxval": 0.05}),
}
"""Keras' initializer, and its options, of each kind of variable; see `_fans`, `lstm_bias`."""
AXES = "kernel_"
"""How the kind of a kernel starts whose axes are said; see `_fans`."""


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
        """Return kind and shape of each trainable variable, in the order of the layers."""

    @abstractmethod
    def update_flops(self) -> int | None:
        """Return the floating-point operations of one update; None if they are not known."""

    def why_uncounted(self) -> str | None:
        """Return why `update_flops` is None; None if it is not."""
        return None

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


def network_of(task: Task, form: Form, units: int) -> Network:
    """Return a task's network, built with a form.

    Raises:
        NetworkError: `Task.network` returns something else, or a layer in it is stateful.
    """
    try:
        network: object = task.network(form, units)
    except ValueError as error:
        if "stateful=True" not in str(error):
            raise
        # Keras asks for a fixed number of samples, which would not help.
        raise NetworkError(
            f"task {task.name!r}: a layer is stateful, which loses its state in compiled steps; "
            "leave stateful out, or use form.lstm, whose state the recipe carries"
        ) from error
    if not isinstance(network, Network):
        received = "None" if network is None else f"a {type(network).__name__}"
        raise NetworkError(
            f"task {task.name!r}: network() returned {received}; expected a Network: end it with "
            "`return form.network(y)`"
        )
    return network


def build_network(task: Task, form: Form, units: int) -> Network:
    """Build a task's network with a form, and check the shape of its output.

    Raises:
        NetworkError: as `network_of`, or the output is not of the shape of the task's targets.
    """
    network = network_of(task, form, units)
    expected = (task.framing.targets.shape[1], task.coding.width)
    if network.output_shape != expected:
        raise NetworkError(
            f"task {task.name!r}: network(): the output is {_spelt(network.output_shape)}; "
            f"expected {_spelt(expected)}, n_out tokens of the coding's width: end it with "
            "form.output_per_step(x) or form.output_at_once(x, steps)"
        )
    return network


def _spelt(shape: tuple[int, ...]) -> str:
    return f"[samples, {', '.join(map(str, shape))}]"


def carries(task: Task, recipe: Recipe) -> bool:
    """Return whether the recurrent state is carried from batch to batch."""
    return recipe.stateful and task.framing.samples > recipe.batch


def plain_model(task: Task, recipe: Recipe, weights: list[Floats]) -> Any:
    """Return a trained network as `Experiment.plain_model` does.

    Raises:
        ValueError: the weights are not those of the task's network.
    """
    model = untrained_model(task, recipe)
    assign(model, weights)
    return model


def untrained_model(task: Task, recipe: Recipe) -> Any:
    """Return a network as `Experiment.plain_model` does, whose weights mean nothing yet."""
    from echobench.core.forms import PlainForm, undrawn

    form = PlainForm(task.coding, carry=carries(task, recipe))
    with undrawn():
        return build_network(task, form, recipe.units).model


def assign(model: Any, weights: list[Floats]) -> None:
    """Give a model of a task's network these weights.

    Raises:
        ValueError: they are not those of the task's network.
    """
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)


def _by_batch(index: Any, batches: int) -> Any:
    """Split positions [samples, n] into [batches, batch, n], in order."""
    return np.asarray(index, np.int32).reshape(batches, -1, index.shape[1])


def initial_weights(shapes: Shapes, rng: np.random.Generator) -> list[Floats]:
    """Draw weights from the distributions that Keras' layers use by default.

    They are drawn in NumPy, so that a seed gives the same bytes on every backend.

    Raises:
        ValueError: no distribution is known for a kind.
    """
    return [_initial(kind, shape, rng) for kind, shape in shapes]


def _initial(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    if kind == "kernel" or kind.startswith(AXES):  # Glorot and Bengio 2010
        limit = np.sqrt(6.0 / sum(_fans(kind, shape)))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    if kind == "recurrent_kernel":
        return _orthogonal(shape, rng)
    if kind == "lstm_bias":  # ones for the forget gate; Jozefowicz et al. 2015
        bias = np.zeros(shape, np.float32)
        units = shape[0] // 4
        bias[units : 2 * units] = 1.0
        return bias
    if kind == "bias":
        return np.zeros(shape, np.float32)
    if kind == "gamma":
        return np.ones(shape, np.float32)
    if kind == "embeddings":
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)
    raise ValueError(
        f"no initial values known for a variable of kind {kind!r}; "
        f"expected {', '.join(INITIALIZERS)} or lstm_bias"
    )


def _fans(kind: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a kernel's inputs and outputs as Keras counts them; of a convolution a place each.

    `kernel_iio` says of each axis whether it is one of inputs or of outputs.
    """
    if kind.startswith(AXES):
        sizes = [*zip(kind.removeprefix(AXES), shape, strict=True)]
        inputs, outputs = (math.prod(n for axis, n in sizes if axis == which) for which in "io")
        return inputs, outputs
    if len(shape) < 2:
        return (math.prod(shape), math.prod(shape))
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return orthonormal rows or columns, from a QR decomposition; Saxe et al. 2014."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return (q.T if rows < columns else q).reshape(shape).astype(np.float32)
