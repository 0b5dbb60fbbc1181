"""What a task plugin provides: the data, the framing, the network, the recipes."""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from echobench.core import sequences
from echobench.core.sequences import Framing, Integers

if TYPE_CHECKING:
    from echobench.core.architectures import Form, Network


class Recipe(BaseModel):
    """How a network is trained; what the two divisions differ in.

    Attributes:
        units: width of each recurrent layer.
        batch: samples of one sequence in an update; divides the samples of a
            sequence. The state is carried from batch to batch inside a
            sequence and reset after it.
        sequences: sequences trained side by side in one update.
        learning_rate: peak learning rate of Adam (betas 0.9 and 0.999, epsilon 1e-7).
        warmup: updates over which the rate rises linearly from zero; 0 for none.
        decay: updates after the warm-up over which it falls to zero along a
            cosine; 0 keeps it constant.
        epochs: the tutorial's number of epochs; the default budget is ten times that.
        evaluate_every: epochs between evaluations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: int = Field(ge=1)
    batch: int = Field(ge=1)
    sequences: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=0.001, gt=0, allow_inf_nan=False)
    warmup: int = Field(default=0, ge=0)
    decay: int = Field(default=0, ge=0)
    epochs: int = Field(ge=1)
    evaluate_every: int = Field(ge=1)


class Task(BaseModel, ABC):
    """A task: its fields are its parameters (`--task name[field=value]`).

    A subclass gives `name`, `recipes`, `framing`, `sample` and `network`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: ClassVar[str]
    recipes: ClassVar[dict[str, Recipe]]
    symbols: int = Field(default=100, ge=2)

    @property
    @abstractmethod
    def framing(self) -> Framing:
        """Which places of a sampled row are seen and which are asked for."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw `count` rows of integers, shape [count, length]."""

    @abstractmethod
    def network(self, form: Form, units: int) -> Network:
        """Build the network; called in a worker, after Keras was imported."""

    def supervised(self, sequence: Integers) -> tuple[Integers, Integers]:
        """Frame one row on the host: X [samples, n_in] and y [samples, n_out]."""
        return sequence[self.framing.inputs], sequence[self.framing.targets]

    def expected(self, rows: Integers) -> Integers:
        """Return the right answers to rows [count, length]: [count, samples, n_out]."""
        answers: Integers = rows[:, self.framing.targets]
        return answers

    @classmethod
    def source_hash(cls) -> str:
        """Return a digest of the file that defines the task: its version."""
        source = inspect.getsource(inspect.getmodule(cls) or cls)
        return hashlib.sha256(source.encode()).hexdigest()[:12]

    def label(self) -> str:
        """Return the name with the parameters that differ from the defaults."""
        changed = self.parameters()
        inner = ",".join(f"{key}={value}" for key, value in changed.items())
        return f"{self.name}[{inner}]" if inner else self.name

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that differ from the defaults."""
        return self.model_dump(exclude_defaults=True)


class EchoTask(Task):
    """Echo the oldest `n_out` of `n_in` random integers; the tutorial's framing.

    ::

        sequence   7 3 9 1 4 8 ...      (length integers, 0..symbols-1)
        window     7 3 9 1 4            (n_in, shifted by one for each sample)
        target     7 3                  (the oldest n_out of the window)
    """

    length: int = Field(default=25, ge=1, le=100_000)
    n_in: int = Field(default=5, ge=1)
    n_out: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _check_framing(self) -> EchoTask:
        if self.n_out > self.n_in:
            raise ValueError(f"expected n_out <= n_in={self.n_in}; received n_out={self.n_out}")
        if self.length < self.n_in:
            raise ValueError(f"expected length >= n_in={self.n_in}; received length={self.length}")
        return self

    @cached_property
    def framing(self) -> Framing:
        """Return the tutorial's windows."""
        return Framing.shifted(self.length, self.n_in, self.n_out)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw uniform random sequences, shape [count, length]."""
        return sequences.generate(rng, count, self.length, self.symbols)

    def supervised(self, sequence: Integers) -> tuple[Integers, Integers]:
        """Frame one sequence with pandas, as the tutorial does."""
        return sequences.to_supervised(sequence, self.n_in, self.n_out)
