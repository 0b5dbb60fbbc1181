"""Flax without Keras: Linen modules and optax, jitted, an epoch loop on the device.

What a user of Flax would write: `nn.RNN` around `OptimizedLSTMCell`, one-hot inputs,
optax' cross-entropy and Adam, and `lax.fori_loop` over epochs in one jitted function
with donated buffers. The cells' steps are unrolled, which `nn.RNN` offers. optax adds
Adam's epsilon after the bias correction, Keras before it: `keras_epsilon` makes them equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import NativeBackend, hookimpl
from echobench.core.outline import Lstm, keras_epsilon

from ..backends._frameworks import JaxLoop, OnJax

if TYPE_CHECKING:
    from echobench import Backend
    from echobench.core.backend import Predictor, Trainer
    from echobench.core.outline import NativeProgram
    from echobench.core.sequences import Floats, Integers

LONGEST_UNROLLED = 64
"""Steps up to which an LSTM is unrolled."""
GATES = "ifgo"
"""Names of a cell's gates, in the order of Keras' kernels."""


class Flax(OnJax, NativeBackend):
    """Flax on JAX, without Keras."""

    name: ClassVar[str] = "flax"
    requires: ClassVar[tuple[str, ...]] = ("flax", "optax", "jax", "jaxlib")
    extra: ClassVar[str | None] = "flax"

    def configure(self, device: str, threads: int) -> None:
        """Import what is needed, and turn TF32 off on GPUs."""
        import flax.linen
        import optax

        del flax.linen, optax  # it is the time of importing them that is wanted here
        super().configure(device, threads)

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        """Return a `fori_loop` over epochs in one jitted program."""
        return _Trainer(program, chunk)

    def predictor(self, program: NativeProgram) -> Predictor:
        """Return the jitted forward pass."""
        import jax

        compiled = jax.jit(_Network(program).answers)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            variables = _variables(program, weights)
            return np.asarray(compiled(variables, rows.astype(np.int32)), np.int64)

        return predict


class _Network:
    """The layers of an outline as a Linen module, with what is computed of its outputs."""

    def __init__(self, program: NativeProgram) -> None:
        import flax.linen as nn
        import jax

        layers, encoded = program.layers, self._encoded

        class Echo(nn.Module):  # type: ignore[misc] # Flax is not looked into
            @nn.compact  # type: ignore[untyped-decorator] # nor its decorators
            def __call__(self, tokens: Any, states: Any) -> Any:
                x, after = encoded(tokens), []
                for place, layer in enumerate(layers):
                    if isinstance(layer, Lstm):
                        if layer.repeat:
                            x = jax.numpy.repeat(x[:, None], layer.steps, axis=1)
                        x = x.reshape(len(x), layer.steps, layer.features)
                        cell = nn.OptimizedLSTMCell(layer.units, name=f"layer_{place}")
                        unroll = layer.steps if layer.steps <= LONGEST_UNROLLED else 1
                        rnn = nn.RNN(cell, return_carry=True, unroll=unroll)
                        state, x = rnn(x, initial_carry=states[place] if states else None)
                        after.append(state)
                        x = x if layer.sequences else x[:, -1]
                    else:
                        width = layer.width * (layer.steps if layer.at_once else 1)
                        x = nn.Dense(width, name=f"layer_{place}")(x)
                        x = x.reshape(len(x), layer.steps, layer.width)
                return x, after

        self.program = program
        self.module = Echo()

    def batch(self, rows: Any, batch: int) -> tuple[Any, Any]:
        """Frame one batch of samples of rows [sequences, length]."""
        places = (self.program.inputs[batch], self.program.targets[batch])
        x, y = (rows[:, place].reshape(-1, place.shape[-1]) for place in places)
        return x, y

    def decoded(self, outputs: Any) -> Any:
        """Return the tokens that outputs [samples, n_out, width] stand for."""
        import jax.numpy as jnp

        scale = self.program.scale
        if scale is None:
            return outputs.argmax(-1)
        return jnp.clip(jnp.round(outputs[..., 0] * scale), 0, scale).astype("int32")

    def answers(self, variables: Any, rows: Any) -> Any:
        """Echo rows [count, length]: integers [count, samples, n_out]."""
        import jax.numpy as jnp

        self.program.traces += 1
        states, batches = None, []
        for batch in range(self.program.batches):
            x, y = self.batch(rows, batch)
            outputs, after = self.module.apply(variables, x, states)
            states = after if self.program.carries else None
            batches.append(self.decoded(outputs).reshape(len(rows), -1, y.shape[-1]))
        return jnp.concatenate(batches, axis=1)

    def loss(self, variables: Any, x: Any, y: Any, states: Any) -> Any:
        """Return the mean loss, and the states after and the accuracy."""
        import optax

        outputs, after = self.module.apply(variables, x, states)
        if self.program.scale is None:
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
        else:
            losses = optax.losses.squared_error(outputs, self._encoded(y))
        return losses.mean(), (after, (self.decoded(outputs) == y).mean())

    def _encoded(self, tokens: Any) -> Any:
        import jax

        if self.program.scale is None:
            return jax.nn.one_hot(tokens, self.program.width)
        return tokens[..., None].astype("float32") / self.program.scale


class _Trainer(JaxLoop):
    def __init__(self, program: NativeProgram, chunk: int) -> None:
        import jax
        import jax.numpy as jnp
        import optax
        from jax import lax

        recipe = program.recipe
        clip = [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
        adam = optax.inject_hyperparams(optax.adam)(
            _schedule(program), eps=lambda updates: keras_epsilon(updates + 1)
        )
        self._adam = optax.chain(*clip, adam)
        network = _Network(program)

        def epoch(learner: Any, rows: Any) -> Any:
            variables, state = learner
            states, seen = None, []
            for batch in range(program.batches):
                x, y = network.batch(rows, batch)
                values, gradients = jax.value_and_grad(network.loss, has_aux=True)(
                    variables, x, y, states
                )
                loss, (after, right) = values
                states = after if program.carries else None
                updates, state = self._adam.update(gradients, state, variables)
                variables = optax.apply_updates(variables, updates)
                seen.append((loss, right))
            losses, accuracies = (jnp.stack(kind) for kind in zip(*seen, strict=True))
            return (variables, state), (losses, accuracies)

        def run(learner: Any, rows: Any, epochs: Any) -> Any:
            program.traces += 1

            def body(number: Any, carry: Any) -> Any:
                learner, losses, accuracies = carry
                learner, (loss, right) = epoch(learner, rows[number])
                return learner, losses.at[number].set(loss), accuracies.at[number].set(right)

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
        steps = [layer.steps for layer in self._program.layers if isinstance(layer, Lstm)]
        unrolled = [n if n <= LONGEST_UNROLLED else 1 for n in steps]
        kernels = [f"nn.RNN, {n} steps unrolled" for n in unrolled]
        return {"engine": "fori_loop over epochs", "jit": True, "lstm": kernels}


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
    given = iter(weights)
    found: dict[str, Any] = {}
    for place, layer in enumerate(program.layers):
        if isinstance(layer, Lstm):
            kernel, recurrent, bias = (np.split(next(given), 4, axis=-1) for _ in range(3))
            found[f"layer_{place}"] = {
                **{f"i{gate}": {"kernel": k} for gate, k in zip(GATES, kernel, strict=True)},
                **{
                    f"h{gate}": {"kernel": k, "bias": b}
                    for gate, k, b in zip(GATES, recurrent, bias, strict=True)
                },
            }
        else:
            found[f"layer_{place}"] = {"kernel": next(given), "bias": next(given)}
    return {"params": found}


def _weights(program: NativeProgram, variables: Any) -> list[Floats]:
    """Return Flax' variables as Keras' weights, in its order."""
    found: list[Floats] = []
    for place, layer in enumerate(program.layers):
        told = variables["params"][f"layer_{place}"]
        if isinstance(layer, Lstm):
            parts = [("i", "kernel"), ("h", "kernel"), ("h", "bias")]
            found += [
                np.concatenate([np.asarray(told[kind + gate][name]) for gate in GATES], axis=-1)
                for kind, name in parts
            ]
        else:
            found += [np.asarray(told["kernel"]), np.asarray(told["bias"])]
    return found


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [Flax()]
