"""Equinox without Keras: modules of one sample under `jax.vmap`, filtered transformations, optax.

What somebody who knows Equinox writes for speed: an LSTM as a module of `eqx.nn.Linear`, since
`eqx.nn.LSTMCell` projects the input within each step; one-hot tokens looked up
(`eqx.nn.Embedding`) and the inputs of all steps projected at once; short sequences unrolled, long
ones by `lax.scan`; and `lax.fori_loop` over epochs in one `eqx.filter_jit` with donated buffers.
Adam's epsilon is scaled (`NativeProgram.adam_epsilon`), so that the updates are those of Keras'
Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from echobench import (
    Backend,
    Floats,
    LSTMLayer,
    NativeBackend,
    NativeProgram,
    OutputLayer,
    Predictor,
    Trainer,
    hookimpl,
)

from ._frameworks import (
    LONGEST_UNROLLED,
    JaxNetwork,
    JaxPeerTrainer,
    OnJax,
    epochs_on_the_device,
    jax_predictor,
    looks_up,
    optimizer,
)


class Equinox(OnJax, NativeBackend):
    """Equinox on JAX, without Keras."""

    name = "equinox"
    requires = ("equinox", "optax", "jax", "jaxlib")
    extra = "equinox"

    def configure(self, device: str, threads: int) -> None:
        """Import Equinox and optax, and turn TF32 off on GPUs."""
        import equinox
        import optax

        del equinox, optax  # imported here so that their time counts as import time
        super().configure(device, threads)

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        return _EquinoxTrainer(program, chunk)

    def predictor(self, program: NativeProgram) -> Predictor:
        network = _EquinoxNetwork(program)
        return jax_predictor(network, network.module)


class _EquinoxTrainer(JaxPeerTrainer):
    def __init__(self, program: NativeProgram, chunk: int) -> None:
        import equinox as eqx

        network, adam = _EquinoxNetwork(program), optimizer(program)

        @eqx.filter_value_and_grad(has_aux=True)  # type: ignore[untyped-decorator] # not followed
        def gradient(module: Any, x: Any, y: Any, states: Any) -> Any:
            return network.loss(module, x, y, states)

        def update(learner: Any, x: Any, y: Any, states: Any) -> Any:
            module, state = learner
            (loss, (after, accuracy)), gradients = gradient(module, x, y, states)
            updates, state = adam.update(gradients, state)
            return (eqx.apply_updates(module, updates), state), after, loss, accuracy

        epochs = epochs_on_the_device(network, chunk, update)

        @eqx.filter_jit(donate="all-except-first")  # type: ignore[untyped-decorator] # as above
        def run(rows_and_count: Any, learner: Any) -> Any:
            return epochs(learner, *rows_and_count)

        # A Python number would be static, and each count of epochs a program of its own.
        super().__init__(
            lambda learner, rows, count: run((rows, np.int32(count)), learner), program, chunk
        )
        self._network = network
        self._adam = adam

    def reset(self, weights: list[Floats]) -> None:
        import jax
        import jax.numpy as jnp

        # jnp.array copies: the buffers are donated, the caller's weights are not.
        module = jax.tree.map(jnp.array, self._network.module(weights))
        self.learner = (module, self._adam.init(module))

    def weights(self) -> list[Floats]:
        return self._network.weights(self.learner[0])


class _EquinoxNetwork(JaxNetwork):
    """The network as a module of one sample, with Keras' weights in and out."""

    def __init__(self, program: NativeProgram) -> None:
        import equinox as eqx

        super().__init__(program)
        # Shapes without values: Keras' weights take their place.
        self._shapes = eqx.filter_eval_shape(_echo, program, self.encode)

    def forward(self, parameters: Any, tokens: Any, states: Any) -> tuple[Any, Any]:
        import jax

        outputs, after = jax.vmap(parameters)(tokens, states)
        return outputs, after

    def module(self, weights: list[Floats]) -> Any:
        """Return the module with Keras' weights: its leaves are in the same order."""
        import jax

        structure = jax.tree.structure(self._shapes)
        return jax.tree.unflatten(structure, self._turned(weights))

    def weights(self, module: Any) -> list[Floats]:
        """Return the module's weights as Keras has them."""
        import jax

        return self._turned([np.asarray(leaf) for leaf in jax.tree.leaves(module)])

    def _turned(self, weights: list[Floats]) -> list[Floats]:
        """Return kernels transposed, but for a lookup's: those of `eqx.nn.Linear` are."""
        first = 1 if looks_up(self.program) else 0
        return [*weights[:first], *(weight.T for weight in weights[first:])]


