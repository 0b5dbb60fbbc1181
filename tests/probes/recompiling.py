"""A plugin file: backends that compile for each length of a dispatch, or train on its padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from echobench_plugins.backends.jax import Jax

from echobench import Backend, Floats, Integers, Trainer, hookimpl

if TYPE_CHECKING:
    from echobench import Program


class ByLength(Jax):  # type: ignore[misc] # its types are not read
    """Keras on JAX, with rows that are never padded."""

    name: ClassVar[str] = "by-length"
    reference: ClassVar[bool] = False

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _ByLength(program, super().trainer)


class _ByLength(Trainer):
    def __init__(self, program: Program, make: Any) -> None:
        self._program, self._make = program, make
        self._last = make(program, 1)
        self._made = {1: self._last}

    def reset(self, weights: list[Floats]) -> None:
        self._last.reset(weights)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        length = len(rows)
        if length not in self._made:
            self._made[length] = self._make(self._program, length)
        trainer = self._made[length]
        trainer.learner = self._last.learner
        self._last = trainer
        losses, accuracies = trainer.train(rows)
        return losses, accuracies

    def weights(self) -> list[Floats]:
        found: list[Floats] = self._last.weights()
        return found

    def execution(self) -> dict[str, Any]:
        found: dict[str, Any] = self._last.execution()
        return found


class Padding(Jax):  # type: ignore[misc] # as above
    """Keras on JAX, with rows padded to the trainer's chunk, and trained on to the last."""

    name: ClassVar[str] = "padding"
    reference: ClassVar[bool] = False

    def trainer(self, program: Program, chunk: int) -> Trainer:
        trainer: Trainer = super().trainer(program, chunk)
        train = trainer.train

        def padded(rows: Integers) -> tuple[Floats, Floats]:
            more = np.zeros((chunk - len(rows), *rows.shape[1:]), rows.dtype)
            losses, accuracies = train(np.concatenate([rows, more]))
            return losses[: len(rows)], accuracies[: len(rows)]

        trainer.train = padded  # type: ignore[method-assign] # that is the mistake
        return trainer


@hookimpl
def echobench_backends() -> list[Backend]:
    return [ByLength(), Padding()]
