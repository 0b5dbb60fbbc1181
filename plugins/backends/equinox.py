"""Equinox without Keras: modules of one sample under `jax.vmap`, filtered transformations, optax.

What somebody who knows Equinox writes for speed: an LSTM as a module, since `eqx.nn.LSTMCell`
projects the input within each step, its kernels as Keras has them, [inputs, outputs], where
`eqx.nn.Linear` has [outputs, inputs]. One-hot tokens are looked up and the inputs of all steps
projected at once; short sequences are unrolled, long ones a `lax.scan`; `lax.fori_loop` runs over
epochs in one `eqx.filter_jit` with donated buffers. Adam's epsilon is scaled
(`NativeProgram.adam_epsilon`), so that the updates are those of Keras' Adam.
"""

from __future__ import annotations

import functools
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
            lambda learner, rows, count: run((rows, np.int32(count)), learner),
            program,
            chunk,
            adam,
            network.module,
        )
        self._network = network

    def weights(self) -> list[Floats]:
        return self._network.weights(self.learner[0])


class _EquinoxNetwork(JaxNetwork):
    """The network as a module of one sample, with Keras' weights in and out."""

    def forward(self, parameters: Any, tokens: Any, states: Any) -> tuple[Any, Any]:
        import jax

        outputs, after = jax.vmap(parameters)(tokens, states)
        return outputs, after

    def module(self, weights: list[Floats]) -> Any:
        """Return the module with Keras' weights: its leaves are in the same order."""
        return _echo(self.program, self.entry, weights)

    def weights(self, module: Any) -> list[Floats]:
        """Return the module's weights as Keras has them."""
        import jax

        return [np.asarray(leaf) for leaf in jax.tree.leaves(module)]


@functools.cache
def _modules() -> Any:
    """Return the classes of the network's modules: of a module, all fields are its leaves."""
    import equinox as eqx
    import jax.numpy as jnp
    from jax import Array, lax
    from jax.nn import sigmoid

    class LSTM(eqx.Module):  # type: ignore[misc] # mypy does not follow Equinox
        """An LSTM whose inputs, [steps, features] or tokens, are projected at once."""

        kernel: Array
        recurrent: Array
        bias: Array
        layer: LSTMLayer = eqx.field(static=True)

        def __call__(self, x: Any, state: Any) -> Any:
            layer = self.layer
            if jnp.issubdtype(x.dtype, jnp.integer):
                x = x.reshape(layer.steps, -1)  # several tokens: timesteps as features
                x = x + len(self.kernel) // x.shape[-1] * np.arange(x.shape[-1])
                z = self.kernel[x].sum(axis=1)
            else:
                z = (x if layer.repeat else x.reshape(layer.steps, layer.features)) @ self.kernel
            z = z + self.bias

            def step(state: Any, z: Any) -> Any:
                if state is not None:  # a zero state is not multiplied
                    z = z + state[1] @ self.recurrent
                i, f, g, o = jnp.split(z, 4)
                new = sigmoid(i) * jnp.tanh(g)
                c = new if state is None else sigmoid(f) * state[0] + new
                h = sigmoid(o) * jnp.tanh(c)
                return (c, h), h

            if layer.steps <= LONGEST_UNROLLED:
                outputs = []
                for number in range(layer.steps):
                    # A repeated input is projected once.
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

    class Output(eqx.Module):  # type: ignore[misc] # as above
        """The output of every step, or of all steps at once."""

        kernel: Array
        bias: Array
        layer: OutputLayer = eqx.field(static=True)

        def __call__(self, x: Any) -> Any:
            return (x @ self.kernel + self.bias).reshape(self.layer.steps, self.layer.width)

    class Echo(eqx.Module):  # type: ignore[misc] # as above
        """The layers one after the other: a sample's tokens and states to outputs and states."""

        layers: list[LSTM | Output]
        encode: Callable[[Any], Any] = eqx.field(static=True)

        def __call__(self, tokens: Any, states: Any) -> Any:
            x, after = self.encode(tokens), []
            for number, layer in enumerate(self.layers):
                if isinstance(layer, LSTM):
                    state, x = layer(x, states[number] if states else None)
                    after.append(state)
                else:
                    x = layer(x)
            return x, after

    return LSTM, Output, Echo


def _echo(program: NativeProgram, encode: Callable[[Any], Any], weights: list[Floats]) -> Any:
    """Return the network's module with these weights."""
    lstm, output, echo = _modules()
    remaining = iter(weights)
    layers = [
        (lstm if isinstance(layer, LSTMLayer) else output)(
            *(next(remaining) for _ in layer.weight_shapes()), layer
        )
        for layer in program.layers
    ]
    return echo(layers, encode)


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Equinox()]
