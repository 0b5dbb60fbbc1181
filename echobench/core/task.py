"""What a task plugin provides: the data, the framing, the network, the recipes."""

from __future__ import annotations

import hashlib
import inspect
import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from echobench.core import sequences
from echobench.core.coding import Coding, OneHot
from echobench.core.sequences import MISSING, Framing, Integers

if TYPE_CHECKING:
    from echobench.core.architectures import Form, Network


class Recipe(BaseModel):
    """How a network is trained; what the two divisions differ in.

    Attributes:
        units: width of each recurrent layer.
        batch: samples of one sequence in an update; divides the samples of a
            sequence.
        stateful: whether the state is carried from batch to batch inside a
            sequence, and reset after it; else every sample starts at zero.
        sequences: sequences trained side by side in one update.
        learning_rate: peak learning rate of Adam (betas 0.9 and 0.999, epsilon 1e-7).
        warmup: updates over which the rate rises linearly from zero; 0 for none.
        decay: updates after the warm-up over which it falls to zero along a
            cosine; 0 keeps it constant.
        clip: largest norm of all gradients together, to which longer ones are
            scaled down; 0 for none.
        epochs: the tutorial's number of epochs; the default budget is ten times that.
        evaluate_every: epochs between evaluations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: int = Field(ge=1)
    batch: int = Field(ge=1)
    stateful: bool = True
    sequences: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=0.001, gt=0, allow_inf_nan=False)
    warmup: int = Field(default=0, ge=0)
    decay: int = Field(default=0, ge=0)
    clip: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    epochs: int = Field(ge=1)
    evaluate_every: int = Field(ge=1)

    def rate(self, step: int) -> float:
        """Return the learning rate of an update, the first being number 0."""
        if step < self.warmup:
            return self.learning_rate * step / self.warmup
        done = min(1.0, (step - self.warmup) / self.decay) if self.decay else 0.0
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


class Task(BaseModel, ABC):
    """A task: its fields are its parameters (`--task name[field=value]`).

    A subclass gives `name`, `recipes`, `framing`, `sample` and `network`. A row
    is all that one sequence holds, inputs and answers; the framing says which
    of its places a network sees and which it is asked for.

    Attributes:
        name: what `--task` takes.
        recipes: `closed` and, where there is one, `open`.
        has_missing: whether rows may hold `MISSING`: no token. As a target it
            counts neither in the loss nor in the accuracy.
        symbols: tokens are 0..symbols-1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: ClassVar[str]
    recipes: ClassVar[dict[str, Recipe]]
    has_missing: ClassVar[bool] = False
    symbols: int = Field(default=100, ge=2, le=1_000_000)

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

    @property
    def vocabulary(self) -> int:
        """Tokens that rows hold: 0..vocabulary-1; more than `symbols` where there are blanks."""
        return self.symbols

    @property
    def coding(self) -> Coding:
        """How tokens are represented; one-hot by default."""
        return OneHot(self.vocabulary)

    def recipe(self, division: str) -> Recipe | None:
        """Return the recipe of a division for these parameters, or None without one."""
        return self.recipes.get(division)

    def supervised(self, row: Integers) -> tuple[Integers, Integers]:
        """Frame one row on the host: X [samples, n_in] and y [samples, n_out]."""
        return row[self.framing.inputs], row[self.framing.targets]

    def expected(self, rows: Integers) -> Integers:
        """Return the right answers to rows [count, length]: [count, samples, n_out]."""
        answers: Integers = rows[:, self.framing.targets]
        return answers

    def sample_for_display(self, rng: np.random.Generator, count: int) -> Integers:
        """Return `count` rows whose echo is shown at the end of a trial; sampled by default."""
        return self.sample(rng, count)

    def spell(self, token: int) -> int | str | None:
        """Return a token as people read it; None where it is missing."""
        return None if token == MISSING else token

    def source_hash(self) -> str:
        """Return a digest of all that defines the task but parameters and recipe: its version."""
        source = inspect.getsource(inspect.getmodule(type(self)) or type(self))
        return hashlib.sha256(source.encode()).hexdigest()[:12]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that differ from the defaults."""
        return self.model_dump(exclude_defaults=True)


class EchoTask(Task):
    """Echo the oldest `n_out` (all by default) of `n_in` integers; the tutorial's framing.

    ::

        sequence   7 3 9 1 4 8 ...      (length integers, 0..symbols-1)
        window     7 3 9 1 4            (n_in, shifted by one for each sample)
        target     7 3                  (the oldest n_out of the window)

    The network is the tutorial's: sequence to sequence where all is asked for
    (the whole echo), encoder and decoder where less is (the partial echo).

    Attributes:
        partial_recipes: the partial echo's, in a task that does both.
    """

    partial_recipes: ClassVar[dict[str, Recipe] | None] = None
    length: int = Field(default=25, ge=1, le=100_000)
    n_in: int = Field(default=5, ge=1)
    n_out: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check_framing(self) -> EchoTask:
        if self.n_targets > self.n_in:
            raise ValueError(f"expected n_out <= n_in={self.n_in}; received n_out={self.n_targets}")
        if self.length < self.n_in:
            raise ValueError(f"expected length >= n_in={self.n_in}; received length={self.length}")
        return self

    @property
    def n_targets(self) -> int:
        """How many are asked for: `n_out`, or all."""
        return self.n_in if self.n_out is None else self.n_out

    @property
    def is_partial(self) -> bool:
        """Whether less is asked for than is seen."""
        return self.n_targets < self.n_in

    @cached_property
    def framing(self) -> Framing:
        """Return the tutorial's windows."""
        return Framing.shifted(self.length, self.n_in, self.n_targets)

    def recipe(self, division: str) -> Recipe | None:
        """Return the recipe of the whole or of the partial echo."""
        recipes = self.partial_recipes if self.is_partial else None
        return (recipes or self.recipes).get(division)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw uniform random sequences, shape [count, length]."""
        return sequences.generate(rng, count, self.length, self.symbols)

    def supervised(self, row: Integers) -> tuple[Integers, Integers]:
        """Frame one sequence with pandas, as the tutorial does."""
        return sequences.to_supervised(row, self.n_in, self.n_targets)

    def network(self, form: Form, units: int) -> Network:
        """Build the tutorial's network for the whole or for the partial echo."""
        from echobench.core.architectures import encoder_decoder, sequence_to_sequence

        if self.is_partial:
            return encoder_decoder(form, self.n_in, self.n_targets, units)
        return sequence_to_sequence(form, self.n_in, units)
