"""What a backend plugin provides: environment, device and, where it trains, compiled loops."""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from echobench.core.sequences import Floats, Integers
from echobench.core.versions import module_version
from echobench.errors import UnsupportedError

if TYPE_CHECKING:
    from echobench.core.experiment import Experiment
    from echobench.core.task import Recipe, Task


class Trainer(Protocol):
    """Trains one network. Every method returns only when the device has finished.

    Weights are float32 arrays in the order of the program's `initial_weights`. Rows are
    integers, one row a sequence as `Task.sample` draws it.
    """

    def reset(self, weights: list[Floats]) -> None:
        """Discard moments, step count and recurrent state; start from a copy of the weights."""

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train an epoch on each of rows [epochs, sequences, length].

        Returns:
            Loss and accuracy, each [epochs, batches], or [epochs, 1] with their
            means where the engine does not know them for every update.
        """

    def first_losses(self, rows: Integers) -> Floats:
        """Train as `train` does; return the loss of every update, [epochs * batches]."""
        return self.train(rows)[0].reshape(-1)

    def weights(self) -> list[Floats]:
        """Return the current weights."""

    def execution(self) -> dict[str, Any]:
        """Return how training ran, for the record; values must fit into JSON.

        Keys: `engine`, a description; `jit`, whether and how it is compiled; `lstm`, the
        kernel of each LSTM. Trials that differ in one of these stand in rows of their own.
        """


class ReplicatedTrainer(Protocol):
    """Trains R networks in one program. Every method returns when the device has finished."""

    def reset(self, weights: Sequence[list[Floats]]) -> None:
        """Start anew from these weights, a list for each replicate."""

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train each replicate on its rows [R, epochs, sequences, length].

        Returns:
            Loss and accuracy of every update, each [R, epochs, batches].
        """

    def weights(self) -> list[list[Floats]]:
        """Return the current weights of each replicate, in the model's order."""

    def execution(self) -> dict[str, Any]:
        """Return how training ran; see `Trainer.execution`."""


class Predictor(Protocol):
    """Runs the network forward. The call returns only when the device has finished."""

    def __call__(self, weights: list[Floats], rows: Integers) -> Integers:
        """Answer rows [count, length] with tokens [count, samples, n_out].

        The recurrent state starts at zero for each row; the weights are not changed.
        """


def why_missing(requires: Sequence[str], extra: str | None) -> str | None:
    """Return which modules are not installed and how to install them, or None if all are.

    The `extra` of echobench installs them, if there is one.
    """
    missing = [name for name in requires if not _is_installed(name)]
    if not missing:
        return None
    package = f"'echobench[{extra}]'" if extra else " ".join(missing)
    return f"{', '.join(missing)} not installed; run: pip install {package}"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a package above it
        return False


