"""JAX without Keras and without a library of layers: arrays, pure functions, and optax.

What somebody who knows JAX writes in an afternoon: the parameters are a list of tuples, the
network a function of them. One-hot tokens are looked up in the kernel and the inputs of all steps
projected at once; short sequences are unrolled, long ones a `lax.scan`; `lax.fori_loop` runs over
epochs in one jitted function with donated buffers. Adam's epsilon is scaled
(`NativeProgram.adam_epsilon`), so that the updates are those of Keras' Adam.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench import (
    Backend,
    Floats,
    LSTMLayer,
    NativeBackend,
    NativeProgram,
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


class JaxPlain(OnJax, NativeBackend):
    """JAX and optax, without Keras and without a library of layers."""

    name = "jax-plain"
    requires = ("optax", "jax", "jaxlib")
    extra = "jax-plain"

    def configure(self, device: str, threads: int) -> None:
        """Import optax, and turn TF32 off on GPUs."""
        import optax

        del optax  # imported here so that its time counts as import time
        super().configure(device, threads)

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        return _JaxPlainTrainer(program, chunk)

    def predictor(self, program: NativeProgram) -> Predictor:
        return jax_predictor(_JaxPlainNetwork(program), lambda weights: _layers(program, weights))


class _JaxPlainTrainer(JaxPeerTrainer):
    def __init__(self, program: NativeProgram, chunk: int) -> None:
        import jax
        import optax

        network, adam = _JaxPlainNetwork(program), optimizer(program)
        gradient = jax.value_and_grad(network.loss, has_aux=True)

        def update(learner: Any, x: Any, y: Any, states: Any) -> Any:
            layers, state = learner
            (loss, (after, accuracy)), gradients = gradient(layers, x, y, states)
            updates, state = adam.update(gradients, state)
            return (optax.apply_updates(layers, updates), state), after, loss, accuracy

        run = jax.jit(epochs_on_the_device(network, chunk, update), donate_argnums=0)
        super().__init__(run, program, chunk, adam, lambda weights: _layers(program, weights))

    def weights(self) -> list[Floats]:
        return [np.asarray(weight) for layer in self.learner[0] for weight in layer]


class _JaxPlainNetwork(JaxNetwork):
    """The network as functions of its parameters: for each layer the tuple of its weights."""

    def forward(self, parameters: Any, tokens: Any, states: Any) -> tuple[Any, Any]:
        x, after = self.entry(tokens), []
        for number, (layer, weights) in enumerate(
            zip(self.program.layers, parameters, strict=True)
        ):
            if isinstance(layer, LSTMLayer):
                kernel, recurrent, bias = weights
                if x is tokens:
                    # A product with one-hot vectors is a lookup; of several tokens, a sum.
                    x = x.reshape(len(x), layer.steps, -1)
                    offsets = self.program.width * np.arange(x.shape[-1])
                    z = kernel[x + offsets].sum(axis=2)
                elif layer.repeat:
                    z = x @ kernel  # once, for all steps
                else:
                    z = x.reshape(len(x), layer.steps, layer.features) @ kernel
                state = states[number] if states else None
                state, x = _lstm(layer, z + bias, recurrent, state)
                after.append(state)
            else:
                kernel, bias = weights
                x = (x @ kernel + bias).reshape(len(x), layer.steps, layer.width)
        return x, after


def _lstm(layer: LSTMLayer, z: Any, recurrent: Any, state: Any) -> tuple[Any, Any]:
    """Return the state (c, h) after the steps, and the output, for projected inputs z.

    z is [samples, steps, 4 units]; for a repeated input [samples, 4 units].
    """
    import jax.numpy as jnp
    from jax import lax
    from jax.nn import sigmoid

    def step(state: Any, z: Any) -> Any:
        if state is not None:  # a zero state is not multiplied
            z = z + state[1] @ recurrent
        i, f, g, o = jnp.split(z, 4, axis=-1)
        new = sigmoid(i) * jnp.tanh(g)
        c = new if state is None else sigmoid(f) * state[0] + new
        h = sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    if layer.steps <= LONGEST_UNROLLED:
        outputs = []
        for number in range(layer.steps):
            state, h = step(state, z if layer.repeat else z[:, number])
            outputs.append(h)
        return state, jnp.stack(outputs, axis=1) if layer.sequences else h
    zeros = jnp.zeros((len(z), layer.units))
    state, hs = lax.scan(
        lambda state, x: step(state, z if x is None else x),
        state or (zeros, zeros),
        None if layer.repeat else jnp.moveaxis(z, 1, 0),
        length=layer.steps,
    )
    return state, jnp.moveaxis(hs, 0, 1) if layer.sequences else hs[-1]


def _layers(program: NativeProgram, weights: list[Floats]) -> list[tuple[Floats, ...]]:
    """Return Keras' weights by layer, in its order."""
    remaining = iter(weights)
    return [tuple(next(remaining) for _ in layer.weight_shapes()) for layer in program.layers]


@hookimpl
def echobench_backends() -> list[Backend]:
    return [JaxPlain()]
