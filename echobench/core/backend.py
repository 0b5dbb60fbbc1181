"""What a backend plugin provides: environment, device and, where it trains, compiled loops."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from echobench.core.sequences import Floats, Integers
from echobench.errors import UnsupportedError

if TYPE_CHECKING:
    from echobench.core.experiment import Experiment
    from echobench.core.replicates import ReplicatedTrainer
    from echobench.core.task import Recipe, Task


class Trainer(Protocol):
    """Training, driven by an engine. Every method returns when the device is done."""

    def reset(self, weights: list[Floats]) -> None:
        """Forget everything and start from these weights."""

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train one epoch on each of rows [epochs, sequences, length].

        Returns:
            Loss and accuracy, each [epochs, batches] where the engine knows
            them for every update, [epochs, 1] where only their mean.
        """

    def first_losses(self, rows: Integers) -> Floats:
        """Train as `train` does, and return the loss of every update, [epochs * batches]."""

    def weights(self) -> list[Floats]:
        """Return the weights now, in the model's order."""

    def path(self) -> dict[str, Any]:
        """Return the path really taken: `engine`, `jit`, and `lstm`, the kernel of each."""


class Predictor(Protocol):
    """The network's answers. It returns when the device is done."""

    def __call__(self, weights: list[Floats], rows: Integers) -> Integers:
        """Echo rows [count, length]: integers [count, samples, n_out]."""


def why_missing(requires: Sequence[str], extra: str | None) -> str | None:
    """Return what is not installed and how to install it, or None when all is.

    Args:
        requires: modules.
        extra: echobench's extra that installs them, if any.
    """
    missing = [name for name in requires if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    package = f"'echobench[{extra}]'" if extra else " ".join(missing)
    return f"{', '.join(missing)} not installed; run: pip install {package}"


class Backend(ABC):
    """A framework that runs the networks.

    Attributes:
        name: what `--backend` takes.
        keras_backend: what `KERAS_BACKEND` is set to in the worker.
        requires: distributions that must be installed. Of what Keras imports only where it is
            installed (JAX, pandas, ...), a worker has what is named here.
        extra: echobench's extra that installs them, if any.
        trains: whether it trains networks; one that does not is an `InferenceBackend`.
        reference: whether the tutorial's program on this backend is what the
            parity gate compares with; true for one installed backend.
        lstm_options: arguments that `keras.layers.LSTM` needs here to train statefully.
        engines: what drives training here, the usual one first.
        uses_keras: whether the networks run through Keras; see `NativeBackend`.
        by_hand: whether an LSTM's steps have a gradient of their own in the fused engine,
            or are left to differentiation: whichever is faster here.
    """

    name: ClassVar[str]
    keras_backend: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    extra: ClassVar[str | None] = None
    trains: ClassVar[bool] = True
    reference: ClassVar[bool] = False
    lstm_options: ClassVar[dict[str, Any]] = {}
    engines: ClassVar[tuple[str, ...]] = ("fused", "fit")
    uses_keras: ClassVar[bool] = True
    by_hand: ClassVar[bool] = True

    def versions(self) -> dict[str, str]:
        """Return the versions of what this backend requires, without importing it."""
        found = {}
        for requirement in (*self.requires, *(["keras"] if self.uses_keras else []), "numpy"):
            if importlib.util.find_spec(requirement) is not None:
                found[requirement] = importlib.metadata.version(requirement)
        return found

    def why_unavailable(self) -> str | None:
        """Return why this backend cannot be used here, or None when it can."""
        return why_missing(self.requires, self.extra)

    def why_no_training(self) -> str | None:
        """Return why nothing can be trained on this backend, or None when it can."""
        return None if self.trains else f"{self.name} only predicts; use echobench predict"

    def why_no_prediction(self) -> str | None:
        """Return why saved networks cannot run on this backend, or None when they can."""
        return None if self.uses_keras else f"{self.name} does without Keras, which saved them"

    @abstractmethod
    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Return variables for the worker, set before anything is imported."""

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Return variables with which compiled programs are kept in `folder`, for later workers.

        None where there is no such thing. Used only where `--cache` asks for it.
        """
        return {}

    @abstractmethod
    def configure(self, device: str, threads: int) -> None:
        """Set threads and precision, in the worker, before the first tensor."""

    def distribute(self, device: str, count: int) -> None:
        """Have what this process trains go over `count` devices, each batch in equal parts.

        Called in the worker, after `configure` and before the first tensor.

        Raises:
            UnsupportedError: this backend trains on one device.
            UnavailableError: so many devices are not there.
        """
        raise UnsupportedError(f"{self.name} trains on one device; leave --devices out")

    @abstractmethod
    def devices(self) -> list[str]:
        """Return the kinds of device visible to the worker: `cpu`, `gpu`."""

    def program(self, task: Task, recipe: Recipe) -> Experiment:
        """Return the experiment that `trainer` and `predictor` take; in a worker."""
        from echobench.core.program import Program

        return Program(task, recipe, by_hand=self.by_hand)

    @abstractmethod
    def trainer(self, program: Any, chunk: int) -> Trainer:
        """Return the fused engine: up to `chunk` epochs in one dispatch."""

    def replicated_trainer(self, program: Any, chunk: int, count: int) -> ReplicatedTrainer:
        """Return the fused engine for `count` networks at once.

        Raises:
            UnsupportedError: this backend trains one at a time.
        """
        raise UnsupportedError(f"{self.name} trains one seed at a time; leave --replicates out")

    @abstractmethod
    def predictor(self, program: Any) -> Predictor:
        """Return the compiled forward pass."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what holds for all that runs here: compiler, threads, precision, device."""


class InferenceBackend(Backend):
    """A framework that runs trained networks, and trains none."""

    trains: ClassVar[bool] = False

    def trainer(self, program: Any, chunk: int) -> Trainer:
        """Raise UnsupportedError: it has no gradients."""
        raise UnsupportedError(self.why_no_training())

    def predictor(self, program: Any) -> Predictor:
        """Raise UnsupportedError: answers while training are no use without training."""
        raise UnsupportedError(self.why_no_training())


class NativeBackend(Backend):
    """A peer: the same networks, recipes, data and weights, written without Keras.

    What a user of the framework would write themselves, to compare with. `keras_backend`
    is only what a network is saved with.
    """

    engines: ClassVar[tuple[str, ...]] = ("native",)
    uses_keras: ClassVar[bool] = False

    def program(self, task: Task, recipe: Recipe) -> Experiment:
        """Return the experiment with its network as a list of layers."""
        from echobench.core.outline import NativeProgram

        return NativeProgram(task, recipe)


def padded(rows: Integers, chunk: int) -> NDArrayInt32:
    """Return int32 rows, filled up with zeros along the first axis to `chunk`."""
    filled = np.zeros((chunk, *rows.shape[1:]), np.int32)
    filled[: len(rows)] = rows
    return filled


NDArrayInt32 = np.ndarray[Any, np.dtype[np.int32]]
