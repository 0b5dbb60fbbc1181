"""Tasks with networks of Keras' own layers, small enough to compile on every backend."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from echobench import MISSING, EchoTask, Form, Linear, Network, OneHot, Recipe, hookimpl


class Small(EchoTask):
    """Small sequences."""

    recipes: ClassVar = {
        "closed": Recipe(units=4, batch=6, epochs=4, evaluate_every=2, learning_rate=0.01)
    }
    n_in: int = 3
    length: int = 8
    symbols: int = 6


class Recurrent(Small):
    """All recurrent layers, and a convolution."""

    name = "recurrent"

    def network(self, form: Form, units: int) -> Network:
        from keras import layers

        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(form.input(self.n_in))
        x = layers.Conv1D(units, 2, padding="same", activation="tanh")(x)
        x = layers.SimpleRNN(units, return_sequences=True)(x)
        x = layers.GRU(units, return_sequences=True, reset_after=False)(x)
        x = layers.GRU(units, return_sequences=True)(x)
        x = form.lstm(x, units, sequences=True)
        x = layers.TimeDistributed(layers.Dense(units))(x)
        return form.network(form.output_per_step(x))


class Transformer(Small):
    """A causal transformer on tokens."""

    name = "small-transformer"

    def network(self, form: Form, units: int) -> Network:
        from keras import layers, ops

        tokens = form.tokens(self.n_in)
        positions = ops.zeros_like(tokens) + ops.arange(self.n_in, dtype="int32")
        x = layers.Embedding(self.vocabulary, units)(tokens)
        x = x + layers.Embedding(self.n_in, units)(positions)
        attended = layers.MultiHeadAttention(2, 2)(x, x, use_causal_mask=True)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        x = layers.Add()([x, layers.Dense(units, activation="relu")(x)])
        return form.network(form.output_per_step(x))


class Beside(Small):
    """The encoded input goes into an LSTM, which looks it up, and past it."""

    name = "beside"

    def network(self, form: Form, units: int) -> Network:
        from keras import layers

        x = form.input(self.n_in)
        y = form.lstm(x, units, sequences=True)
        x = layers.Dense(units)(layers.Concatenate()([x, y]))
        return form.network(form.output_per_step(x[:, -self.n_in :]))


class Missing(Small):
    """Rows with missing tokens."""

    recipes: ClassVar = {"closed": Small.recipes["closed"].model_copy(update={"batch": 3})}
    has_missing = True

    def sample(self, rng: np.random.Generator, count: int) -> Any:
        rows = super().sample(rng, count)
        return np.where(rows == 0, MISSING, rows)

    def supervised(self, row: Any) -> Any:
        return row[self.framing.inputs], row[self.framing.targets]


class Masks(Missing):
    """A mask and a state go on through layers of Keras' own and from LSTM to LSTM."""

    name = "masks"

    def network(self, form: Form, units: int) -> Network:
        from keras import layers

        x = form.lstm(form.skip_missing(form.input(self.n_in)), units, sequences=True)
        x = form.lstm(layers.LayerNormalization()(x), units, sequences=True)
        return form.network(form.output_per_step(x))


class KerasMasks(Missing):
    """Layers of Keras' own take the mask; the input without it goes past them."""

    name = "keras-masks"

    def network(self, form: Form, units: int) -> Network:
        from keras import layers

        x = form.input(self.n_in)
        masked = form.skip_missing(x)
        y = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(masked)
        z = form.lstm(layers.Dense(units)(masked), units, sequences=True)
        mean = layers.RepeatVector(self.n_in)(layers.GlobalAveragePooling1D()(z))
        past = layers.GRU(units, return_sequences=True)(x)
        joined = layers.Concatenate()([y, layers.GRU(units, return_sequences=True)(masked)])
        x = layers.Dense(units)(layers.Concatenate()([joined, mean, past]))
        return form.network(form.output_per_step(x))


class Numbers(Missing):
    """Missing tokens of a coding that is not one-hot, in a layer of Keras' own, ours, and past."""

    name = "number-masks"

    @property
    def coding(self) -> Any:
        return Linear(self.vocabulary)

    def network(self, form: Form, units: int) -> Network:
        from keras import layers

        x = form.input(self.n_in)
        masked = form.skip_missing(x)
        y = layers.GRU(units, return_sequences=True)(masked)
        z = form.lstm(layers.Dense(units)(masked), units, sequences=True)
        x = layers.Dense(units)(layers.Concatenate()([x, y, z]))
        return form.network(form.output_per_step(x))


class Reversed(OneHot):
    """One-hot, from the last token to the first."""

    def encode(self, tokens: Any) -> Any:
        last = self.width - 1
        return super().encode(np.where(tokens < 0, MISSING, last - tokens))

    def encode_tensor(self, tokens: Any) -> Any:
        from keras import ops

        return super().encode_tensor(ops.where(tokens < 0, MISSING, self.width - 1 - tokens))

    def decode(self, outputs: Any) -> Any:
        return self.width - 1 - super().decode(outputs)


class Subclassed(Small):
    """A coding that derives from OneHot and encodes in another way."""

    name = "subclassed"

    @property
    def coding(self) -> Any:
        return Reversed(self.vocabulary)


@hookimpl
def echobench_tasks() -> list[type[EchoTask]]:
    return [Recurrent, Transformer, Beside, Masks, KerasMasks, Numbers, Subclassed]
