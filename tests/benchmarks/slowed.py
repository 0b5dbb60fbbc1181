"""A plugin for `make regression`: JAX, each dispatch of training made to last 20% longer.

It waits busily after the dispatch, for a fifth of the time that the dispatch took: what is
computed stays the same, so the parity gate passes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from echobench_plugins.backends.jax import Jax

from echobench import Backend, hookimpl

if TYPE_CHECKING:
    from echobench.core.backend import Trainer
    from echobench.core.program import Program
    from echobench.core.sequences import Floats, Integers

SLOWER = 0.2


class Slowed(Jax):  # type: ignore[misc] # mypy knows it under another name
    """JAX, slowed."""

    name: ClassVar[str] = "slowed"
    reference: ClassVar[bool] = False

    def trainer(self, program: Program, chunk: int) -> Trainer:
        """Return JAX's engine, slowed."""
        return _Trainer(super().trainer(program, chunk))


class _Trainer:
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.reset = trainer.reset
        self.first_losses = trainer.first_losses
        self.weights = trainer.weights

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        start = time.perf_counter()
        found = self._trainer.train(rows)
        end = start + (1 + SLOWER) * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return found

    def execution(self) -> dict[str, Any]:
        return {**self._trainer.execution(), "slower": SLOWER}


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [Slowed()]
