"""Backends with one mistake each, as an honest author makes them: each trains another recipe.

A plugin file. Each is Keras on JAX but for its mistake, so that all that the conformance kit or the
parity gate says of it is about that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from echobench_plugins.backends.jax import Jax

from echobench import Backend, Floats, Integers, Recipe, Task, Trainer, hookimpl

if TYPE_CHECKING:
    from echobench import Program


class Mistaken(Jax):  # type: ignore[misc] # its types are not read
    """Keras on JAX with a mistake.

    Attributes:
        changed: fields of the recipe that it takes for something else.
        constants: of Adam that it has wrong, by name.
    """

    reference: ClassVar[bool] = False
    changed: ClassVar[dict[str, Any]] = {}
    constants: ClassVar[dict[str, float]] = {}

    def program(self, task: Task, recipe: Recipe) -> Program:
        from keras import ops

        from echobench import Program
        from echobench.core.experiment import BETA_1, BETA_2, EPSILON
        from echobench.core.program import Learner

        backend = self
        adam = {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON, **self.constants}

        class Wrong(Program):
            def advance(self, learner: Any, states: Any, rows: Any, block: Any, grad: Any) -> Any:
                return super().advance(learner, states, rows, backend.block(block), grad)

            def _frame(self, rows: Any, batch: Any) -> Any:
                return super()._frame(rows, backend.batch(batch, self.batches))

            def _losses(self, y: Any, outputs: Any) -> Any:
                losses, right = super()._losses(y, outputs)
                return backend.losses(losses, y, self), right

            def _adam(self, learner: Any, gradients: Any) -> Any:
                if not backend.constants:
                    return super()._adam(learner, backend.gradients(gradients, recipe))
                step = learner.step + 1.0
                beta_1, beta_2 = adam["beta_1"], adam["beta_2"]
                rate = self._rate(learner.step)
                rate = rate * ops.sqrt(1.0 - beta_2**step) / (1.0 - beta_1**step)
                if self.recipe.clip:
                    norm = ops.sqrt(sum(ops.sum(g * g) for g in gradients))
                    scale = self.recipe.clip / ops.maximum(norm, self.recipe.clip)
                    gradients = [g * scale for g in gradients]
                parameters, first, second = [], [], []
                for p, m, v, g in zip(*learner[:3], gradients, strict=True):
                    m = m + (g - m) * (1.0 - beta_1)
                    v = v + (g * g - v) * (1.0 - beta_2)
                    parameters.append(p - m * rate / (ops.sqrt(v) + adam["epsilon"]))
                    first.append(m)
                    second.append(v)
                return Learner(parameters, first, second, step)

        program = Wrong(task, recipe.model_copy(update=self.changed))
        if self.rounds_are_batches and program.batches > 1:
            program.rounds = program.batches
        return program

    rounds_are_batches: ClassVar[bool] = False

    def block(self, block: Any) -> Any:
        """Return the number of a block as training takes it."""
        return block

    def batch(self, batch: Any, batches: int) -> Any:
        """Return the batch that is taken for a batch."""
        return batch

    def losses(self, losses: Any, y: Any, program: Program) -> Any:
        """Return the losses of targets y that are averaged."""
        return losses

    def gradients(self, gradients: list[Any], recipe: Recipe) -> list[Any]:
        """Return the gradients that Adam gets."""
        return gradients


class NoDecay(Mistaken):
    """Keeps the rate constant after the warm-up."""

    name: ClassVar[str] = "no-decay"
    changed: ClassVar[dict[str, Any]] = {"decay": 0}


class LongDecay(Mistaken):
    """Counts the decay from the first update, not from the end of the warm-up."""

    name: ClassVar[str] = "long-decay"

    def program(self, task: Task, recipe: Recipe) -> Program:
        longer = {"decay": recipe.decay + recipe.warmup} if recipe.decay else {}
        return super().program(task, recipe.model_copy(update=longer))


class NoWarmup(Mistaken):
    """Begins at the peak."""

    name: ClassVar[str] = "no-warmup"
    changed: ClassVar[dict[str, Any]] = {"warmup": 0}


class NoClip(Mistaken):
    """Takes gradients as long as they are."""

    name: ClassVar[str] = "no-clip"
    changed: ClassVar[dict[str, Any]] = {"clip": 0.0}


class ClipEach(Mistaken):
    """Clips each variable's gradient by its own norm, not all by their common one."""

    name: ClassVar[str] = "clip-each"
    changed: ClassVar[dict[str, Any]] = {"clip": 0.0}

    def gradients(self, gradients: list[Any], recipe: Recipe) -> list[Any]:
        from keras import ops

        if not recipe.clip:
            return gradients
        norms = (ops.sqrt(ops.sum(g * g)) for g in gradients)
        return [
            g * recipe.clip / ops.maximum(norm, recipe.clip)
            for g, norm in zip(gradients, norms, strict=True)
        ]


