"""JAX: many epochs in one XLA program, the epoch loop on the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import hookimpl
from echobench.errors import UnavailableError
from echobench.machine import facts

from ._frameworks import JaxLoop, OnJax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echobench import Backend
    from echobench.core.backend import Predictor, ReplicatedTrainer, Trainer
    from echobench.core.program import Learner, Program
    from echobench.core.sequences import Floats, Integers


class Jax(OnJax):
    """Keras on JAX."""

    name: ClassVar[str] = "jax"
    requires: ClassVar[tuple[str, ...]] = ("jax", "jaxlib")
    reference: ClassVar[bool] = True

    def distribute(self, device: str, count: int) -> None:
        """Train data-parallel, by Keras' distribution; a CPU is parted into virtual devices."""
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
        """Return a `fori_loop` over epochs in one jitted program."""
        return _Trainer(program, chunk)

    def replicated_trainer(self, program: Program, chunk: int, count: int) -> ReplicatedTrainer:
        """Return the same loop over epochs, each of its blocks under `vmap`."""
        return _ReplicatedTrainer(program, chunk, count)

    def predictor(self, program: Program) -> Predictor:
        """Return the jitted forward pass."""
        import jax

        compiled = jax.jit(program.predict)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            return np.asarray(compiled(weights, rows.astype(np.int32)), np.int64)

        return predict


def _compiled(program: Program, chunk: int, count: int | None = None) -> Any:
    """Return the jitted loop over epochs: of one learner, or of `count` side by side.

    It takes a learner (donated), rows [chunk, (count,) sequences, length] and how many epochs
    of these to train, and returns the learner, losses and accuracies [chunk, (count,) batches].
    """
    import jax
    import jax.numpy as jnp
    from jax import lax

    def value_and_grad(f: Any, parameters: Any) -> Any:
        return jax.value_and_grad(f, has_aux=True)(parameters)

    def advance(learner: Learner, states: Any, rows: Any, block: Any) -> Any:
        return program.advance(learner, states, rows, block, value_and_grad)

    beside = () if count is None else (count,)
    step_of_all = advance if count is None else jax.vmap(advance, in_axes=(0, 0, 0, None))

    def run(learner: Learner, rows: Any, epochs: Any) -> Any:
        def body(step: Any, carry: Any) -> Any:
            learner, states, losses, accuracies = carry
            epoch, block = step // program.rounds, step % program.rounds
            learner, states, loss, right = step_of_all(learner, states, rows[epoch], block)
            return learner, states, losses.at[step].set(loss), accuracies.at[step].set(right)

        steps = chunk * program.rounds
        empty = jnp.zeros((steps, *beside, program.batches // program.rounds), jnp.float32)
        states = [jnp.zeros((*beside, *s.shape), s.dtype) for s in program.start_states()]
        start = (learner, states, empty, empty)
        learner, _, *seen = lax.fori_loop(0, epochs * program.rounds, body, start)
        by_round = (s.reshape(chunk, program.rounds, *beside, -1) for s in seen)
        ordered = (jnp.moveaxis(s, 1, -2) for s in by_round)
        return learner, *(s.reshape(chunk, *beside, program.batches) for s in ordered)

    return jax.jit(run, donate_argnums=0)


class _ReplicatedTrainer:
    """Equal shares of the replicates, a thread for each core.

    The batched products that `vmap` makes keep to one core.
    """

    def __init__(self, program: Program, chunk: int, count: int) -> None:
        import jax

        cores = facts.usable_cores() if jax.default_backend() == "cpu" else 1
        self._shares = max(n for n in range(1, cores + 1) if count % n == 0)
        self._program = program
        run = _compiled(program, chunk, count // self._shares)
        self._loops = [JaxLoop(run, chunk) for _ in range(self._shares)]
        self._threads = ThreadPoolExecutor(self._shares)
        self._count = count

    def reset(self, weights: Sequence[list[Floats]]) -> None:
        import jax
        import jax.numpy as jnp

        starts = [self._program.start(one) for one in weights]
        size = self._count // self._shares
        for place, loop in enumerate(self._loops):
            share = starts[place * size : (place + 1) * size]
            loop.learner = jax.tree.map(lambda *leaves: jnp.stack(leaves), *share)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        shares = np.split(rows.swapaxes(0, 1), self._shares, axis=1)
        seen = self._threads.map(lambda loop, share: loop.train(share), self._loops, shares)
        losses, accuracies = zip(*seen, strict=True)
        together = (np.concatenate(kind, axis=1).swapaxes(0, 1) for kind in (losses, accuracies))
        return next(together), next(together)

    def weights(self) -> list[list[Floats]]:
        stacked = [[np.asarray(p) for p in loop.learner.parameters] for loop in self._loops]
        return [
            [p[place] for p in share]
            for share in stacked
            for place in range(self._count // self._shares)
        ]

    def execution(self) -> dict[str, Any]:
        size = self._count // self._shares
        engine = f"fori_loop over epochs, {self._shares} x {size} replicates under vmap"
        return {"engine": engine, "jit": True, "lstm": self._program.kernels()}


class _Trainer(JaxLoop):
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


def _on_all_devices(value: Floats) -> Any:
    """Return a copy on each device that is trained over: the buffers are donated."""
    import jax.numpy as jnp
    import keras

    spread = keras.distribution.distribution()
    if spread is None:
        return jnp.array(value)
    layout = keras.distribution.TensorLayout([None] * np.ndim(value), spread.device_mesh)
    return keras.distribution.distribute_tensor(jnp.array(value), layout)


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [Jax()]
