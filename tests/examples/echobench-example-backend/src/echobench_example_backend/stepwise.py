"""JAX with the loop over epochs in Python: what does compiling the loop buy?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from echobench import Backend, Floats, Integers, Predictor, Trainer, hookimpl

if TYPE_CHECKING:
    from echobench import Program


class Stepwise(Backend):
    """Keras on JAX, one compiled call for each block of updates."""

    name = "jax-stepwise"
    keras_backend = "jax"
    requires = ("jax", "jaxlib")

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Choose the platform."""
        return {"JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu"}

    def configure(self, device: str, threads: int) -> None:
        """Compute in full float32."""
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def devices(self) -> list[str]:
        """Return the platforms of JAX's devices."""
        import jax

        return sorted({device.platform for device in jax.devices()})

    def trainer(self, program: Program, chunk: int) -> Trainer:
        """Return a Python loop, which needs no buffer for `chunk` epochs."""
        return _Trainer(program)

    def predictor(self, program: Program) -> Predictor:
        """Return the compiled forward pass."""
        import jax

        compiled = jax.jit(program.predict)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            return np.asarray(compiled(weights, rows.astype(np.int32)), np.int64)

        return predict

    def facts(self) -> dict[str, Any]:
        """Return the compiler."""
        return {"compiler": "XLA"}


class _Trainer(Trainer):
    def __init__(self, program: Program) -> None:
        import jax

        def value_and_grad(f: Any, parameters: Any) -> Any:
            return jax.value_and_grad(f, has_aux=True)(parameters)

        def advance(learner: Any, states: Any, rows: Any, block: Any) -> Any:
            return program.advance(learner, states, rows, block, value_and_grad)

        self._program = program
        self._advance = jax.jit(advance)

    def reset(self, weights: list[Floats]) -> None:
        self._learner: Any = self._program.start([np.copy(weight) for weight in weights])

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        losses, accuracies = [], []
        for epoch in rows.astype(np.int32):
            states = self._program.start_states()
            for block in range(self._program.rounds):
                self._learner, states, loss, accuracy = self._advance(
                    self._learner, states, epoch, np.int32(block)
                )
                losses.append(loss)
                accuracies.append(accuracy)
        shape = (len(rows), self._program.batches)
        # np.asarray waits for the device.
        return np.asarray(losses).reshape(shape), np.asarray(accuracies).reshape(shape)

    def weights(self) -> list[Floats]:
        return [np.asarray(parameter) for parameter in self._learner.parameters]

    def execution(self) -> dict[str, Any]:
        kernels = self._program.kernels()
        return {"engine": "a call for each block of updates", "jit": True, "lstm": kernels}


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [Stepwise()]
