"""The echo networks and their alternate topologies, each defined once.

A network is built with a *form*, which decides what its layers are made of; the layers,
their weights and the order of these are the same in every form. `forms.py` and `fit.py`
have the forms in Keras: what a reader of the tutorial would write, what is saved, and
what the fused engines compile. `outline.py` has one that lists the layers, for programs
without Keras.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from echobench.core.coding import Coding, Tensor


@dataclass
class Network:
    """A built network.

    Attributes:
        model: in Keras' forms a `keras.Model` with input x and output y, or [x, *states] and
            [y, *states] if the form carries states; in an outline a list of layers.
        output_shape: shape of y, [steps, width]; the samples are left out.
        state_units: in Keras' forms the widths of the carried states, in order.
    """

    model: Any
    output_shape: tuple[int, ...]
    state_units: list[int] = field(default_factory=list)


class Form(ABC):
    """Makes the layers of a network; `Task.network` is written with its methods.

    A network may mix in layers of Keras' own, such as
    `keras.layers.Attention()([queries, values])`; backends without Keras then do not
    support the task. A recurrent one starts at zero in every batch, whatever the recipe
    carries.

    Args:
        coding: how tokens are represented, as inputs and as outputs.
        carry: whether the state of each recurrent layer is an input and an output of the
            network; if not, it starts at zero in every call.
    """

    def __init__(self, coding: Coding, carry: bool) -> None:
        self.coding = coding
        self.carry = carry

    @abstractmethod
    def input(self, steps: int) -> Tensor:
        """Return the network's input: `steps` encoded tokens, float32 [samples, steps, width]."""

    @abstractmethod
    def tokens(self, steps: int) -> Tensor:
        """Return the network's input, in place of `input`, as integers [samples, steps].

        A missing token is -1.
        """

    @abstractmethod
    def skip_missing(self, x: Tensor) -> Tensor:
        """Return the input x with a mask: layers that take one skip its missing tokens.

        Raises:
            NetworkError: x is not what `input` returned.
        """

    @abstractmethod
    def steps_as_features(self, x: Tensor) -> Tensor:
        """Return the input x with its timesteps as features, [samples, 1, steps * width]."""

    @abstractmethod
    def lstm(
        self, x: Tensor, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Tensor:
        """Apply an LSTM to x [samples, steps, features].

        Args:
            x: the layer's input; [samples, features] if `repeat` is given.
            units: width of the state.
            sequences: return every step [samples, steps, units], not only the last.
            repeat: feed the vector x this many times (Keras' RepeatVector).
        """

    @abstractmethod
    def attention(self, queries: Tensor, values: Tensor) -> Tensor:
        """Return each query concatenated with its dot-product attention over the values.

        The values are one for each step of the input; skipped tokens get no attention.
        Shapes: [samples, n, units] and [samples, steps, units] to [samples, n, 2 units].
        """

    @abstractmethod
    def output_per_step(self, x: Tensor) -> Tensor:
        """Apply one output layer to each step of x: [samples, steps, width]."""

    @abstractmethod
    def output_at_once(self, x: Tensor, steps: int) -> Tensor:
        """Compute the output of all `steps` as one vector from x [samples, features].

        Shape: [samples, steps, width].
        """

    @abstractmethod
    def network(self, y: Tensor) -> Network:
        """Return the network that ends with the output y."""


def sequence_to_sequence(form: Form, n_in: int, units: int, *, masked: bool = False) -> Network:
    """Build the whole echo's network: an LSTM with an output at every step.

    Shapes: [samples, n_in, width] to [samples, n_in, width], where `width` is
    the coding's. With `masked`, missing tokens are skipped.
    """
    x = form.input(n_in)
    if masked:
        x = form.skip_missing(x)
    x = form.lstm(x, units, sequences=True)
    return form.network(form.output_per_step(x))


def encoder_decoder(
    form: Form, n_in: int, n_out: int, units: int, *, masked: bool = False
) -> Network:
    """Build the partial echo's network: the decoder sees only the encoder's last state.

    Shapes: [samples, n_in, width] to [samples, n_out, width]. With `masked`, missing
    tokens are skipped.
    """
    x = form.input(n_in)
    if masked:
        x = form.skip_missing(x)
    x = form.lstm(x, units)
    x = form.lstm(x, units, sequences=True, repeat=n_out)
    return form.network(form.output_per_step(x))


def attention_encoder_decoder(
    form: Form, n_in: int, n_out: int, units: int, *, masked: bool = False
) -> Network:
    """Build an encoder and a decoder that attends to every state of the encoder.

    Dot-product attention follows the decoder (Luong et al. 2015). Shapes:
    [samples, n_in, width] to [samples, n_out, width]. With `masked`, missing tokens are
    skipped.
    """
    x = form.input(n_in)
    if masked:
        x = form.skip_missing(x)
    memory = form.lstm(x, units, sequences=True)
    decoded = form.lstm(memory[:, -1], units, sequences=True, repeat=n_out)
    return form.network(form.output_per_step(form.attention(decoded, memory)))


def many_to_one(form: Form, n_in: int, n_out: int, units: int) -> Network:
    """Build an alternate topology: the output is one vector of n_out * width.

    Shapes: [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.lstm(form.input(n_in), units)
    return form.network(form.output_at_once(x, n_out))


def one_to_one(form: Form, n_in: int, n_out: int, units: int) -> Network:
    """Build an alternate topology: one step with all timesteps as features, one output vector.

    Shapes: [samples, n_in, width] to [samples, n_out, width].
    """
    x = form.lstm(form.steps_as_features(form.input(n_in)), units)
    return form.network(form.output_at_once(x, n_out))
