"""The tutorial's own program, brought up to date: pandas and `model.fit`, epoch by epoch.

It is what a reader of the tutorial would run, and so the baseline. The code is the same
on every backend.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from echobench.core.coding import Coding, Tensor
from echobench.core.experiment import BETA_1, BETA_2, EPSILON, Experiment, build_network
from echobench.core.forms import PlainForm, takes_tokens, undrawn
from echobench.core.own_layers import layers_within
from echobench.core.rows import check_supervised
from echobench.core.sequences import Floats, Integers
from echobench.core.task import Recipe


class TrackedLSTM(keras.layers.LSTM):  # type: ignore[misc] # Keras is untyped
    """`keras.layers.LSTM` whose stateful variables belong to the model's variables.

    Keras (3.15) leaves them out. A compiled step on JAX then has nowhere to return them,
    and `stateful=True` silently starts every batch at zero.

    Attributes:
        stepped: whether the cell ran step by step. Keras tries the backend's fused kernel
            first and does not report which it took.
        calls: how often Python ran the layer: once for each compiled program, or at every
            call where nothing is compiled.
    """

    stepped = False
    calls = 0

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build as Keras does, track the state, and note when the cell is called."""
        super().build(sequences_shape, initial_state_shape)
        self.tracked_states = list(self.states or [])  # empty if the layer is stateless
        call = self.cell.call

        @functools.wraps(call)
        def noted(*inputs: Any, **options: Any) -> Any:
            self.stepped = True
            return call(*inputs, **options)

        self.cell.call = noted

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor = None,
        training: Any = None,
    ) -> Any:
        self.calls += 1
        return super().call(sequences, initial_state, mask, training)


class StatefulForm(PlainForm):
    """The tutorial's layers, for a fixed number of samples in a batch.

    With `stateful`, they keep their state from batch to batch; `options` are further
    arguments of `keras.layers.LSTM`.
    """

    def __init__(self, coding: Coding, batch: int, stateful: bool, **options: Any) -> None:
        super().__init__(coding, carry=False)
        self._batch = batch
        self._options = {"stateful": stateful, **options}

    def _layer(self, units: int, sequences: bool) -> Any:
        return TrackedLSTM(units, return_sequences=sequences, **self._options)


