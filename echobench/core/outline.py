"""A network as a list of its layers, without Keras, and the arithmetic of each layer.

Operations are counted by closed form: the matrix products of the network as it is
written, forward and backward, a multiplication and an addition each (as in Kaplan et al.
2020). One-hot inputs count as multiplied, even where an engine looks them up, and so does
a zero state. Elementwise operations, the optimizer, and the gradients of the network's
input and first state do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from echobench.core.architectures import Form, Network
from echobench.core.coding import Coding, Linear
from echobench.core.experiment import (
    BETA_2,
    EPSILON,
    Experiment,
    Shapes,
    build_network,
    carries,
)
from echobench.core.task import Recipe, Task
from echobench.errors import NetworkError, UnsupportedError


def lstm_flops(steps: int, features: int, units: int, *, first: bool) -> int:
    """Return the operations of an LSTM for one sample; see `recurrent_flops`."""
    return recurrent_flops(steps, features, units, 4 * units, first=first)


def recurrent_flops(steps: int, features: int, units: int, width: int, *, first: bool) -> int:
    """Return the operations of a recurrent layer for one sample.

    Its kernels are `width` wide: `units` for each gate. It is `first` if no layer before it has
    weights: no gradient of its input is needed.
    """
    inputs = product_flops(steps * features * width, first=first)
    # The gradient of the first state, one of the first step's three products, is not needed.
    return inputs + product_flops(steps * units * width, first=False) - 2 * units * width


def product_flops(multiplications: int, *, first: bool) -> int:
    """Count a matrix product forward, its gradient of the weights, and of the input."""
    return 2 * multiplications * (2 if first else 3)


@dataclass(frozen=True)
class LSTMLayer:
    """An LSTM with Keras' weights, gates in the order input, forget, cell, output.

    Attributes:
        steps: length of the sequence.
        features: width of its input at each step.
        units: width of its state.
        sequences: whether it returns the output of every step, or only the last.
        repeat: whether its input is one vector, fed at every step.
    """

    steps: int
    features: int
    units: int
    sequences: bool
    repeat: bool

    def weight_shapes(self) -> Shapes:
        """Return the shapes of kernel, recurrent kernel and bias."""
        gates = 4 * self.units
        return [
            ("kernel", (self.features, gates)),
            ("recurrent_kernel", (self.units, gates)),
            ("lstm_bias", (gates,)),
        ]

    def flops(self, *, first: bool) -> int:
        """Return the operations of an update for one sample."""
        return lstm_flops(self.steps, self.features, self.units, first=first)


@dataclass(frozen=True)
class OutputLayer:
    """The output layer: applied at every step, or giving all steps at once.

    Attributes:
        steps: steps of the output.
        features: width of its input.
        width: width of the output at a step.
        at_once: whether its input is one vector, [samples, features].
    """

    steps: int
    features: int
    width: int
    at_once: bool

    @property
    def units(self) -> int:
        """Width of the layer's kernel: of one step, or of all steps at once."""
        return self.width * (self.steps if self.at_once else 1)

    def weight_shapes(self) -> Shapes:
        """Return the shapes of kernel and bias."""
        return [("kernel", (self.features, self.units)), ("bias", (self.units,))]

    def flops(self, *, first: bool) -> int:
        """Return the operations of an update for one sample."""
        # At once or step by step, the product has as many multiplications.
        return product_flops(self.steps * self.features * self.width, first=first)


Layers = list[LSTMLayer | OutputLayer]

OUTLINED = {
    "Activation", "Dense", "InputLayer", "LSTM", "RepeatVector", "Reshape", "TimeDistributed",
}  # fmt: skip # one line reads better
"""The layers of Keras' form of a network that has an outline."""


class SymbolicOutput:
    """The output of a layer in an outline: its shape, without values."""

    def __init__(self, steps: int, features: int) -> None:
        self.steps = steps
        self.features = features

    def __getitem__(self, key: object) -> NoReturn:
        """Raise UnsupportedError: an outline cannot express a part of a layer's output."""
        raise UnsupportedError("written for a chain of LSTMs and an output, which this task is not")


