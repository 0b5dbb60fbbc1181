"""Codings: integers to a network's inputs, and its outputs back to integers.

`OneHot` is the tutorial's; `Linear` is one that it leaves to the reader. Each encodes
both on the host (NumPy) and inside a compiled program (tensors), and has a code for
`MISSING`, which is not a token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from echobench.core.sequences import Floats, Integers

Tensor = Any
"""A tensor of any framework, symbolic ones and those of an outline included."""


class Coding(ABC):
    """A representation of tokens; derive from it to define another.

    Attributes:
        width: features of one token.
        activation: activation of the network's last layer, `width` wide for each token.
        missing: the value of every feature of a missing token.
    """

    width: int
    activation: ClassVar[str]
    missing: ClassVar[float]

    @property
    def is_one_hot(self) -> bool:
        """Whether `encode` gives a vector with a single 1 at the token, and zeros for `MISSING`.

        A product with such a vector may be replaced by a lookup.
        """
        return False

    @property
    def has_logits(self) -> bool:
        """Whether it is trained and decoded as a softmax over the tokens.

        The loss is then computed from the logits, and the answer is the largest of them.
        """
        return False

    @abstractmethod
    def encode(self, tokens: Integers) -> Floats:
        """Encode NumPy integers [...] as float32 [..., width]."""

    @abstractmethod
    def encode_tensor(self, tokens: Tensor) -> Tensor:
        """Encode a backend's or a symbolic integer tensor [...] as float32 [..., width].

        Write it with `keras.ops`, whose functions take both.
        """

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Decode a network's outputs, a backend's tensor [..., width], as integers [...]."""

    def certainty(self, outputs: Floats) -> tuple[str, Floats] | None:
        """Return how certain outputs [..., width] are of the tokens they decode to.

        Returns:
            The measure's name and its values [...], both NumPy; None if there is no measure.
        """
        return None

    @abstractmethod
    def loss(self, **options: Any) -> Any:
        """Return the Keras loss between encoded targets and outputs."""

    @abstractmethod
    def losses(self, tokens: Tensor, outputs: Tensor) -> Tensor:
        """Return the loss of each target [...], from outputs [..., width]: the values of `loss`."""

    def accuracy(self) -> Any:
        """Return the Keras metric: the share of targets that are answered right."""
        import keras
        from keras import ops

        def right(y_true: Tensor, y_pred: Tensor) -> Tensor:
            return ops.cast(self.decode(y_true) == self.decode(y_pred), "float32")

        return keras.metrics.MeanMetricWrapper(right, name="accuracy")


@dataclass(frozen=True)
class OneHot(Coding):
    """A vector with a single 1; softmax, categorical cross-entropy, decoded by argmax.

    A missing token is a vector of zeros.
    """

    width: int
    activation: ClassVar[str] = "softmax"
    missing: ClassVar[float] = 0.0

    @property
    def is_one_hot(self) -> bool:
        """True; false in a subclass that encodes in another way."""
        return self._keeps("encode", "encode_tensor")

    @property
    def has_logits(self) -> bool:
        """True; false in a subclass with another loss, activation or decoding."""
        return self._keeps("encode_tensor", "decode", "activation", "loss", "losses")

    def _keeps(self, *members: str) -> bool:
        return all(getattr(type(self), name) is getattr(OneHot, name) for name in members)

    def encode(self, tokens: Integers) -> Floats:
        """Return vectors [..., width] with a single 1."""
        encoded: Floats = (tokens[..., np.newaxis] == np.arange(self.width)).astype(np.float32)
        return encoded

    def encode_tensor(self, tokens: Tensor) -> Tensor:
        """Return vectors [..., width] with a single 1."""
        from keras import ops

        # Not ops.one_hot: on torch it reads the values, which a traced tensor does not have.
        alphabet = np.arange(self.width, dtype=np.int32)
        return ops.cast(ops.equal(ops.expand_dims(tokens, -1), alphabet), "float32")

    def decode(self, outputs: Tensor) -> Tensor:
        """Return the argmax over the last axis, the first of equal values."""
        from keras import ops

        # Two plain reductions: compilers vectorise them, but not argmax.
        largest = ops.max(outputs, axis=-1, keepdims=True)
        tokens = np.arange(self.width, dtype=np.int32)
        return ops.min(ops.where(ops.greater_equal(outputs, largest), tokens, self.width), axis=-1)

    def certainty(self, outputs: Floats) -> tuple[str, Floats] | None:
        """Return the softmax probability of the decoded token, as `confidence`."""
        return "confidence", outputs.max(axis=-1)

    def loss(self, **options: Any) -> Any:
        """Return categorical cross-entropy."""
        import keras

        return keras.losses.CategoricalCrossentropy(**options)

    def losses(self, tokens: Tensor, outputs: Tensor) -> Tensor:
        """Return the negative log probability of the right token, clipped as Keras clips it."""
        import keras
        from keras import ops

        # A softmax adds up to 1, so Keras' division by the sum is left out.
        probability = ops.sum(self.encode_tensor(tokens) * outputs, axis=-1)
        epsilon = keras.config.epsilon()
        return -ops.log(ops.clip(probability, epsilon, 1.0 - epsilon))


@dataclass(frozen=True)
class Linear(Coding):
    """One feature in 0..1; mean squared error, decoded by rounding to the nearest integer.

    A missing token is -1.

    Attributes:
        symbols: tokens are 0..symbols-1.
    """

    symbols: int
    width: ClassVar[int] = 1  # type: ignore[misc] # the base leaves it to the instance
    activation: ClassVar[str] = "linear"
    missing: ClassVar[float] = -1.0

    def encode(self, tokens: Integers) -> Floats:
        """Return tokens / (symbols - 1), of shape [..., 1]."""
        scaled = tokens[..., np.newaxis].astype(np.float32) * np.float32(1 / (self.symbols - 1))
        encoded: Floats = np.where(tokens[..., np.newaxis] < 0, np.float32(self.missing), scaled)
        return encoded

    def encode_tensor(self, tokens: Tensor) -> Tensor:
        """Return tokens / (symbols - 1), of shape [..., 1]."""
        from keras import ops

        tokens = ops.expand_dims(tokens, -1)
        scaled = ops.cast(tokens, "float32") * np.float32(1 / (self.symbols - 1))
        return ops.where(tokens < 0, np.float32(self.missing), scaled)

    def decode(self, outputs: Tensor) -> Tensor:
        """Return the nearest integers, within 0..symbols-1."""
        from keras import ops

        nearest = ops.round(outputs[..., 0] * (self.symbols - 1))
        return ops.cast(ops.clip(nearest, 0, self.symbols - 1), "int32")

    def certainty(self, outputs: Floats) -> tuple[str, Floats] | None:
        """Return the `distance` from the output to its rounded integer; not a probability."""
        scaled = outputs[..., 0] * np.float32(self.symbols - 1)
        return "distance", np.abs(scaled - np.clip(np.rint(scaled), 0, self.symbols - 1))

    def loss(self, **options: Any) -> Any:
        """Return mean squared error."""
        import keras

        return keras.losses.MeanSquaredError(**options)

    def losses(self, tokens: Tensor, outputs: Tensor) -> Tensor:
        """Return the squared error."""
        from keras import ops

        return ops.square(outputs[..., 0] - self.encode_tensor(tokens)[..., 0])
