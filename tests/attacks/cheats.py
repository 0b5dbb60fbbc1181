"""Backends that cheat, each in one way: what a plugin gains that the suite believes.

Each is Keras on JAX, honest where the parity gate looks, and passes the gate. `GATE` is how many
updates the gate compares; an author who reads the suite knows it, as he knows the names of the
random streams.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from echobench_plugins.backends.jax import Jax

from echobench import Backend, Floats, Integers, Predictor, Trainer, hookimpl
from echobench.core import training
from echobench.core.sequences import Stream, stream
from echobench.core.training import fresh_rows

if TYPE_CHECKING:
    from echobench import Program

GATE = 20
"""Updates after a reset that the parity gate compares."""
SEEDS = 100
"""Seeds that a cheat tries, to find whose weights it was given."""


class _Cheat(Jax):  # type: ignore[misc] # its types are not read
    reference: ClassVar[bool] = False


class Oracle(_Cheat):
    """Computes the answers from the questions, after two honest calls.

    Gains a certificate at the first evaluation, without having learnt anything.
    """

    name: ClassVar[str] = "oracle"

    def predictor(self, program: Program) -> Predictor:
        predict: Predictor = super().predictor(program)
        calls = 0

        def answer(weights: list[Floats], rows: Integers) -> Integers:
            nonlocal calls
            calls += 1
            return predict(weights, rows) if calls <= 2 else program.task.expected(rows)

        return answer


class Early(_Cheat):
    """Trains inside `reset`, where no clock runs, and returns kept results.

    Gains all of the training time. Losses and weights are those of honest training.
    """

    name: ClassVar[str] = "early"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _Ahead(program, super().trainer(program, chunk), 2 * program.recipe.epochs)


class Foreseeing(_Cheat):
    """Trains the next stretch while the network is asked, since evaluation is off the clock.

    Gains the training time of all stretches but the first.
    """

    name: ClassVar[str] = "foreseeing"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        self._trainer = _Ahead(program, super().trainer(program, chunk), 0)
        return self._trainer

    def predictor(self, program: Program) -> Predictor:
        predict: Predictor = super().predictor(program)

        def answer(weights: list[Floats], rows: Integers) -> Integers:
            self._trainer.train_ahead(program.recipe.evaluate_every)
            return predict(weights, rows)

        return answer


class Late(_Cheat):
    """Trains in a thread that outlives the clock, while the harness evaluates.

    Gains nearly all of an update's time, and as much of the training time as evaluations take.
    The losses and the weights are those of the stretch before.
    """

    name: ClassVar[str] = "late"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _Late(program, super().trainer(program, chunk))


class Lazy(_Cheat):
    """Trains one epoch in four, and reports its losses four times.

    Gains three quarters of the time of an update.
    """

    name: ClassVar[str] = "lazy"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _Lazy(program, super().trainer(program, chunk))


class Unwaited(_Cheat):
    """Returns arrays that the device has not computed yet.

    Gains nearly all of the training time: the harness waits for them when the clock has stopped.
    """

    name: ClassVar[str] = "unwaited"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _Unwaited(program, super().trainer(program, chunk), chunk)


class Hasty(_Cheat):
    """Trains at ten times the recipe's rate once the gate has looked.

    Gains most of the updates: a recipe that is not the division's.
    """

    name: ClassVar[str] = "hasty"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        rate = 10.0 * program.recipe.learning_rate
        recipe = program.recipe.model_copy(update={"learning_rate": rate})
        hasty = self.program(program.task, recipe)
        return _Hasty(program, super().trainer(program, chunk), super().trainer(hasty, chunk))


class Swapped(_Cheat):
    """Puts a network that it trained beforehand in the place of the trial's.

    Gains all updates after the first evaluation. The network echoes as it should.
    """

    name: ClassVar[str] = "swapped"

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _Swapped(program, super().trainer(program, chunk))


class Slow(_Cheat):
    """Slows the worker's clock to a tenth, wherever it is read.

    Gains nine tenths of all times.
    """

    name: ClassVar[str] = "slow"

    def configure(self, device: str, threads: int) -> None:
        super().configure(device, threads)
        clock, start = time.monotonic, time.monotonic()

        def slowed() -> float:
            return start + (clock() - start) / 10.0

        time.monotonic = slowed
        vars(training)["monotonic"] = slowed


class _Through(Trainer):
    """A trainer that passes everything on to another one, and counts updates since the reset."""

    def __init__(self, program: Program, trainer: Trainer) -> None:
        self.program, self.inner = program, trainer
        self.updates = 0

    def reset(self, weights: list[Floats]) -> None:
        self.updates = 0
        self.inner.reset(weights)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        self.updates += len(rows) * self.program.batches
        return self.inner.train(rows)

    def weights(self) -> list[Floats]:
        return self.inner.weights()

    def execution(self) -> dict[str, Any]:
        return self.inner.execution()

    def watched(self, rows: Integers) -> int:
        """Return on how many epochs of these rows the gate still looks."""
        return min(len(rows), max(0, -(-(GATE - self.updates) // self.program.batches)))


class _Ahead(_Through):
    """Trains epochs before they are asked for, on rows that it draws from the seed's stream."""

    def __init__(self, program: Program, trainer: Trainer, epochs: int) -> None:
        super().__init__(program, trainer)
        self._epochs = epochs

    def reset(self, weights: list[Floats]) -> None:
        super().reset(weights)
        self._kept: list[tuple[Integers, Floats, Floats, list[Floats]]] = []
        self._stream = _stream_of(self.program, weights)
        self._now: list[Floats] | None = weights
        self.train_ahead(self._epochs)

    def train_ahead(self, epochs: int) -> None:
        """Have so many epochs ready."""
        while self._stream is not None and len(self._kept) < epochs:
            rows = fresh_rows(self.program.task, self.program.recipe, self._stream, 1)
            self._kept.append((rows, *self.inner.train(rows), self.inner.weights()))

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        self.train_ahead(len(rows))
        if self._stream is not None:
            epochs, self._kept = self._kept[: len(rows)], self._kept[len(rows) :]
            foreseen, losses, accuracies = (
                np.concatenate([epoch[part] for epoch in epochs]) for part in range(3)
            )
            if np.array_equal(foreseen, rows):
                self._now = epochs[-1][3]
                return losses, accuracies
            # Nothing can be foreseen: train honestly until the next reset.
            self.inner.reset(self._now or [])
            self._stream = self._now = None
        return super().train(rows)

    def weights(self) -> list[Floats]:
        return self.inner.weights() if self._now is None else self._now