class OutlineForm(Form):
    """Records the layers of a network that is a chain of LSTMs with an output layer.

    Raises:
        UnsupportedError: the network is not such a chain: it masks, or it attends.
    """

    def __init__(self, coding: Coding, carry: bool) -> None:
        super().__init__(coding, carry)
        self._layers: Layers = []
        self._last: SymbolicOutput | None = None

    def input(self, steps: int) -> SymbolicOutput:
        return self._next(SymbolicOutput(steps, self.coding.width))

    def tokens(self, steps: int) -> NoReturn:
        raise UnsupportedError("written for encoded inputs, not for a network that takes tokens")

    def skip_missing(self, x: SymbolicOutput) -> NoReturn:
        raise UnsupportedError("written for inputs without a mask")

    def steps_as_features(self, x: SymbolicOutput) -> SymbolicOutput:
        return self._next(SymbolicOutput(1, x.steps * x.features), x)

    def lstm(
        self, x: SymbolicOutput, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> SymbolicOutput:
        steps = repeat or x.steps
        self._layers.append(LSTMLayer(steps, x.features, units, sequences, repeat is not None))
        return self._next(SymbolicOutput(steps if sequences else 1, units), x)

    def attention(self, queries: SymbolicOutput, values: SymbolicOutput) -> NoReturn:
        raise UnsupportedError("written for networks without attention")

    def output_per_step(self, x: SymbolicOutput) -> SymbolicOutput:
        self._layers.append(OutputLayer(x.steps, x.features, self.coding.width, at_once=False))
        return self._next(SymbolicOutput(x.steps, self.coding.width), x)

    def output_at_once(self, x: SymbolicOutput, steps: int) -> SymbolicOutput:
        self._layers.append(OutputLayer(steps, x.features, self.coding.width, at_once=True))
        return self._next(SymbolicOutput(steps, self.coding.width), x)

    def network(self, y: SymbolicOutput) -> Network:
        if y is not self._last:
            raise UnsupportedError("written for a chain of layers, which this network is not")
        return Network(self._layers, (y.steps, y.features))

    def _next(self, output: SymbolicOutput, x: SymbolicOutput | None = None) -> SymbolicOutput:
        if x is not self._last:
            raise UnsupportedError("written for a chain of layers, which this network is not")
        self._last = output
        return output


class OutlineError(UnsupportedError):
    """A network does something else with an outline than its form can."""


def lacking(task: Task, recipe: Recipe) -> list[str]:
    """Return the kinds of Keras layers in a network that no outline has, each once.

    It is built in Keras, which a peer's process imports for nothing else but to save a network.

    Raises:
        NetworkError: it is no network in Keras either.
    """
    from echobench.core.forms import PlainForm

    form = PlainForm(task.coding, carries(task, recipe))
    model = build_network(task, form, recipe.units).model
    kinds = dict.fromkeys(type(layer).__name__ for layer in model.operations)
    return [kind for kind in kinds if kind not in OUTLINED]


class NativeProgram(Experiment):
    """The experiment that a `NativeBackend` gets: its network is a list of layers.

    Attributes:
        layers: `LSTMLayer` and `OutputLayer` descriptions, in order.
        width: width of a token as the network sees it.
        scale: the largest token where tokens are scaled to 0..1; None where they are one-hot.

    Raises:
        UnsupportedError: the network is not a chain of LSTMs and an output, or mixes in layers
            of Keras' own; or tokens may be missing, or are coded in a way of the task's own.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        super().__init__(task, recipe)
        if task.has_missing:
            raise UnsupportedError("written for sequences without missing tokens")
        coding = task.coding
        if coding.is_one_hot and coding.has_logits:
            self.scale = None
        elif type(coding) is Linear:  # a subclass may encode in another way
            self.scale = coding.symbols - 1
        else:
            raise UnsupportedError(f"written for one-hot and linear coding, not {coding}")
        self.width = coding.width
        form = OutlineForm(task.coding, self.carries)
        try:
            self.layers: Layers = build_network(task, form, recipe.units).model
        except (NetworkError, UnsupportedError):
            raise
        # A network that mixes in layers of Keras' own can raise anything that Keras raises.
        except Exception as error:
            raise OutlineError(
                f"task {task.name!r} cannot be outlined: {' '.join(str(error).split())}"
            ) from error

    @staticmethod
    def adam_epsilon(updates: Any) -> Any:
        """Return the epsilon that makes torch's or optax's Adam take the steps of Keras'.

        Keras adds epsilon to the root of the second moment before the bias correction
        ("epsilon hat" in Kingma and Ba 2015), torch and optax after it.

        Args:
            updates: number of the update, from 1; a number or an array.
        """
        return EPSILON / (1.0 - BETA_2**updates) ** 0.5

    def weight_shapes(self) -> Shapes:
        """Return the shapes of the layers' weights: those of Keras' form of this network."""
        return [shape for layer in self.layers for shape in layer.weight_shapes()]

    def update_flops(self) -> int:
        """Return the floating-point operations of one update, by closed form."""
        flops = (layer.flops(first=i == 0) for i, layer in enumerate(self.layers))
        return self.samples * sum(flops)
