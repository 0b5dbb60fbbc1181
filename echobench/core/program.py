"""One epoch of training as a pure function, for the fused engines to compile.

It is written once, with `keras.ops`, and so means the same on every backend; a backend
adds the gradient, the loop and the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from echobench.core.architectures import Network
from echobench.core.coding import Coding, Tensor
from echobench.core.experiment import (
    BETA_1,
    BETA_2,
    EPSILON,
    Experiment,
    Shapes,
    build_network,
)
from echobench.core.flops import UncountedError, model_flops
from echobench.core.forms import FusedForm, undrawn
from echobench.core.layers import UnrolledLSTM
from echobench.core.own_layers import weight_shapes
from echobench.core.sequences import Floats
from echobench.core.task import Recipe, Task

ValueAndGrad = Callable[[Callable[..., Any], list[Tensor]], tuple[Any, list[Tensor]]]
"""Takes f and parameters; returns (f(parameters), gradient), where f returns (loss, aux)."""

MOST_UNROLLED = 7
"""The most updates of an epoch that are compiled as one block, one after the other, by default."""


class Learner(NamedTuple):
    """The state of training: parameters, Adam's two moments, number of updates (a float)."""

    parameters: list[Tensor]
    first_moments: list[Tensor]
    second_moments: list[Tensor]
    step: Tensor