class ClipValues(ClipEach):
    """Clips each element of the gradients."""

    name: ClassVar[str] = "clip-values"

    def gradients(self, gradients: list[Any], recipe: Recipe) -> list[Any]:
        from keras import ops

        return [ops.clip(g, -recipe.clip, recipe.clip) if recipe.clip else g for g in gradients]


class NoState(Mistaken):
    """Starts each batch at a state of zero."""

    name: ClassVar[str] = "no-state"
    changed: ClassVar[dict[str, Any]] = {"stateful": False}


class NoReset(Mistaken):
    """Carries the state from one sequence to the next."""

    name: ClassVar[str] = "no-reset"
    rounds_are_batches: ClassVar[bool] = True

    def block(self, block: Any) -> Any:
        return block + 1  # as if none were the first

    def batch(self, batch: Any, batches: int) -> Any:
        return batch if batches == 1 else batch - 1


class Swapped(Mistaken):
    """Takes the first two batches of an epoch in the wrong order."""

    name: ClassVar[str] = "swapped-batches"

    def batch(self, batch: Any, batches: int) -> Any:
        from keras import ops

        if batches == 1:
            return batch
        if isinstance(batch, int):
            return {0: 1, 1: 0}.get(batch, batch)
        return ops.where(batch < 2, 1 - batch, batch)


class NoMask(Mistaken):
    """Averages over all targets, those too that are missing."""

    name: ClassVar[str] = "no-mask"

    def losses(self, losses: Any, y: Any, program: Program) -> Any:
        from keras import ops

        if not program.task.has_missing:
            return losses
        return losses * ops.mean(ops.cast(y >= 0, "float32"))


class OneSequence(Mistaken):
    """Learns from the first of the sequences side by side; the loss is that of all."""

    name: ClassVar[str] = "one-sequence"

    def losses(self, losses: Any, y: Any, program: Program) -> Any:
        from keras import ops

        samples = y.shape[0] // program.recipe.sequences
        first = np.arange(y.shape[0]) < samples
        weights = first.reshape(-1, *[1] * (len(losses.shape) - 1)).astype(np.float32)
        return weights * losses + ops.stop_gradient((1.0 - weights) * losses)


class BySequence(Mistaken):
    """Averages over each sequence, then over the sequences, however many targets are missing."""

    name: ClassVar[str] = "by-sequence"

    def losses(self, losses: Any, y: Any, program: Program) -> Any:
        from keras import ops

        present = ops.cast(y >= 0, "float32")
        grouped = ops.reshape(present, (program.recipe.sequences, -1))
        counts = ops.maximum(ops.sum(grouped, axis=1, keepdims=True), 1.0)
        share = ops.sum(grouped) / counts / program.recipe.sequences
        weights = ops.reshape(ops.broadcast_to(share, grouped.shape), y.shape)
        return losses * weights


class Shuffled(Mistaken):
    """Trains the epochs of a dispatch in another order."""

    name: ClassVar[str] = "shuffled"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        trainer: Trainer = super().trainer(program, chunk)
        train = trainer.train

        def shuffled(rows: Integers) -> tuple[Floats, Floats]:
            losses, accuracies = train(rows[::-1])
            return losses[::-1], accuracies[::-1]

        vars(trainer)["train"] = shuffled
        return trainer


class Epsilon(Mistaken):
    """Has the epsilon of torch and optax."""

    name: ClassVar[str] = "epsilon"
    constants: ClassVar[dict[str, float]] = {"epsilon": 1e-8}


class Beta1(Mistaken):
    """Has a beta 1 of its own."""

    name: ClassVar[str] = "beta-1"
    constants: ClassVar[dict[str, float]] = {"beta_1": 0.8}


class Beta2(Mistaken):
    """Has a beta 2 of its own."""

    name: ClassVar[str] = "beta-2"
    constants: ClassVar[dict[str, float]] = {"beta_2": 0.99}


MISTAKES: list[type[Mistaken]] = [
    NoDecay, LongDecay, NoWarmup, NoClip, ClipEach, ClipValues, NoState, NoReset, Swapped, NoMask,
    OneSequence, BySequence, Shuffled, Epsilon, Beta1, Beta2,
]  # fmt: skip # in lines it reads better


@hookimpl
def echobench_backends() -> list[Backend]:
    return [mistake() for mistake in MISTAKES]
