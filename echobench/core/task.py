"""What a task plugin provides: data, framing, network and recipes."""

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
from echobench.core.sequences import MISSING, Framing, Integers, Stream

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    from echobench.core.architectures import Form, Network
else:
    ModelMetaclass = type(BaseModel)  # its name is private to pydantic


class _OwnMembers(ModelMetaclass):
    """Limits `dir()`, and so `help()`, to public members of ours: pydantic has 400 lines."""

    def __dir__(self) -> list[str]:
        ours = [base for base in self.__mro__ if base not in BaseModel.__mro__]
        members = {name for base in ours for name in vars(base) if not name.startswith("_")}
        return sorted(members - {"model_config"})


class FrozenModel(BaseModel, metaclass=_OwnMembers):
    """A model whose fields cannot be changed, and which refuses unknown ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(FrozenModel):
    """How a network is trained; the two divisions differ in their recipes.

    Attributes:
        units: width of each recurrent layer.
        batch: samples of one sequence in an update; divides the samples of a
            sequence.
        stateful: whether the state is carried from batch to batch within a
            sequence and reset after it; if not, it starts at zero in every batch.
        sequences: sequences trained side by side in one update.
        learning_rate: peak learning rate of Adam (betas 0.9 and 0.999, epsilon 1e-7).
        warmup: updates over which the rate rises linearly from zero; 0 for no warm-up.
        decay: updates after the warm-up over which the rate falls to zero along a
            cosine; 0 keeps it constant.
        clip: largest global norm of the gradients; longer ones are scaled down to it.
            0 for no clipping.
        epochs: the tutorial's number of epochs; the default budget is ten times that.
        evaluate_every: epochs between evaluations.
    """

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
        """Return the learning rate of update `step`, from 0."""
        if step < self.warmup:
            return self.learning_rate * step / self.warmup
        done = min(1.0, (step - self.warmup) / self.decay) if self.decay else 0.0
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


class Task(FrozenModel, ABC):
    """A task; its pydantic fields are its parameters (`--task name[field=value]`).

    A subclass defines `name`, `recipes`, `framing`, `sample` and `network`. A row holds
    one sequence, inputs and answers; the framing tells which of its positions the
    network sees and which it must answer. For windows of one sequence, derive from
    `EchoTask` instead.

    Attributes:
        name: the name that `--task` takes.
        recipes: the recipes by division: `closed` and, optionally, `open`.
        has_missing: whether rows may hold `MISSING`. A missing target counts
            neither in the loss nor in the accuracy.
        symbols: number of symbols; they are the tokens 0..symbols-1.
    """

    model_config = ConfigDict(ignored_types=(cached_property,))

    name: ClassVar[str]
    recipes: ClassVar[dict[str, Recipe]]
    has_missing: ClassVar[bool] = False
    symbols: int = Field(default=100, ge=2, le=1_000_000)

    @property
    @abstractmethod
    def framing(self) -> Framing:
        """The positions of a row that are inputs, and those that are targets."""

    @abstractmethod
    def sample(self, rng: Stream, count: int) -> Integers:
        """Draw `count` rows from `rng` alone: int64 [count, length].

        Drawing in parts must give the same rows as drawing at once. A task whose number of rows is
        limited draws other rows where `rng.for_training` is true than where it is false.
        """

    @abstractmethod
    def network(self, form: Form, units: int) -> Network:
        """Build the network with the methods of `form`; called in a worker.

        Shapes: [samples, n_in, width] to [samples, n_out, width], where n_in and n_out
        are the framing's and `width` is the coding's. `units`, the width of each recurrent
        layer, is the recipe's.
        """

    @property
    def test_rows(self) -> Integers | None:
        """All rows of the test set [sequences, length], each once; None where rows are made up.

        A task with a limited number of rows is evaluated on all of these, each time, and its
        certificate says that they all came out right; of no other rows does it say anything.
        """
        return None

    @property
    def is_test_trained_on(self) -> bool:
        """Whether the rows of the test set are also trained on."""
        return False

    @property
    def vocabulary(self) -> int:
        """Number of tokens, 0..vocabulary-1: `symbols`, and more in a task with blanks or marks."""
        return self.symbols

    @cached_property
    def row_length(self) -> int:
        """Tokens in a row: as many as in the first that is drawn."""
        return int(np.shape(self.sample(sequences.stream(0, "parity"), 1))[-1])

    @property
    def coding(self) -> Coding:
        """The representation of tokens; one-hot by default."""
        return OneHot(self.vocabulary)

    def recipe(self, division: str) -> Recipe | None:
        """Return the recipe of a division for these parameters, or None if it has none."""
        return self.recipes.get(division)

    def supervised(self, row: Integers) -> tuple[Integers, Integers]:
        """Frame one row on the host: x [samples, n_in] and y [samples, n_out]."""
        return row[self.framing.inputs], row[self.framing.targets]

    def expected(self, rows: Integers) -> Integers:
        """Return the right answers to rows [count, length], int64 [count, samples, n_out]."""
        answers: Integers = rows[:, self.framing.targets]
        return answers

    def sample_for_display(self, rng: Stream, count: int) -> Integers:
        """Return rows, of which a trial's end shows the first; those of `sample` by default."""
        return self.sample(rng, count)

    def spell(self, token: int) -> int | str | None:
        """Return a token as people read it; None for `MISSING`."""
        return None if token == MISSING else token

    def doubts(self) -> list[str]:
        """Return what a user should know of the data before training, a line each."""
        return []

    def source_hash(self) -> str:
        """Return the task's version: a digest of the source of its module."""
        source = inspect.getsource(inspect.getmodule(type(self)) or type(self))
        return hashlib.sha256(source.encode()).hexdigest()[:12]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that differ from the defaults."""
        return self.model_dump(exclude_defaults=True)


class EchoTask(Task):
    """Echo the oldest `n_out` of the `n_in` integers in a window: the tutorial's task.

    ::

        sequence   7 3 9 1 4 8 ...      (length integers, 0..symbols-1)
        window     7 3 9 1 4            (n_in, shifted by one for each sample)
        target     7 3                  (the oldest n_out of the window)

    The network is the tutorial's: sequence to sequence if the target is the window (the
    whole echo), encoder and decoder if it is shorter (the partial echo).

    Attributes:
        length: integers in a sequence, at least n_in.
        n_in: integers in a window.
        n_out: targets of a window, at most n_in; None for n_in.
        partial_recipes: recipes of the partial echo, if they differ from `recipes`.

    Raises:
        ValueError: n_out > n_in, or length < n_in.
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
        """Targets of a window: `n_out`, or `n_in` if it is None."""
        return self.n_in if self.n_out is None else self.n_out

    @property
    def is_partial(self) -> bool:
        """Whether there are fewer targets than inputs."""
        return self.n_targets < self.n_in

    @cached_property
    def framing(self) -> Framing:
        """The tutorial's windows."""
        return Framing.shifted(self.length, self.n_in, self.n_targets)

    def recipe(self, division: str) -> Recipe | None:
        """Return the recipe of the whole or of the partial echo."""
        recipes = self.partial_recipes if self.is_partial else None
        return (recipes or self.recipes).get(division)

    def sample(self, rng: np.random.Generator, count: int) -> Integers:
        """Draw uniform random sequences, int64 [count, length]."""
        return sequences.uniform_sequences(rng, count, self.length, self.symbols)

    def supervised(self, row: Integers) -> tuple[Integers, Integers]:
        """Frame one sequence with pandas, as the tutorial does."""
        return sequences.to_supervised(row, self.n_in, self.n_targets)

    def network(self, form: Form, units: int) -> Network:
        """Build the tutorial's network for the whole or for the partial echo."""
        from echobench.core.architectures import encoder_decoder, sequence_to_sequence

        if self.is_partial:
            return encoder_decoder(form, self.n_in, self.n_targets, units)
        return sequence_to_sequence(form, self.n_in, units)
