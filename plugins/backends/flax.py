"""Flax without Keras: Linen modules and optax, jitted, an epoch loop on the device.

What somebody who knows Flax writes for speed: an LSTM as a module, since `nn.RNN` projects the
input within each step; one-hot tokens looked up (`nn.Embed`) and the inputs of all steps projected
at once; short sequences unrolled, long ones by `lax.scan`; optax' cross-entropy and Adam, and
`lax.fori_loop` over epochs in one jitted function with donated buffers. Adam's epsilon is
scaled (`NativeProgram.adam_epsilon`), so that the updates are those of Keras' Adam.
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
        return jax_predictor(_FlaxNetwork(program), lambda weights: _variables(program, weights))


class _FlaxTrainer(JaxPeerTrainer):
    def __init__(self, program: NativeProgram, chunk: int) -> None:
        import jax
        import optax

        network, adam = _FlaxNetwork(program), optimizer(program)

        def update(learner: Any, x: Any, y: Any, states: Any) -> Any:
            variables, state = learner
            (loss, (after, accuracy)), gradients = jax.value_and_grad(network.loss, has_aux=True)(
                variables, x, y, states
            )
            updates, state = adam.update(gradients, state, variables)
            return (optax.apply_updates(variables, updates), state), after, loss, accuracy

        run = jax.jit(epochs_on_the_device(network, chunk, update), donate_argnums=0)
        super().__init__(run, program, chunk, adam, lambda weights: _variables(program, weights))

    def weights(self) -> list[Floats]:
        return _weights(self.program, self.learner[0])


class _FlaxNetwork(JaxNetwork):
    """The network as a Linen module."""

    def __init__(self, program: NativeProgram) -> None:
        super().__init__(program)
        self._module = _echo(program, self.entry)

    def forward(self, parameters: Any, tokens: Any, states: Any) -> tuple[Any, Any]:
        outputs, after = self._module.apply(parameters, tokens, states)
        return outputs, after


def _echo(program: NativeProgram, entry: Callable[[Any], Any]) -> Any:
    """Return the network as a Linen module: tokens and states to outputs and states."""
    import flax.linen as nn
    import jax.numpy as jnp
    from jax import lax

    class LSTM(nn.Module):  # type: ignore[misc] # mypy does not follow Flax
        """An LSTM whose inputs, [samples, steps, features] or tokens, are projected at once."""

        layer: LSTMLayer
        symbols: int | None

        @nn.compact  # type: ignore[untyped-decorator] # nor its decorators
        def __call__(self, x: Any, state: Any) -> Any:
            units, steps = self.layer.units, self.layer.steps
            if self.symbols:
                x = x.reshape(len(x), steps, -1)  # several tokens a step: timesteps as features
                x = x + self.symbols * np.arange(x.shape[-1])
                z = nn.Embed(self.layer.features, 4 * units, name="inputs")(x).sum(axis=2)
            else:
                z = nn.Dense(4 * units, use_bias=False, name="inputs")(x)
            recurrent = self.param("recurrent", nn.initializers.orthogonal(), (units, 4 * units))
            z = z + self.param("bias", nn.initializers.zeros, (4 * units,))

            def step(state: Any, z: Any) -> Any:
                if state is not None:
                    z = z + state[1] @ recurrent
                i, f, g, o = jnp.split(z, 4, axis=-1)
                new = nn.sigmoid(i) * nn.tanh(g)
                c = new if state is None else nn.sigmoid(f) * state[0] + new
                h = nn.sigmoid(o) * nn.tanh(c)
                return (c, h), h

            if steps <= LONGEST_UNROLLED:
                outputs = []
                for number in range(steps):
                    # A repeated input is projected once, a zero state is not multiplied.
                    state, h = step(state, z if self.layer.repeat else z[:, number])
                    outputs.append(h)
                return state, jnp.stack(outputs, axis=1) if self.layer.sequences else h
            zeros = jnp.zeros((len(z), units))
            inputs = None if self.layer.repeat else jnp.moveaxis(z, 1, 0)
            state, hs = lax.scan(
                lambda state, x: step(state, z if x is None else x),
                state or (zeros, zeros),
                inputs,
                length=steps,
            )
            return state, jnp.moveaxis(hs, 0, 1) if self.layer.sequences else hs[-1]

    class Echo(nn.Module):  # type: ignore[misc] # as above
        @nn.compact  # type: ignore[untyped-decorator] # as above
        def __call__(self, tokens: Any, states: Any) -> Any:
            x, after = entry(tokens), []
            for number, layer in enumerate(program.layers):
                name = f"layer_{number}"
                if isinstance(layer, LSTMLayer):
                    symbols = program.width if x is tokens else None
                    if symbols is None and not layer.repeat:
                        x = x.reshape(len(x), layer.steps, layer.features)
                    state = states[number] if states else None
                    state, x = LSTM(layer, symbols, name=name)(x, state)
                    after.append(state)
                else:
                    x = nn.Dense(layer.units, name=name)(x)
                    x = x.reshape(len(x), layer.steps, layer.width)
            return x, after

    return Echo()


def _variables(program: NativeProgram, weights: list[Floats]) -> Any:
    """Return Keras' weights as Flax names them."""
    remaining = iter(weights)
    layers: dict[str, Any] = {}
    for number, layer in enumerate(program.layers):
        if isinstance(layer, LSTMLayer):
            inputs = "embedding" if number == 0 and looks_up(program) else "kernel"
            layers[f"layer_{number}"] = {
                "inputs": {inputs: next(remaining)},
                "recurrent": next(remaining),
                "bias": next(remaining),
            }
        else:
            layers[f"layer_{number}"] = {"kernel": next(remaining), "bias": next(remaining)}
    return {"params": layers}


def _weights(program: NativeProgram, variables: Any) -> list[Floats]:
    """Return Flax' variables as Keras' weights, in its order."""
    weights: list[Any] = []
    for number, layer in enumerate(program.layers):
        parameters = variables["params"][f"layer_{number}"]
        if isinstance(layer, LSTMLayer):
            weights += [*parameters["inputs"].values()]
            weights += [parameters["recurrent"], parameters["bias"]]
        else:
            weights += [parameters["kernel"], parameters["bias"]]
    return [np.asarray(w) for w in weights]


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Flax()]