def _echo(program: NativeProgram, encode: Callable[[Any], Any]) -> Any:
    """Return the network as an Equinox module: a sample's tokens and states to outputs, states."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.nn import sigmoid

    lookup, key = looks_up(program), jax.random.key(0)

    class LSTM(eqx.Module):  # type: ignore[misc] # mypy does not follow Equinox
        """An LSTM whose inputs, [steps, features] or tokens, are projected at once."""

        inputs: Any
        recurrent: Any
        layer: LSTMLayer = eqx.field(static=True)

        def __init__(self, layer: LSTMLayer, number: int) -> None:
            gates = 4 * layer.units
            if lookup and number == 0:
                self.inputs = eqx.nn.Embedding(layer.features, gates, key=key)
            else:
                self.inputs = eqx.nn.Linear(layer.features, gates, use_bias=False, key=key)
            self.recurrent = eqx.nn.Linear(layer.units, gates, key=key)
            self.layer = layer

        def __call__(self, x: Any, state: Any) -> Any:
            z, layer = self._project(x), self.layer

            def step(state: Any, z: Any) -> Any:
                z = z + (self.recurrent.bias if state is None else self.recurrent(state[1]))
                i, f, g, o = jnp.split(z, 4)
                new = sigmoid(i) * jnp.tanh(g)
                c = new if state is None else sigmoid(f) * state[0] + new
                h = sigmoid(o) * jnp.tanh(c)
                return (c, h), h

            if layer.steps <= LONGEST_UNROLLED:
                outputs = []
                for number in range(layer.steps):
                    # A repeated input is projected once, a zero state is not multiplied.
                    state, h = step(state, z if layer.repeat else z[number])
                    outputs.append(h)
                return state, jnp.stack(outputs) if layer.sequences else h
            zeros = jnp.zeros(layer.units)
            state, hs = lax.scan(
                lambda state, x: step(state, z if x is None else x),
                state or (zeros, zeros),
                None if layer.repeat else z,
                length=layer.steps,
            )
            return state, hs if layer.sequences else hs[-1]

        def _project(self, x: Any) -> Any:
            if isinstance(self.inputs, eqx.nn.Embedding):
                x = x.reshape(self.layer.steps, -1)  # several tokens: timesteps as features
                x = x + program.width * np.arange(x.shape[-1])
                return jax.vmap(jax.vmap(self.inputs))(x).sum(axis=1)
            if self.layer.repeat:
                return self.inputs(x)
            return jax.vmap(self.inputs)(x.reshape(self.layer.steps, self.layer.features))

    class Output(eqx.Module):  # type: ignore[misc] # as above
        linear: Any
        layer: OutputLayer = eqx.field(static=True)

        def __init__(self, layer: OutputLayer) -> None:
            self.linear = eqx.nn.Linear(layer.features, layer.units, key=key)
            self.layer = layer

        def __call__(self, x: Any) -> Any:
            y = jax.vmap(self.linear)(x.reshape(-1, self.layer.features))
            return y.reshape(self.layer.steps, self.layer.width)

    class Echo(eqx.Module):  # type: ignore[misc] # as above
        layers: list[Any]

        def __init__(self) -> None:
            self.layers = [
                LSTM(layer, number) if isinstance(layer, LSTMLayer) else Output(layer)
                for number, layer in enumerate(program.layers)
            ]

        def __call__(self, tokens: Any, states: Any) -> Any:
            x, after = tokens if lookup else encode(tokens), []
            for number, layer in enumerate(self.layers):
                if isinstance(layer, LSTM):
                    state, x = layer(x, states[number] if states else None)
                    after.append(state)
                else:
                    x = layer(x)
            return x, after

    return Echo()


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Equinox()]
