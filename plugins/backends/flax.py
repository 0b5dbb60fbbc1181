"""Flax without Keras: Linen modules and optax, jitted, an epoch loop on the device.

What a user of Flax would write: `nn.RNN` around `OptimizedLSTMCell`, one-hot inputs,
optax' cross-entropy and Adam, and `lax.fori_loop` over epochs in one jitted function
with donated buffers. The cells' steps are unrolled, which `nn.RNN` offers. Adam's epsilon is
scaled (`NativeProgram.adam_epsilon`), so that the updates are those of Keras' Adam.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from echobench import (
    Backend,
    Floats,
    Integers,
    LSTMLayer,
    NativeBackend,
    NativeProgram,
    Predictor,
    Trainer,
    hookimpl,
)

from ._frameworks import CompiledLoop, OnJax, PeerNetwork

LONGEST_UNROLLED = 64
"""Steps up to which an LSTM is unrolled."""
GATES = "ifgo"
"""Names of a cell's gates, in the order of Keras' kernels."""


class Flax(OnJax, NativeBackend):
    """Flax on JAX, without Keras."""

    name = "flax"
    requires = ("flax", "optax", "jax", "jaxlib")
    extra = "flax"

    def configure(self, device: str, threads: int) -> None:
        """Import Flax and optax, and turn TF32 off on GPUs."""
        import flax.linen
        import optax

        del flax.linen, optax  # imported here so that their time counts as import time
        super().configure(device, threads)

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        return _FlaxTrainer(program, chunk)

    def predictor(self, program: NativeProgram) -> Predictor:
        import jax
        import jax.numpy as jnp

        network = _FlaxNetwork(program)

        def forward(variables: Any, rows: Any) -> Any:
            program.traces += 1
            answers = network.answers(rows, partial(network.module.apply, variables))
            return jnp.concatenate(answers, axis=1)

        compiled = jax.jit(forward)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            variables = _variables(program, weights)
            return np.asarray(compiled(variables, rows.astype(np.int32)), np.int64)

        return predict


class _FlaxTrainer(CompiledLoop, Trainer):
    def __init__(self, program: NativeProgram, chunk: int) -> None:
        import jax
        import jax.numpy as jnp
        import optax
        from jax import lax

        recipe = program.recipe
        clip = [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
        adam = optax.inject_hyperparams(optax.adam)(
            _schedule(program), eps=lambda updates: program.adam_epsilon(updates + 1)
        )
        self._adam = optax.chain(*clip, adam)
        network = _FlaxNetwork(program)

        def epoch(learner: Any, rows: Any) -> Any:
            variables, state = learner
            states, metrics = None, []
            for number in range(program.batches):
                x, y = network.batch(rows, number)
                (loss, (after, accuracy)), gradients = jax.value_and_grad(
                    network.loss, has_aux=True
                )(variables, x, y, states)
                states = after if program.carries else None
                updates, state = self._adam.update(gradients, state, variables)
                variables = optax.apply_updates(variables, updates)
                metrics.append((loss, accuracy))
            losses, accuracies = (jnp.stack(kind) for kind in zip(*metrics, strict=True))
            return (variables, state), (losses, accuracies)

        def run(learner: Any, rows: Any, epochs: Any) -> Any:
            program.traces += 1

            def body(number: Any, carry: Any) -> Any:
                learner, losses, accuracies = carry
                learner, (loss, accuracy) = epoch(learner, rows[number])
                return learner, losses.at[number].set(loss), accuracies.at[number].set(accuracy)

            empty = jnp.zeros((chunk, program.batches))
            return lax.fori_loop(0, epochs, body, (learner, empty, empty))

        super().__init__(jax.jit(run, donate_argnums=0), chunk)
        self._program = program

    def reset(self, weights: list[Floats]) -> None:
        import jax
        import jax.numpy as jnp

        # jnp.array copies: the buffers are donated, the caller's weights are not.
        variables = jax.tree.map(jnp.array, _variables(self._program, weights))
        self.learner = (variables, self._adam.init(variables))

    def weights(self) -> list[Floats]:
        return _weights(self._program, self.learner[0])

    def execution(self) -> dict[str, Any]:
        steps = [layer.steps for layer in self._program.layers if isinstance(layer, LSTMLayer)]
        kernels = [f"nn.RNN, {_unrolled(n)} steps unrolled" for n in steps]
        return {"engine": "fori_loop over epochs", "jit": True, "lstm": kernels}


class _FlaxNetwork(PeerNetwork):
    """The network as a Linen module."""

    def __init__(self, program: NativeProgram) -> None:
        import flax.linen as nn
        import jax

        super().__init__(program, program.inputs, program.targets)
        encode = self.encode

        class Echo(nn.Module):  # type: ignore[misc] # mypy does not follow Flax
            @nn.compact  # type: ignore[untyped-decorator] # nor its decorators
            def __call__(self, tokens: Any, states: Any) -> Any:
                x, after = encode(tokens), []
                for number, layer in enumerate(program.layers):
                    name = f"layer_{number}"
                    if isinstance(layer, LSTMLayer):
                        if layer.repeat:
                            x = jax.numpy.repeat(x[:, None], layer.steps, axis=1)
                        x = x.reshape(len(x), layer.steps, layer.features)
                        cell = nn.OptimizedLSTMCell(layer.units, name=name)
                        rnn = nn.RNN(cell, return_carry=True, unroll=_unrolled(layer.steps))
                        state, x = rnn(x, initial_carry=states[number] if states else None)
                        after.append(state)
                        x = x if layer.sequences else x[:, -1]
                    else:
                        x = nn.Dense(layer.units, name=name)(x)
                        x = x.reshape(len(x), layer.steps, layer.width)
                return x, after

        self.module = Echo()

    def one_hot(self, tokens: Any) -> Any:
        import jax

        return jax.nn.one_hot(tokens, self.program.width)

    def loss(self, variables: Any, x: Any, y: Any, states: Any) -> Any:
        """Return the mean loss, and with it the states after x and the accuracy."""
        import optax

        outputs, after = self.module.apply(variables, x, states)
        if self.program.scale is None:
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
        else:
            losses = optax.losses.squared_error(outputs, self.encode(y))
        return losses.mean(), (after, (self.decode(outputs) == y).mean())


def _unrolled(steps: int) -> int:
    return steps if steps <= LONGEST_UNROLLED else 1


def _schedule(program: NativeProgram) -> Any:
    import optax

    recipe = program.recipe
    rate, warmup, decay = recipe.learning_rate, recipe.warmup, recipe.decay
    if decay:
        return optax.warmup_cosine_decay_schedule(
            0.0 if warmup else rate, rate, warmup, warmup + decay
        )
    return optax.linear_schedule(0.0, rate, warmup) if warmup else rate


def _variables(program: NativeProgram, weights: list[Floats]) -> Any:
    """Return Keras' weights as Flax names them: a kernel for each gate."""
    remaining = iter(weights)
    layers: dict[str, Any] = {}
    for number, layer in enumerate(program.layers):
        if isinstance(layer, LSTMLayer):
            kernel, recurrent, bias = (np.split(next(remaining), 4, axis=-1) for _ in range(3))
            layers[f"layer_{number}"] = {
                **{f"i{gate}": {"kernel": k} for gate, k in zip(GATES, kernel, strict=True)},
                **{
                    f"h{gate}": {"kernel": k, "bias": b}
                    for gate, k, b in zip(GATES, recurrent, bias, strict=True)
                },
            }
        else:
            layers[f"layer_{number}"] = {"kernel": next(remaining), "bias": next(remaining)}
    return {"params": layers}


def _weights(program: NativeProgram, variables: Any) -> list[Floats]:
    """Return Flax' variables as Keras' weights, in its order."""
    weights: list[Floats] = []
    for number, layer in enumerate(program.layers):
        parameters = variables["params"][f"layer_{number}"]
        if isinstance(layer, LSTMLayer):
            parts = [("i", "kernel"), ("h", "kernel"), ("h", "bias")]
            weights += [
                np.concatenate([np.asarray(parameters[kind + g][name]) for g in GATES], axis=-1)
                for kind, name in parts
            ]
        else:
            weights += [np.asarray(parameters["kernel"]), np.asarray(parameters["bias"])]
    return weights


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Flax()]