class Program(Experiment):
    """An experiment whose network, loss and optimizer are written in Keras.

    Args:
        task: what is learnt.
        recipe: how.
        custom_gradient: see `Backend`.
        unrolled: the most updates of an epoch that are compiled as one block.

    Attributes:
        rounds: number of equal blocks that an epoch is divided into: one, or one for each
            batch if the batches are more than `unrolled`.
        network: the network in `FusedForm`.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        *,
        custom_gradient: bool = True,
        unrolled: int = MOST_UNROLLED,
    ) -> None:
        super().__init__(task, recipe)
        self.rounds = 1 if self.batches <= unrolled else self.batches
        form = FusedForm(
            task.coding, self.carries, task.has_missing, custom_gradient=custom_gradient
        )
        with undrawn():
            self.network: Network = build_network(task, form, recipe.units)
        self._shapes = weight_shapes(self.network.model)
        self._flops: int | None = None
        self._uncounted: str | None = None
        try:
            self._flops = model_flops(self.network.model, self.samples)
        except UncountedError as error:
            self._uncounted = str(error)
        self._logits = form.logits
        self._constants = [v.value for v in self.network.model.non_trainable_variables]

    def weight_shapes(self) -> Shapes:
        """Return kind and shape of the model's trainable variables, in its order."""
        return self._shapes

    def start(self, weights: list[Floats]) -> Learner:
        """Return the initial state of training, NumPy arrays."""
        return Learner(
            list(weights),
            [np.zeros_like(w) for w in weights],
            [np.zeros_like(w) for w in weights],
            np.float32(0.0),
        )

    def start_states(self) -> list[Tensor]:
        """Return the recurrent states for the first block; empty if an epoch is one block."""
        return [] if self.rounds == 1 else self._zero_states(self.samples)

    def advance(
        self,
        learner: Learner,
        states: list[Tensor],
        rows: Tensor,
        block: Tensor,
        value_and_grad: ValueAndGrad,
    ) -> tuple[Learner, list[Tensor], Tensor, Tensor]:
        """Train one of an epoch's `rounds` blocks: each of its batches once, in order.

        The recurrent state is carried from batch to batch, and zero at the epoch's start.

        Args:
            learner: state of training before the block.
            states: recurrent states from the previous block, or `start_states`.
            rows: this epoch's integers [sequences, length].
            block: number of the block, 0 to rounds-1; may be a tensor.
            value_and_grad: the backend's function for value and gradient.

        Returns:
            The state of training and the recurrent states after the block; loss and
            accuracy of each update, computed before it: [batches / rounds] each.
        """
        self.traces += 1
        if self.rounds == 1:
            indices: list[Any] = list(range(self.batches))
            states = self._zero_states(self.samples)
        else:
            indices = [block]
            states = [state * ops.cast(block > 0, "float32") for state in states]
        losses, accuracies = [], []
        for index in indices:
            x, y = map(_distribute, self._frame(rows, index))

            def loss_of(
                parameters: list[Tensor], x: Tensor = x, y: Tensor = y, states: Any = states
            ) -> tuple[Tensor, Any]:
                outputs, after = self._forward(parameters, x, states)
                losses, right = self._losses(y, outputs)
                correct = ops.cast(right, "float32")
                present = ops.cast(y >= 0, "float32") if self.task.has_missing else None
                loss = _mean(losses, present, 0.0)
                return loss, (after, _mean(correct, present, 1.0))

            (loss, (states, accuracy)), gradients = value_and_grad(loss_of, learner.parameters)
            learner = self._adam(learner, gradients)
            losses.append(loss)
            accuracies.append(accuracy)
        after = [] if self.rounds == 1 else states
        return learner, after, ops.stack(losses), ops.stack(accuracies)

    def predict(self, parameters: list[Tensor], rows: Tensor) -> Tensor:
        """Answer rows [count, length] with tokens [count, samples, n_out].

        The recurrent state starts at zero for each row.
        """
        self.traces += 1
        count = rows.shape[0]
        if not self.network.state_units:  # no state from batch to batch: all samples at once
            outputs, _ = self._forward(parameters, _gather(rows, self.task.framing.inputs), [])
            answers = self.task.coding.decode(outputs)
            return ops.reshape(answers, (count, *self.task.framing.targets.shape))
        states = self._zero_states(count * self.recipe.batch)
        batches = []
        for batch in range(self.batches):
            x, y = self._frame(rows, batch)
            outputs, states = self._forward(parameters, x, states)
            answer = self.task.coding.decode(outputs)
            batches.append(ops.reshape(answer, (count, self.recipe.batch, y.shape[-1])))
        return ops.concatenate(batches, axis=1)

    def update_flops(self) -> int | None:
        """Return the floating-point operations of one update; None if they are not known."""
        return self._flops

    def why_uncounted(self) -> str | None:
        """Return which layer's operations are not known, if one's are not."""
        return self._uncounted

    def kernels(self) -> list[str]:
        """Return how each LSTM of the network runs, for the record."""
        return [*filter(None, map(_kernel, self.network.model.layers))]

    def _frame(self, rows: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        """Gather a batch: x [sequences * batch, n_in], y [sequences * batch, n_out]."""
        if self.rounds == 1 or isinstance(batch, int):
            return _gather(rows, self.inputs[batch]), _gather(rows, self.targets[batch])
        inputs, targets = (ops.take(t, batch, axis=0) for t in (self.inputs, self.targets))
        return _gather(rows, inputs), _gather(rows, targets)

    def _forward(
        self, parameters: list[Tensor], x: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        outputs, _ = self.network.model.stateless_call(
            parameters, self._constants, [x, *states] if states else x, training=True
        )
        return (outputs[0], list(outputs[1:])) if states else (outputs, [])

    def _losses(self, y: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each target [...], and whether its answer is right."""
        coding = self.task.coding
        if self._logits:
            return losses_of_logits(coding, y, outputs)
        return coding.losses(y, outputs), ops.cast(coding.decode(outputs), "int32") == y

    def _zero_states(self, samples: int) -> list[Tensor]:
        return [ops.zeros((samples, units)) for units in self.network.state_units]

    def _rate(self, step: Tensor) -> Tensor:
        """Return the learning rate of update `step`, from 0, as `Recipe.rate` does."""
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
        """Apply one update of Adam in Keras' form; Kingma and Ba 2015."""
        if self.recipe.clip:
            norm = ops.sqrt(sum(ops.sum(g * g) for g in gradients))
            scale = self.recipe.clip / ops.maximum(norm, self.recipe.clip)
            gradients = [g * scale for g in gradients]
        step = learner.step + 1.0
        rate = self._rate(learner.step)
        rate = rate * ops.sqrt(1.0 - ops.power(BETA_2, step)) / (1.0 - ops.power(BETA_1, step))
        parameters, first, second = [], [], []
        for p, m, v, g in zip(*learner[:3], gradients, strict=True):
            m = m + (g - m) * (1.0 - BETA_1)
            v = v + (g * g - v) * (1.0 - BETA_2)
            parameters.append(p - m * rate / (ops.sqrt(v) + EPSILON))
            first.append(m)
            second.append(v)
        return Learner(parameters, first, second, step)


def losses_of_logits(coding: Coding, tokens: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return `OneHot.losses` of the logits' softmax, and whether each token's logit is the largest.

    The softmax is taken of the right token alone, and the answer is not looked for: reductions
    over all tokens take long. Of equal logits, each counts as the answer.
    """
    likeness = ops.exp(logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True)))
    right = ops.sum(coding.encode_tensor(tokens) * likeness, axis=-1)
    probability = right / ops.sum(likeness, axis=-1)
    epsilon = keras.config.epsilon()
    return -ops.log(ops.clip(probability, epsilon, 1.0 - epsilon)), right >= 1.0  # exp(0)


def _kernel(layer: Any) -> str | None:
    """Return how an LSTM runs; None for another layer."""
    if isinstance(layer, UnrolledLSTM):
        return f"{layer.steps} steps unrolled"
    return "a loop over steps" if isinstance(layer, keras.layers.LSTM) else None


def _distribute(samples: Tensor) -> Tensor:
    """Divide samples equally among the devices, if training uses several."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return samples
    layout = distribution.get_data_layout(samples.shape)
    return keras.distribution.distribute_tensor(samples, layout)


def _gather(rows: Tensor, positions: Any) -> Tensor:
    """Return rows [count, length] at positions [samples, n], as [count * samples, n]."""
    tokens = ops.take(rows, ops.reshape(positions, (-1,)), axis=1)
    return ops.reshape(tokens, (-1, positions.shape[1]))


def _mean(values: Tensor, weights: Tensor | None, empty: float) -> Tensor:
    """Return the mean, weighted if weights are given; `empty` if all weights are zero."""
    if weights is None:
        return ops.mean(values)
    total = ops.sum(weights)
    return ops.where(total > 0, ops.sum(values * weights) / ops.maximum(total, 1.0), empty)
