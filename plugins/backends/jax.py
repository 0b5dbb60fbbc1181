"""JAX: many epochs in one XLA program, the epoch loop on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import Backend, hookimpl
from echobench.core.backend import padded

if TYPE_CHECKING:
    from echobench.core.backend import Predictor, Trainer
    from echobench.core.program import Learner, Program
    from echobench.core.sequences import Floats, Integers


class Jax(Backend):
    """Keras on JAX."""

    name: ClassVar[str] = "jax"
    keras_backend: ClassVar[str] = "jax"
    requires: ClassVar[tuple[str, ...]] = ("jax", "jaxlib")
    reference: ClassVar[bool] = True

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Choose the platform; XLA takes its threads from the affinity."""
        return {"JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu"}

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Keep every compiled program, however small and soon made."""
        return {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def configure(self, device: str, threads: int) -> None:
        """Turn TF32 off on GPUs."""
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def devices(self) -> list[str]:
        """Return the platforms of JAX's devices."""
        import jax

        try:
            return sorted({device.platform for device in jax.devices()})
        # The platform that was asked for is not there: without its plugin JAX only asserts.
        except (RuntimeError, AssertionError):
            return []

    def trainer(self, program: Program, chunk: int) -> Trainer:
        """Return a `fori_loop` over epochs in one jitted program."""
        return _Trainer(program, chunk)

    def predictor(self, program: Program) -> Predictor:
        """Return the jitted forward pass."""
        import jax

        compiled = jax.jit(program.predict)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            return np.asarray(compiled(weights, rows.astype(np.int32)), np.int64)

        return predict

    def facts(self) -> dict[str, Any]:
        """Return compiler and precision."""
        import jax

        return {
            "compiler": "XLA",
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "device_kind": jax.devices()[0].device_kind,
        }


class _Trainer:
    def __init__(self, program: Program, chunk: int) -> None:
        import jax
        import jax.numpy as jnp
        from jax import lax

        def value_and_grad(f: Any, parameters: Any) -> Any:
            return jax.value_and_grad(f, has_aux=True)(parameters)

        def run(learner: Learner, rows: Any, epochs: Any) -> Any:
            def body(step: Any, carry: Any) -> Any:
                learner, states, losses, accuracies = carry
                epoch, block = step // program.rounds, step % program.rounds
                learner, states, loss, right = program.advance(
                    learner, states, rows[epoch], block, value_and_grad
                )
                return learner, states, losses.at[step].set(loss), accuracies.at[step].set(right)

            steps = chunk * program.rounds
            empty = jnp.zeros((steps, program.batches // program.rounds), jnp.float32)
            start = (learner, program.start_states(), empty, empty)
            learner, _, *seen = lax.fori_loop(0, epochs * program.rounds, body, start)
            return learner, *(s.reshape(chunk, program.batches) for s in seen)

        self._program = program
        self._chunk = chunk
        self._run = jax.jit(run, donate_argnums=0)

    def reset(self, weights: list[Floats]) -> None:
        import jax
        import jax.numpy as jnp

        # jnp.array copies: the buffers are donated, the caller's weights are not.
        self._learner = jax.tree.map(jnp.array, self._program.start(weights))

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        epochs = len(rows)
        self._learner, losses, accuracies = self._run(
            self._learner, padded(rows, self._chunk), epochs
        )
        # np.asarray waits for the device.
        return np.asarray(losses)[:epochs], np.asarray(accuracies)[:epochs]

    def first_losses(self, rows: Integers) -> Floats:
        return self.train(rows)[0].reshape(-1)

    def weights(self) -> list[Floats]:
        return [np.asarray(p) for p in self._learner.parameters]

    def path(self) -> dict[str, Any]:
        kernels = self._program.kernels()
        return {"engine": "fori_loop over epochs", "jit": True, "lstm": kernels}


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [Jax()]
