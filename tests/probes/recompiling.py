"""A plugin file: a backend that compiles a program for each length of a dispatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

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


@hookimpl
def echobench_backends() -> list[Backend]:
    return [ByLength()]
