"""One epoch of training as a pure function: what the fused engines compile.

Written once with `keras.ops`, so that it means the same on every backend; a
backend adds what only it can: the gradient, the loop, the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from echobench.core.architectures import FusedForm, Network, PlainForm
from echobench.core.sequences import Floats
from echobench.core.task import Recipe, Task
from echobench.core.weights import initial_weights

Tensor = Any
ValueAndGrad = Callable[[Callable[..., Any], list[Tensor]], tuple[Any, list[Tensor]]]
"""Takes f and parameters; returns (f(parameters), gradient), where f gives (loss, more)."""

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Adam's constants, Keras' defaults."""


class Learner(NamedTuple):
    """All that training changes: parameters, Adam's two moments, updates done (float)."""

    parameters: list[Tensor]
    first_moments: list[Tensor]
    second_moments: list[Tensor]
    step: Tensor


class Program:
    """The mathematics of one cell.

    Args:
        task: what is echoed.
        recipe: how it is trained.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        self.task = task
        self.recipe = recipe
        self.batches = task.framing.samples // recipe.batch
        self.network: Network = task.network(FusedForm(carry=self.batches > 1), recipe.units)
        self._constants = [v.value for v in self.network.model.non_trainable_variables]
        self._inputs = _by_batch(task.framing.inputs, self.batches)
        self._targets = _by_batch(task.framing.targets, self.batches)
        self._symbols = np.arange(task.symbols, dtype=np.int32)
        self._loss = keras.losses.CategoricalCrossentropy()

    def initial_weights(self, rng: np.random.Generator) -> list[Floats]:
        """Draw the weights of a seed, in the model's order."""
        shapes = []
        for layer in self.network.model.layers:
            for variable in layer.trainable_variables:
                recurrent = variable.name == "bias" and hasattr(layer, "recurrent_kernel")
                name = "lstm_bias" if recurrent else variable.name
                shapes.append((name, tuple(variable.shape)))
        return initial_weights(shapes, rng)

    def start(self, weights: list[Floats]) -> Learner:
        """Return a learner that has learnt nothing yet, on the host."""
        return Learner(
            list(weights),
            [np.zeros_like(w) for w in weights],
            [np.zeros_like(w) for w in weights],
            np.float32(0.0),
        )

    def epoch(
        self, learner: Learner, rows: Tensor, value_and_grad: ValueAndGrad
    ) -> tuple[Learner, Tensor, Tensor]:
        """Train on fresh rows: every batch once, in order, the state carried and then dropped.

        Args:
            learner: before.
            rows: integers [sequences, length].
            value_and_grad: the backend's.

        Returns:
            The learner after, and loss and accuracy of each update, before it
            was made: [batches].
        """
        states = self._zero_states(self.recipe.sequences * self.recipe.batch)
        losses, accuracies = [], []
        for batch in range(self.batches):
            x, y = self._frame(rows, batch)

            def loss_of(
                parameters: list[Tensor], x: Tensor = x, y: Tensor = y, states: Any = states
            ) -> tuple[Tensor, Any]:
                probabilities, after = self._forward(parameters, x, states)
                # Not ops.one_hot: on torch it looks at the values, which a trace has not.
                expected = ops.cast(ops.expand_dims(y, -1) == self._symbols, "float32")
                right = ops.mean(ops.cast(ops.argmax(probabilities, axis=-1) == y, "float32"))
                return self._loss(expected, probabilities), (after, right)

            (loss, (states, right)), gradients = value_and_grad(loss_of, learner.parameters)
            learner = self._adam(learner, gradients)
            losses.append(loss)
            accuracies.append(right)
        return learner, ops.stack(losses), ops.stack(accuracies)

    def predict(self, parameters: list[Tensor], rows: Tensor) -> Tensor:
        """Echo fresh rows [count, length] as the task says; the state starts at zero for each.

        Returns:
            Integers [count, samples, n_out].
        """
        count = rows.shape[0]
        states = self._zero_states(count * self.recipe.batch)
        answers = []
        for batch in range(self.batches):
            x, y = self._frame(rows, batch)
            probabilities, states = self._forward(parameters, x, states)
            answer = ops.argmax(probabilities, axis=-1)
            answers.append(ops.reshape(answer, (count, self.recipe.batch, y.shape[-1])))
        return ops.concatenate(answers, axis=1)

    def plain_model(self, weights: list[Floats]) -> keras.Model:
        """Return the trained network in Keras' own layers, to save.

        One-hot input [samples, n_in, symbols] to probabilities; where the recipe
        carries the state from batch to batch, [x, h, c, ...] to [y, h, c, ...].
        """
        network = self.task.network(PlainForm(carry=self.batches > 1), self.recipe.units)
        for variable, value in zip(network.model.trainable_variables, weights, strict=True):
            variable.assign(value)
        return network.model

    def _frame(self, rows: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Gather one batch of samples: x [sequences * batch, n_in], y [.., n_out]."""
        inputs, targets = self._inputs[batch], self._targets[batch]
        x = ops.take(rows, inputs.reshape(-1), axis=1)
        y = ops.take(rows, targets.reshape(-1), axis=1)
        return ops.reshape(x, (-1, inputs.shape[1])), ops.reshape(y, (-1, targets.shape[1]))

    def _forward(
        self, parameters: list[Tensor], x: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        outputs, _ = self.network.model.stateless_call(
            parameters, self._constants, [x, *states], training=True
        )
        if not states:  # Keras unpacks a list of one
            return outputs, []
        return outputs[0], list(outputs[1:])

    def _zero_states(self, samples: int) -> list[Tensor]:
        return [ops.zeros((samples, units)) for units in self.network.state_units]

    def _rate(self, step: Tensor) -> Tensor:
        """Return the learning rate of update `step` (0 for the first); see Recipe."""
        recipe = self.recipe
        rate: Tensor = recipe.learning_rate
        if recipe.decay:
            done = ops.clip((step - recipe.warmup) / recipe.decay, 0.0, 1.0)
            rate = rate * 0.5 * (1.0 + ops.cos(np.pi * done))
        if recipe.warmup:
            rising = recipe.learning_rate * step / recipe.warmup
            rate = ops.where(step < recipe.warmup, rising, rate)
        return rate

    def _adam(self, learner: Learner, gradients: list[Tensor]) -> Learner:
        """Make one update of Adam, in Keras' form; Kingma and Ba 2015."""
        step = learner.step + 1.0
        rate = self._rate(learner.step)
        rate = rate * ops.sqrt(1.0 - ops.exp(step * math.log(BETA_2)))
        rate = rate / (1.0 - ops.exp(step * math.log(BETA_1)))
        parameters, first, second = [], [], []
        for p, m, v, g in zip(*learner[:3], gradients, strict=True):
            m = m + (g - m) * (1.0 - BETA_1)
            v = v + (g * g - v) * (1.0 - BETA_2)
            parameters.append(p - m * rate / (ops.sqrt(v) + EPSILON))
            first.append(m)
            second.append(v)
        return Learner(parameters, first, second, step)


def _by_batch(index: Any, batches: int) -> Any:
    """Split places [samples, n] into [batches, batch, n], in order."""
    return np.asarray(index, np.int32).reshape(batches, -1, index.shape[1])