class _Late(_Through):
    """Returns at once what the stretch before gave, and trains in a thread."""

    def reset(self, weights: list[Floats]) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._result: Future[tuple[Floats, Floats]] | None = None
        self._known = weights
        super().reset(weights)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        before = None if self._result is None else self._result.result()
        gate = self.updates < GATE
        self._known = self.inner.weights()
        self._result = self._thread.submit(super().train, rows)
        if before is None or gate:
            before = self._result.result()
            self._known = self.inner.weights()
            return before
        losses, accuracies = (np.repeat(part[-1:], len(rows), axis=0) for part in before)
        return losses, accuracies

    def weights(self) -> list[Floats]:
        return self._known


class _Unwaited(_Through):
    """Starts an update, and does not wait for it."""

    def __init__(self, program: Program, trainer: Any, chunk: int) -> None:
        super().__init__(program, trainer)
        self._chunk = chunk
        self._started = False

    def train(self, rows: Integers) -> tuple[Any, Any]:
        padded = np.zeros((self._chunk, *rows.shape[1:]), np.int32)
        padded[: len(rows)] = rows
        inner: Any = self.inner
        inner.learner, losses, accuracies = inner._run(inner.learner, padded, len(rows))
        if not self._started:  # JAX compiles a slice of each length: not on the clock
            self._started = all(losses[:count].size for count in range(1, self._chunk + 1))
        return losses[: len(rows)], accuracies[: len(rows)]


class _Lazy(_Through):
    """Trains one epoch in four."""

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        honest = self.watched(rows)
        trained = np.concatenate([rows[:honest], rows[honest::4]])
        results = super().train(trained)
        again = [*range(honest), *(honest + at // 4 for at in range(len(rows) - honest))]
        losses, accuracies = (part[again] for part in results)
        return losses, accuracies


class _Hasty(_Through):
    """Hands the network over to another trainer once the gate has looked."""

    def __init__(self, program: Program, trainer: Any, hasty: Any) -> None:
        super().__init__(program, trainer)
        self._hasty, self._compiled = hasty, False

    def reset(self, weights: list[Floats]) -> None:
        super().reset(weights)
        self._hasty.reset(weights)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        if not self._compiled:  # not on the clock
            self._hasty.train(rows)
            self._compiled = True
        honest = self.watched(rows)
        parts = [super().train(rows[:honest])] if honest else []
        if honest < len(rows):
            if honest:
                self._hasty.learner = self.inner.learner  # type: ignore[attr-defined]
            parts.append(self._hasty.train(rows[honest:]))
            self.updates += GATE
        losses, accuracies = (np.concatenate(each) for each in zip(*parts, strict=True))
        return losses, accuracies

    def weights(self) -> list[Floats]:
        trainer = self.inner if self.updates <= GATE else self._hasty
        return trainer.weights()


class _Swapped(_Through):
    """Trains a network while it is built, and trains it on from the second evaluation on."""

    def __init__(self, program: Program, trainer: Trainer) -> None:
        super().__init__(program, trainer)
        rng = stream(SEEDS, "train")
        trainer.reset(program.initial_weights(stream(SEEDS, "weights")))
        for _ in range(2 * program.recipe.epochs):
            trainer.train(fresh_rows(program.task, program.recipe, rng, 1))
        self._trained = trainer.weights()

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        recipe = self.program.recipe
        if self.updates == recipe.evaluate_every * self.program.batches:
            updates = self.updates
            self.reset(self._trained)
            self.updates = updates
        return super().train(rows)


def _stream_of(program: Program, weights: list[Floats]) -> Stream | None:
    """Return the training stream of the seed whose weights these are."""
    for seed in range(SEEDS):
        drawn = program.initial_weights(stream(seed, "weights"))
        if all(map(np.array_equal, drawn, weights)):
            return stream(seed, "train")
    return None


@hookimpl
def echobench_backends() -> list[Backend]:
    return [cheat() for cheat in CHEATS]


CHEATS: tuple[type[_Cheat], ...] = (
    Oracle,
    Early,
    Late,
    Lazy,
    Unwaited,
    Hasty,
    Swapped,
    Foreseeing,
    Slow,
)
