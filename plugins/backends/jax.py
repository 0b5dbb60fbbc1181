"""JAX: many epochs in one XLA program, the epoch loop on the device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from echobench import (
    Backend,
    Floats,
    Integers,
    Predictor,
    ReplicatedTrainer,
    Trainer,
    UnavailableError,
    hookimpl,
)

from ._frameworks import CompiledLoop, OnJax

if TYPE_CHECKING:
    from echobench import Learner, Program


class Jax(OnJax):
    """Keras on JAX."""

    name = "jax"
    requires = ("jax", "jaxlib")
    reference = True

    def distribute(self, device: str, count: int) -> None:
        """Train data-parallel with Keras' distribution; split a CPU into virtual devices."""
        import jax

        if device == "cpu":
            jax.config.update("jax_num_cpu_devices", count)
        import keras

        names = keras.distribution.list_devices(device)
        if len(names) < count:
            raise UnavailableError(f"expected {count} devices; jax sees {', '.join(names)}")
        parallel = keras.distribution.DataParallel(devices=names[:count])
        keras.distribution.set_distribution(parallel)

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _JaxTrainer(program, chunk)

    def replicated_trainer(self, program: Program, chunk: int, count: int) -> ReplicatedTrainer:
        return _JaxReplicatedTrainer(program, chunk, count)

    def predictor(self, program: Program) -> Predictor:
        import jax

        compiled = jax.jit(program.predict)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            return np.asarray(compiled(weights, rows.astype(np.int32)), np.int64)

        return predict


class _JaxTrainer(CompiledLoop, Trainer):
    def __init__(self, program: Program, chunk: int) -> None:
        super().__init__(_compiled(program, chunk), chunk)
        self._program = program

    def reset(self, weights: list[Floats]) -> None:
        import jax

        self.learner = jax.tree.map(_on_all_devices, self._program.start(weights))

    def weights(self) -> list[Floats]:
        return [np.asarray(p) for p in self.learner.parameters]

    def execution(self) -> dict[str, Any]:
        kernels = self._program.kernels()
        return {"engine": "fori_loop over epochs", "jit": True, "lstm": kernels}


class _JaxReplicatedTrainer:
    """Equal shares of the replicates, a thread for each core.

    The batched products that `vmap` makes run on a single core.
    """

    def __init__(self, program: Program, chunk: int, count: int) -> None:
        import jax

        cores = _cores() if jax.default_backend() == "cpu" else 1
        self._shares = max(n for n in range(1, cores + 1) if count % n == 0)
        self._size = count // self._shares
        self._program = program
        run = _compiled(program, chunk, self._size)
        self._loops = [CompiledLoop(run, chunk) for _ in range(self._shares)]
        self._threads = ThreadPoolExecutor(self._shares)

    def reset(self, weights: Sequence[list[Floats]]) -> None:
        import jax
        import jax.numpy as jnp

        starts = [self._program.start(replicate) for replicate in weights]
        for number, loop in enumerate(self._loops):
            share = starts[number * self._size : (number + 1) * self._size]
            loop.learner = jax.tree.map(lambda *leaves: jnp.stack(leaves), *share)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        shares = np.split(rows.swapaxes(0, 1), self._shares, axis=1)
        results = self._threads.map(lambda loop, share: loop.train(share), self._loops, shares)
        losses, accuracies = (
            np.concatenate(shares, axis=1).swapaxes(0, 1) for shares in zip(*results, strict=True)
        )
        return losses, accuracies

    def weights(self) -> list[list[Floats]]:
        stacked = [[np.asarray(p) for p in loop.learner.parameters] for loop in self._loops]
        return [[p[number] for p in share] for share in stacked for number in range(self._size)]

    def execution(self) -> dict[str, Any]:
        engine = f"fori_loop over epochs, {self._shares} x {self._size} replicates under vmap"
        return {"engine": engine, "jit": True, "lstm": self._program.kernels()}


def _compiled(program: Program, chunk: int, count: int | None = None) -> Any:
    """Return the jitted loop over epochs: of one learner, or of `count` side by side.

    It takes a learner (donated), rows [chunk, (count,) sequences, length] and the number of
    epochs to train, and returns the learner, losses and accuracies [chunk, (count,) batches].
    """
    import jax
    import jax.numpy as jnp
    from jax import lax

    def value_and_grad(f: Any, parameters: Any) -> Any:
        return jax.value_and_grad(f, has_aux=True)(parameters)

    def advance(learner: Learner, states: Any, rows: Any, block: Any) -> Any:
        return program.advance(learner, states, rows, block, value_and_grad)

    replicates = () if count is None else (count,)
    advance_all = advance if count is None else jax.vmap(advance, in_axes=(0, 0, 0, None))

    def run(learner: Learner, rows: Any, epochs: Any) -> Any:
        def body(step: Any, carry: Any) -> Any:
            learner, states, losses, accuracies = carry
            epoch, block = step // program.rounds, step % program.rounds
            learner, states, loss, accuracy = advance_all(learner, states, rows[epoch], block)
            return learner, states, losses.at[step].set(loss), accuracies.at[step].set(accuracy)

        steps = chunk * program.rounds
        empty = jnp.zeros((steps, *replicates, program.batches // program.rounds), jnp.float32)
        states = [jnp.zeros((*replicates, *s.shape), s.dtype) for s in program.start_states()]
        start = (learner, states, empty, empty)
        learner, _, *metrics = lax.fori_loop(0, epochs * program.rounds, body, start)
        by_round = (m.reshape(chunk, program.rounds, *replicates, -1) for m in metrics)
        ordered = (jnp.moveaxis(m, 1, -2) for m in by_round)
        return learner, *(m.reshape(chunk, *replicates, program.batches) for m in ordered)

    return jax.jit(run, donate_argnums=0)


def _on_all_devices(value: Floats) -> Any:
    """Return a copy on each device that is trained on: the buffers are donated."""
    import jax.numpy as jnp
    import keras

    distribution = keras.distribution.distribution()
    if distribution is None:
        return jnp.array(value)
    layout = keras.distribution.TensorLayout([None] * np.ndim(value), distribution.device_mesh)
    return keras.distribution.distribute_tensor(jnp.array(value), layout)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Jax()]