class FitTrainer:
    """Calls `model.fit` once an epoch and resets the stateful layers after it.

    The `lstm_options` are the backend's.
    """

    def __init__(self, program: Experiment, lstm_options: dict[str, Any]) -> None:
        self._task, self._recipe = program.task, program.recipe
        self._batches = program.batches
        self._lstm_options = lstm_options
        self._batch = self._recipe.batch * self._recipe.sequences
        self._is_checked = False
        self._optimizer: Any = None
        form = StatefulForm(self._task.coding, self._batch, self._recipe.stateful, **lstm_options)
        with undrawn():
            self._model = build_network(self._task, form, self._recipe.units).model

    def reset(self, weights: list[Floats]) -> None:
        # Compiled once: Keras forgets its program where a model is compiled again.
        self._optimizer = self._optimizer or self._compiled()
        for variable, value in zip(self._optimizer.variables, self._unused, strict=True):
            variable.assign(value)
        for variable, value in zip(self._model.trainable_variables, weights, strict=True):
            variable.assign(value)
        self._reset_states()

    def _compiled(self) -> Any:
        """Compile the model; return its optimizer, and keep that one's variables as they are."""
        optimizer = keras.optimizers.Adam(
            schedule(self._recipe),
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            global_clipnorm=self._recipe.clip or None,
        )
        _update_densely(optimizer, self._model)
        # Missing targets weigh nothing: the mean is over the others.
        self._model.compile(
            loss=self._task.coding.loss(reduction="mean_with_sample_weight"),
            optimizer=optimizer,
            weighted_metrics=[self._task.coding.accuracy()],
        )
        optimizer.build(self._model.trainable_variables)
        self._unused = [keras.ops.convert_to_numpy(v).copy() for v in optimizer.variables]
        return optimizer

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train an epoch on each of rows; return losses and accuracies, each [epochs, 1]."""
        histories = [self._epoch(sequences) for sequences in rows]
        losses = np.array([[h.history["loss"][0]] for h in histories], np.float32)
        accuracies = np.array([[h.history["accuracy"][0]] for h in histories], np.float32)
        return losses, accuracies

    def first_losses(self, rows: Integers) -> Floats:
        """Train as `train` does; return the loss of every update, from Keras' running means."""
        losses: list[float] = []
        for sequences in rows:
            means = _RunningMeans()
            self._epoch(sequences, means)
            sums = np.array(means.losses) * np.arange(1, self._batches + 1)
            losses += np.diff(sums, prepend=0.0).tolist()
        return np.array(losses, np.float32)

    def weights(self) -> list[Floats]:
        return [keras.ops.convert_to_numpy(v) for v in self._model.trainable_variables]

    @property
    def traces(self) -> int:
        """How often Python ran the network's code."""
        return sum(layer.calls for layer in self._recurrent[:1])

    @property
    def _recurrent(self) -> list[TrackedLSTM]:
        return [layer for layer in self._model.layers if isinstance(layer, TrackedLSTM)]

    def execution(self) -> dict[str, Any]:
        """Return how training ran: compiled or not, and the kernel observed in each LSTM."""
        kernels = ["steps" if layer.stepped else "the fused kernel" for layer in self._recurrent]
        return {
            "engine": "one model.fit an epoch, framing with pandas",
            "jit": self._model.jit_compile,
            "lstm": kernels,
            "lstm_options": self._lstm_options,
        }

    def _epoch(self, sequences: Integers, *callbacks: keras.callbacks.Callback) -> Any:
        if not self._is_checked:
            check_supervised(self._task, sequences[0])
            self._is_checked = True
        framed = [self._task.supervised(sequence) for sequence in sequences]
        x = self._by_batch([x for x, _ in framed])
        y = self._by_batch([y for _, y in framed])
        history = self._model.fit(
            x if takes_tokens(self._model) else self._task.coding.encode(x),
            self._task.coding.encode(y),
            sample_weight=(y >= 0).astype(np.float32) if self._task.has_missing else None,
            batch_size=self._batch,
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )
        self._reset_states()
        return history

    def _by_batch(self, samples: list[Integers]) -> Integers:
        """Order the samples of parallel sequences by batch: [samples of all, n]."""
        stacked = np.stack(samples).reshape(len(samples), self._batches, self._recipe.batch, -1)
        return stacked.swapaxes(0, 1).reshape(-1, stacked.shape[-1])

    def _reset_states(self) -> None:
        for layer in self._model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_states()


class _RunningMeans(keras.callbacks.Callback):  # type: ignore[misc] # Keras is untyped
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        self.losses.append(float(logs["loss"]))


def _update_densely(optimizer: Any, model: Any) -> None:
    """Have every row of an embedding updated, as on all backends.

    On TensorFlow Keras updates the moments of the rows alone that a batch looks up, which is
    another optimizer.
    """
    if not any(isinstance(one, keras.layers.Embedding) for one in layers_within(model)):
        return
    apply = optimizer.apply

    def densely(gradients: Any, variables: Any = None) -> None:
        apply([g + keras.ops.zeros(g.shape) for g in gradients], variables)

    optimizer.apply = densely


def schedule(recipe: Recipe) -> Any:
    """Return the recipe's learning rate as a number or a Keras schedule."""
    if not recipe.warmup and not recipe.decay:
        return recipe.learning_rate
    if not recipe.decay:
        return keras.optimizers.schedules.PolynomialDecay(
            0.0, recipe.warmup, end_learning_rate=recipe.learning_rate
        )
    if not recipe.warmup:
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.decay)
    return keras.optimizers.schedules.CosineDecay(
        0.0, recipe.decay, warmup_target=recipe.learning_rate, warmup_steps=recipe.warmup
    )