class Backend(ABC):
    """A framework that trains and runs the networks through Keras.

    Derive from `NativeBackend` for a framework without Keras, and from
    `InferenceBackend` for one that only runs trained networks. An instance is created in
    the parent process too, so frameworks are imported inside methods.

    Attributes:
        name: the name that `--backend` takes.
        keras_backend: the worker's `KERAS_BACKEND`.
        requires: modules that must be installed. Of the packages that Keras imports if they
            are installed (JAX, pandas, ...), a worker sees only those listed here.
        extra: echobench's extra that installs them, if any.
        trains: whether the backend trains networks; see `InferenceBackend`.
        reference: whether the tutorial's program on this backend is the reference of the
            parity gate; true for one installed backend.
        lstm_options: arguments that `keras.layers.LSTM` needs here to train statefully.
        engines: the engines that drive training here, the default first.
        uses_keras: whether the networks run through Keras; see `NativeBackend`.
        custom_gradient: whether the fused engine uses the hand-written LSTM gradient instead
            of automatic differentiation: whichever is faster on this backend.
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
    custom_gradient: ClassVar[bool] = True

    def versions(self) -> dict[str, str]:
        """Return the version of each required module and of NumPy, without importing them."""
        installed = {}
        for requirement in (*self.requires, *(["keras"] if self.uses_keras else []), "numpy"):
            if _is_installed(requirement):
                installed[requirement] = module_version(requirement)
        return installed

    def why_unavailable(self) -> str | None:
        """Return why this backend cannot be used on this computer, or None if it can."""
        return why_missing(self.requires, self.extra)

    def why_no_training(self) -> str | None:
        """Return why this backend cannot train, or None if it can."""
        return None if self.trains else f"{self.name} only predicts; use echobench predict"

    def why_no_prediction(self) -> str | None:
        """Return why this backend cannot run saved networks, or None if it can."""
        return None if self.uses_keras else f"{self.name} does without Keras, which saved them"

    @abstractmethod
    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Return environment variables for the worker, set before it imports anything.

        Args:
            device: `cpu` or `gpu`.
            threads: threads that the framework may use.
        """

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Return environment variables that make the framework cache programs in `folder`.

        Called only with `--cache`; empty by default.
        """
        return {}

    def smoke_environment(self) -> dict[str, str]:
        """Return environment variables with which programs compile fast, however slow they run.

        Called only for smoke runs (`--quick`), which measure nothing; empty by default.
        """
        return {}

    @abstractmethod
    def configure(self, device: str, threads: int) -> None:
        """Set threads and precision; called in the worker before the first tensor exists."""

    def distribute(self, device: str, count: int) -> None:
        """Divide each training batch equally among `count` devices.

        Called in the worker, after `configure` and before the first tensor exists.

        Raises:
            UnsupportedError: this backend trains on one device.
            UnavailableError: there are fewer devices.
        """
        raise UnsupportedError(f"{self.name} trains on one device; leave --devices out")

    @abstractmethod
    def devices(self) -> list[str]:
        """Return the kinds of device that the worker sees: `cpu`, `gpu`."""

    def program(self, task: Task, recipe: Recipe) -> Experiment:
        """Return the experiment that `trainer` and `predictor` take; called in a worker.

        By default a `Program`: one epoch as a pure function.
        """
        from echobench.core.program import Program

        return Program(task, recipe, custom_gradient=self.custom_gradient)

    @abstractmethod
    def trainer(self, program: Any, chunk: int) -> Trainer:
        """Return the default engine's trainer, for at most `chunk` epochs in a call of `train`."""

    def other_trainer(self, engine: str, program: Any, chunk: int) -> Trainer:
        """Return the trainer of an engine of `engines` that is neither the default nor `fit`.

        Raises:
            UnsupportedError: there is none, or it lacks something on this computer.
        """
        raise UnsupportedError(f"{self.name} has no engine {engine!r}")

    def replicated_trainer(self, program: Any, chunk: int, count: int) -> ReplicatedTrainer:
        """Return a trainer of `count` networks in one program.

        Raises:
            UnsupportedError: this backend trains one network at a time.
        """
        raise UnsupportedError(f"{self.name} trains one seed at a time; leave --replicates out")

    @abstractmethod
    def predictor(self, program: Any) -> Predictor:
        """Return the compiled forward pass."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what every record from this backend states: compiler, threads, precision, device.

        Values must fit into JSON. Trials that differ in `compiler`, `matmul_precision`, `tf32`,
        `precision`, `onednn`, `blas` or `device_kind` stand in rows of their own.
        """


class InferenceBackend(Backend):
    """A framework that runs trained networks and cannot train; for `echobench predict`."""

    trains: ClassVar[bool] = False

    def trainer(self, program: Any, chunk: int) -> Trainer:
        """Raise UnsupportedError."""
        raise UnsupportedError(self.why_no_training())

    def predictor(self, program: Any) -> Predictor:
        """Raise UnsupportedError: this predictor is for evaluations during training."""
        raise UnsupportedError(self.why_no_training())


class NativeBackend(Backend):
    """A peer: the same networks, recipes, data and weights, written without Keras.

    It shows what a user of the framework would write, to compare Keras with.
    `keras_backend` is only used to save the network.
    """

    engines: ClassVar[tuple[str, ...]] = ("native",)
    uses_keras: ClassVar[bool] = False

    def program(self, task: Task, recipe: Recipe) -> Experiment:
        """Return a `NativeProgram`: the experiment, its network a list of layers.

        Raises:
            UnsupportedError: the network is not a chain of LSTMs and an output layer; the message
                names Keras' layers in it that the backend does not have.
        """
        from echobench.core.outline import NativeProgram, OutlineError, lacking

        try:
            return NativeProgram(task, recipe)
        except OutlineError as error:
            layers = ", ".join(lacking(task, recipe))
            if not layers:
                raise
            chain = "written for a chain of LSTMs and an output layer"
            raise UnsupportedError(f"{self.name} has no {layers}: {chain}") from error


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Make these modules unimportable in the block, unless they are imported already."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment] # None makes an import fail
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
