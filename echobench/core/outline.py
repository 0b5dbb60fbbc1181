"""A network as a list of its layers, for programs that do without Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from echobench.core import flops
from echobench.core.architectures import Form, Network
from echobench.core.coding import Coding, Linear, OneHot
from echobench.core.experiment import BETA_2, EPSILON, Experiment
from echobench.core.sequences import Floats
from echobench.core.task import Recipe, Task
from echobench.core.weights import initial_weights
from echobench.errors import UnsupportedError


@dataclass(frozen=True)
class Lstm:
    """An LSTM with Keras' weights, gates in the order input, forget, cell, output.

    Attributes:
        steps: how many it makes.
        features: of its input at each step.
        units: width of its state.
        sequences: whether it gives the output of every step, or of the last.
        repeat: whether its input is one vector, fed at every step.
    """

    steps: int
    features: int
    units: int
    sequences: bool
    repeat: bool


@dataclass(frozen=True)
class Output:
    """The output layer: one for every step, or one that gives all steps at once.

    Attributes:
        steps: that are asked for.
        features: of its input.
        width: of the output of a step.
        at_once: whether its input is one vector, [samples, features].
    """

    steps: int
    features: int
    width: int
    at_once: bool


Layers = list[Lstm | Output]


def keras_epsilon(updates: Any) -> Any:
    """Return the epsilon with which another Adam makes the updates that Keras' makes.

    Keras adds it to the root of the second moment before that is corrected for its bias
    (Kingma and Ba 2015, "epsilon hat"), torch and optax after.

    Args:
        updates: how many were made, this one included; a number or an array.
    """
    return EPSILON / (1.0 - BETA_2**updates) ** 0.5


class Place:
    """What a layer hands to the next: its shape, and nothing that could be computed with."""

    def __init__(self, steps: int, features: int) -> None:
        self.steps = steps
        self.features = features

    def __getitem__(self, key: object) -> NoReturn:
        """Raise UnsupportedError: parts of a layer's output have no place in a chain."""
        raise UnsupportedError("written for a chain of LSTMs and an output, which this task is not")


class OutlineForm(Form):
    """Writes down a chain of LSTMs that ends with an output layer.

    Raises:
        UnsupportedError: the network is no such chain: it masks, or it attends.
    """

    def __init__(self, coding: Coding, carry: bool) -> None:
        super().__init__(coding, carry)
        self._layers: Layers = []
        self._last: Place | None = None

    def input(self, steps: int) -> Place:
        """Begin the chain."""
        return self._next(Place(steps, self.coding.width))

    def masked(self, x: Place) -> NoReturn:
        """Raise UnsupportedError."""
        raise UnsupportedError("written for inputs without a mask")

    def as_features(self, x: Place) -> Place:
        """Take the steps for features."""
        return self._next(Place(1, x.steps * x.features), x)

    def lstm(
        self, x: Place, units: int, *, sequences: bool = False, repeat: int | None = None
    ) -> Place:
        """Write an LSTM down."""
        steps = repeat or x.steps
        self._layers.append(Lstm(steps, x.features, units, sequences, repeat is not None))
        return self._next(Place(steps if sequences else 1, units), x)

    def attended(self, queries: Place, values: Place) -> NoReturn:
        """Raise UnsupportedError."""
        raise UnsupportedError("written for networks without attention")

    def output_per_step(self, x: Place) -> Place:
        """Write the output layer down."""
        self._layers.append(Output(x.steps, x.features, self.coding.width, at_once=False))
        return self._next(x, x)

    def output_at_once(self, x: Place, steps: int) -> Place:
        """Write the output layer down."""
        self._layers.append(Output(steps, x.features, self.coding.width, at_once=True))
        return self._next(x, x)

    def network(self, y: Place) -> Network:
        """Return the layers."""
        units = [layer.units for layer in self._layers if isinstance(layer, Lstm)]
        return Network(self._layers, [u for u in units for _ in "hc"] if self.carry else [])

    def _next(self, place: Place, x: Place | None = None) -> Place:
        if x is not self._last:
            raise UnsupportedError("written for a chain of layers, which this network is not")
        self._last = place
        return place


class NativeProgram(Experiment):
    """An experiment whose network is an outline, for a framework's own layers.

    Attributes:
        layers: in order.
        width: of a one-hot token.
        scale: the largest token where tokens are numbers in 0..1; None where they are one-hot.

    Raises:
        UnsupportedError: the task's network is no chain, or not written with forms alone; or
            tokens may be missing, or are coded in a way of the task's own.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        super().__init__(task, recipe)
        if task.has_missing:
            raise UnsupportedError("written for sequences without missing tokens")
        if not isinstance(task.coding, OneHot | Linear):
            raise UnsupportedError(f"written for one-hot and linear coding, not {task.coding}")
        self.width = task.coding.width
        self.scale = None if isinstance(task.coding, OneHot) else task.coding.symbols - 1
        form = OutlineForm(task.coding, self.carries)
        try:
            self.layers: Layers = task.network(form, recipe.units).model
        except UnsupportedError:
            raise
        # A network that mixes in layers of Keras' own fails in as many ways as Keras knows.
        except Exception as error:
            raise UnsupportedError(
                f"task {task.name!r} cannot be outlined: {' '.join(str(error).split())}"
            ) from error

    def initial_weights(self, rng: np.random.Generator) -> list[Floats]:
        """Draw what Keras' form of this network would: the same bytes in the same order."""
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for layer in self.layers:
            if isinstance(layer, Lstm):
                gates = 4 * layer.units
                shapes += [
                    ("kernel", (layer.features, gates)),
                    ("recurrent_kernel", (layer.units, gates)),
                    ("lstm_bias", (gates,)),
                ]
            else:
                width = layer.width * (layer.steps if layer.at_once else 1)
                shapes += [("kernel", (layer.features, width)), ("bias", (width,))]
        return initial_weights(shapes, rng)

    def update_flops(self) -> int:
        """Return the operations of the network as it is written; see `flops`."""
        total = 0
        for place, layer in enumerate(self.layers):
            if isinstance(layer, Lstm):
                total += flops.lstm(layer.steps, layer.features, layer.units, first=place == 0)
            else:
                steps, width = layer.steps, layer.width
                if layer.at_once:
                    steps, width = 1, steps * width
                total += flops.dense(steps, layer.features, width, first=place == 0)
        return self.samples * total
