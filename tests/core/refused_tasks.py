"""Tasks whose networks cannot be trained as they are written, each for one reason."""

from __future__ import annotations

from typing import Any

from echobench import EchoTask, Form, Network, Recipe, hookimpl


def written(name: str, network: Any) -> Any:
    recipe = Recipe(units=4, batch=21, epochs=1, evaluate_every=1)
    body = {"name": name, "network": network, "recipes": {"closed": recipe}, "__doc__": name}
    metaclass: Any = type(EchoTask)
    return metaclass(name, (EchoTask,), {**body, "__module__": __name__})


def through(make: Any) -> Any:
    """Return a network with the layer that `make` makes of Keras' layers."""

    def network(self: EchoTask, form: Form, units: int) -> Network:
        from keras import layers

        x = make(layers)(layers.Dense(units)(form.input(self.n_in)))
        return form.network(form.output_per_step(x))

    return network


def own(layers: Any) -> Any:
    class Scaled(layers.Layer):  # type: ignore[misc] # Keras is untyped
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(shape=(1,), name="factor")

        def call(self, x: Any) -> Any:
            return x * self.factor

    return Scaled()


def wide(layers: Any) -> Any:
    """Return a layer whose variable has the name of one of Keras', and other values."""
    from keras import initializers

    class Wide(layers.Layer):  # type: ignore[misc] # Keras is untyped
        def build(self, shape: Any) -> None:
            wide = initializers.RandomNormal(0.0, 5.0)
            self.kernel = self.add_weight(shape=(1,), initializer=wide, name="kernel")

        def call(self, x: Any) -> Any:
            return x * self.kernel

    return Wide()


def drawn(shape: Any, dtype: Any = None) -> Any:
    from keras import ops

    return ops.ones(shape, dtype)


def embedded(self: EchoTask, form: Form, units: int) -> Network:
    from keras import layers

    x = form.skip_missing(layers.Embedding(100, units)(form.tokens(self.n_in)))
    return form.network(form.output_per_step(x))


def late(self: EchoTask, form: Form, units: int) -> Network:
    from keras import layers

    x = form.skip_missing(layers.Dense(units)(form.input(self.n_in)))
    return form.network(form.output_per_step(x))


NETWORKS = {
    "nothing": lambda self, form, units: None,
    "bare": lambda self, form, units: form.output_per_step(form.input(self.n_in)),
    "narrow": lambda self, form, units: form.network(form.input(self.n_in)[..., :3]),
    "twice": lambda self, form, units: form.tokens(form.input(self.n_in).shape[1]),
    "number": lambda self, form, units: form.network(3),
    "dropout": through(lambda layers: layers.Dropout(0.5)),
    "inner-dropout": through(lambda layers: layers.GRU(4, dropout=0.5, return_sequences=True)),
    "moving": through(lambda layers: layers.BatchNormalization()),
    "stateful": through(lambda layers: layers.GRU(4, stateful=True, return_sequences=True)),
    "he": through(lambda layers: layers.Dense(4, kernel_initializer="he_normal")),
    "penalty": through(lambda layers: layers.Dense(4, kernel_regularizer="l2")),
    "late-mask": late,
    "embedded-mask": embedded,
    "own-kernel": through(wide),
    "function": through(lambda layers: layers.Dense(4, kernel_initializer=drawn)),
    "lecun": through(
        lambda layers: layers.LSTM(4, return_sequences=True, bias_initializer="lecun_normal")
    ),
    "own-layer": through(own),
}


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [written(name, network) for name, network in NETWORKS.items()]
