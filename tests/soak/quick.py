"""A plugin for tests of the harness: a backend without a framework that knows the answers.

Its trials are certified at the first look, so that a trial takes as long as its process
takes to start. Its losses are ones, as those of the reference that `tests.soak.harness`
puts beside the records: no framework is started for them.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import DEVICE_GRANTS, EchoTask, NativeBackend, Recipe, hookimpl

if TYPE_CHECKING:
    from echobench import Backend, Task
    from echobench.core.backend import Predictor, Trainer
    from echobench.core.outline import NativeProgram
    from echobench.core.sequences import Floats, Integers


class Tiny(EchoTask):
    """Echo one of two.

    Attributes:
        nap: seconds that an epoch of training sleeps.
        busy: seconds of the processor that it computes.
    """

    name: ClassVar[str] = "tiny"
    symbols: int = 2
    length: int = 2
    n_in: int = 1
    nap: float = 0.0
    busy: float = 0.0
    recipes: ClassVar[dict[str, Recipe]] = {
        "closed": Recipe(units=1, batch=2, epochs=1, evaluate_every=1)
    }


class Knowing(NativeBackend):
    """Learns nothing and answers rightly."""

    name: ClassVar[str] = "knowing"
    keras_backend: ClassVar[str] = "numpy"
    requires: ClassVar[tuple[str, ...]] = ()

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Return nothing."""
        return {}

    def configure(self, device: str, threads: int) -> None:
        """Do nothing."""

    def devices(self) -> list[str]:
        """Return what every machine has, and what some have."""
        return ["cpu", "gpu"]

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        """Return what does nothing."""
        return _Trainer(program)

    def predictor(self, program: NativeProgram) -> Predictor:
        """Return what is right."""
        return lambda weights, rows: program.task.expected(rows)

    def facts(self) -> dict[str, Any]:
        """Return which GPUs the process may see, and where it finds modules."""
        visible = {name: os.environ[name] for name in DEVICE_GRANTS if name in os.environ}
        return {"visible": visible, "searched": sys.path}


class _Trainer:
    def __init__(self, program: NativeProgram) -> None:
        self._batches = program.batches
        told = program.task.model_dump()
        # Another task has neither.
        self._nap, self._busy = told.get("nap", 0.0), told.get("busy", 0.0)
        self._weights: list[Floats] = []

    def reset(self, weights: list[Floats]) -> None:
        self._weights = weights

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        time.sleep(self._nap)
        end = time.process_time() + self._busy
        while time.process_time() < end:
            pass
        ones = np.ones((len(rows), self._batches), np.float32)
        return ones, ones

    def first_losses(self, rows: Integers) -> Floats:
        return np.ones(len(rows) * self._batches, np.float32)

    def weights(self) -> list[Floats]:
        return self._weights

    def execution(self) -> dict[str, Any]:
        return {"engine": "none", "jit": False, "lstm": []}


@hookimpl
def echobench_tasks() -> list[type[Task]]:
    """Return the task."""
    return [Tiny]


@hookimpl
def echobench_backends() -> list[Backend]:
    """Return the backend."""
    return [Knowing()]
