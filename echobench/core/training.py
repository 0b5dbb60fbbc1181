"""The training of one trial, and its clock: train, evaluate, certify, stop."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

# Bound before a plugin could replace them.
from time import clock_gettime, monotonic, process_time, sleep

import numpy as np

from echobench.core import target
from echobench.core.backend import Predictor, Trainer
from echobench.core.experiment import updates_per_epoch
from echobench.core.replicates import ReplicateTrainer
from echobench.core.rows import draw
from echobench.core.sequences import Floats, Integers, Stream, stream
from echobench.core.target import Score
from echobench.core.task import Recipe, Task

SHORTEST_STOP_S = 0.05
"""Shorter stops are left out."""
LOOKS = 5
"""How often two clocks are read of which one is subtracted from the other."""
SETTLING_S = 0.5
"""Before a trial is given up at its deadline, this long is waited for word of its stops."""
PHASES = ("import", "build", "compile", "first_update", "train", "eval", "sustain", "other")
ONCE = ("import", "build", "compile")
"""Phases that a process has once, however many trials it trains in turn."""
"""The phases of a trial, whose seconds add up to its wall time."""


FINGERPRINT_UPDATES = 100
"""Updates after which a trial's fingerprint is taken, at most. After some hundreds more, rounding
has grown until the losses of two backends differ as those of two seeds do."""


Stops = Callable[[], Sequence[tuple[float, float]]]
"""Returns when the process was stopped so far: from and until, on the monotonic clock."""


class Ledger:
    """Seconds by phase; time outside all phases is `other`.

    Args:
        started: when the process began, on the monotonic clock.
        stops: when the process was stopped. A clock runs on meanwhile, and so do the phases.
    """

    def __init__(self, started: float, stops: Stops = tuple) -> None:
        self.started = started
        self.stops = stops
        self._long: list[tuple[str, float, float]] = []
        self._asleep_s = _asleep_s()
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._processor = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase; the block must wait for the device to finish."""
        processor, start = process_time(), monotonic()
        try:
            yield
        finally:
            end = monotonic()
            self._seconds[name] += end - start
            self._processor[name] += process_time() - processor
            if end - start > SHORTEST_STOP_S:
                self._long.append((name, start, end))

    @property
    def training(self) -> float:
        """Seconds of training so far, the first update included, evaluations excluded."""
        return self._seconds["first_update"] + self._seconds["train"]

    @property
    def wall(self) -> float:
        """Seconds since the process began."""
        return monotonic() - self.started

    @property
    def training_processor_s(self) -> float:
        """Processor time of training so far."""
        return self._processor["first_update"] + self._processor["train"]

    @property
    def busy_cores(self) -> float | None:
        """Processor time of training divided by its wall time; None before training."""
        return self.training_processor_s / self.training if self.training else None

    def stopped_s(self) -> float:
        """Return for how many seconds the process was stopped so far."""
        return sum(self.stopped_by_phase().values())

    def stopped_by_phase(self) -> dict[str, float]:
        """Return the seconds for which the process was stopped, of the phases in which it was."""
        found: dict[str, float] = {}
        for since, until in self.stops():
            rest = max(0.0, min(until, monotonic()) - max(since, self.started))
            for name, start, end in self._long:
                inside = max(0.0, min(end, until) - max(start, since))
                rest -= inside
                found[name] = found.get(name, 0.0) + inside
            found["other"] = found.get("other", 0.0) + rest
        return {name: seconds for name, seconds in found.items() if seconds > SHORTEST_STOP_S}

    @property
    def suspended_s(self) -> float | None:
        """Return for how many seconds the machine was suspended, which no phase contains.

        None where the system does not count them.
        """
        if self._asleep_s is None:
            return None
        return max(0.0, round((_asleep_s() or 0.0) - self._asleep_s, 3))

    def close(self) -> dict[str, float]:
        """Return the seconds of every phase, and their sum as `wall`."""
        wall = self.wall
        known = sum(seconds for name, seconds in self._seconds.items() if name != "other")
        return {**self._seconds, "other": wall - known, "wall": wall}


def _asleep_s() -> float | None:
    """Return the seconds since the machine's start in which it was suspended (Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return None
    # Another process may have the core between the two clocks, and the difference is less then.
    return max(clock_gettime(clock) - monotonic() for _ in range(LOOKS))


@dataclass(frozen=True)
class Limits:
    """When to stop training, and how much to evaluate.

    Attributes:
        max_epochs: the budget; a trial that spends it without a hit has missed.
        deadline: on the monotonic clock; a trial that passes it without a hit timed out.
        dispatch: the most epochs of one call of the trainer; the clock is read after it.
        screen: fresh sequences in an evaluation; one of a task with a test set has all of it.
        bound: of the error rate that a certificate excludes; see `target.needed`.
        measure: fresh sequences on which accuracy is measured without a certificate; all of the
            test set of a task that has one.
        sustain: evaluations after the hit, to see whether 100% lasts.
        stopped_s: returns for how long the process was stopped so far, which its deadline leaves
            out.
    """

    max_epochs: int
    deadline: float
    dispatch: int
    screen: int
    bound: float
    measure: int
    sustain: int = 0
    stopped_s: Callable[[], float] | None = None

    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        if monotonic() < self.deadline or self.stopped_s is None:
            return monotonic() >= self.deadline
        if monotonic() < self.deadline + self.stopped_s():
            return False
        sleep(SETTLING_S)  # what was stopped with us may tell so a moment later
        return monotonic() >= self.deadline + self.stopped_s()


@dataclass(frozen=True)
class Evaluation:
    """A score during training, after every `evaluate_every` epochs.

    `loss` is the last epoch's mean; nan after the hit where it stopped being finite.
    """

    epoch: int
    train_s: float
    loss: float
    score: Score


@dataclass(frozen=True)
class Dispatch:
    """A call of the trainer on the clock: its epochs, seconds, and processor seconds."""

    epochs: int
    seconds: float
    processor_s: float


@dataclass(frozen=True)
class Attempt:
    """One attempt at a certificate: its epoch, and the sequences that it answered.

    It ends with the block in which a sequence is `wrong`.
    """

    epoch: int
    sequences: int
    wrong: int


@dataclass(frozen=True)
class TakenFingerprint:
    """What tells whether a seed was trained as stated: the same on every backend within rounding.

    Attributes:
        epoch: the last epoch of at most `FINGERPRINT_UPDATES` updates, and at the latest that of
            the first evaluation.
        loss: the epoch's mean loss, which depends on every update before.
        accuracy: of the first evaluation, if it was after this epoch.
    """

    epoch: int
    loss: float
    accuracy: float | None = None


def fingerprint_epoch(evaluate_every: int, max_epochs: int, batches: float) -> int:
    """Return the epoch of a trial's fingerprint; an epoch has `batches` updates."""
    return min(evaluate_every, max_epochs, max(1, int(FINGERPRINT_UPDATES / batches)))


@dataclass
class TrainingOutcome:
    """The result of a trial's training. Times are in seconds.

    Attributes:
        status: `reached`, `missed` or `timeout`.
        epochs: epochs trained up to the hit or the end.
        hit_epoch, hit_s: epoch and training time of the evaluation that was then certified
            (the hit); None without a hit.
        hit_wall_s: time from the start of the process to the certificate.
        last_miss_s: training time of the last evaluation with an error before the hit, 0 if
            there was none; the target was reached between the two.
        weights: weights at the hit, or at the end.
        first_lucky_epoch: the first epoch with a training accuracy of 100% on its own fresh
            sequences, which is the tutorial's criterion.
        at_tutorial: score after the tutorial's number of epochs.
        final: score on fresh sequences at the end; the certificate if reached.
        attempts: at a certificate, each after a screening without an error; where this had all of
            the test set, it is the certificate.
        fingerprint: None where training ended before its epoch.
        diverged_epoch: the epoch in which the loss stopped being finite; the trial has missed.
        evaluations: all evaluations up to the hit, in order.
        after_hit: evaluations while training continued after the hit.
        seconds_per_epoch: of each call of the trainer, warm-up excluded.
        dispatches: all calls of the trainer up to the hit, in order.
    """

    status: str = "missed"
    epochs: int = 0
    hit_epoch: int | None = None
    hit_s: float | None = None
    hit_wall_s: float | None = None
    last_miss_s: float | None = None
    first_lucky_epoch: int | None = None
    at_tutorial: Score | None = None
    final: Score | None = None
    attempts: list[Attempt] = field(default_factory=list)
    fingerprint: TakenFingerprint | None = None
    diverged_epoch: int | None = None
    weights: list[Floats] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    after_hit: list[Evaluation] = field(default_factory=list)
    seconds_per_epoch: list[float] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)

    @property
    def sustained_s(self) -> float | None:
        """Training time of the first evaluation after which none had an error.

        `hit_s` if 100% lasted; None if the last evaluation had an error, or without a hit.
        """
        misses = [i for i, e in enumerate(self.after_hit) if e.score.wrong_tokens]
        if not misses:
            return self.hit_s
        later = self.after_hit[misses[-1] + 1 :]
        return later[0].train_s if later else None


def train(
    task: Task,
    recipe: Recipe,
    seed: int,
    trainer: Trainer | ReplicateTrainer,
    predictor: Predictor,
    limits: Limits,
    ledger: Ledger,
    on_progress: Callable[[float, int, float], None],
    on_evaluation: Callable[[Evaluation, list[Floats]], None] | None = None,
) -> TrainingOutcome:
    """Train until the target is certified, the budget is spent or the deadline has passed.

    The trainer already has the seed's weights. A trial whose loss stops being finite ends as
    missed. `on_progress` is called with latest accuracy, epoch and seconds per epoch;
    `on_evaluation` with each evaluation and the weights, outside the timed phases.
    """
    measurement = stream(seed, "measure")
    run = _Run(
        task, recipe, stream(seed, "train"), stream(seed, "screen"), trainer, predictor, limits
    )
    outcome = TrainingOutcome()
    accuracy = 0.0
    while outcome.epochs < limits.max_epochs:
        stop = run.next_stop(outcome.epochs)
        loss = run.train_to(stop, ledger, outcome, functools.partial(on_progress, accuracy))
        if outcome.diverged_epoch is not None:
            break
        if outcome.epochs < stop:
            outcome.status = "timeout"
            break
        if outcome.epochs == recipe.epochs:
            with ledger.phase("eval"):
                outcome.at_tutorial = target.score(task, run.predict, measurement, limits.measure)
        if outcome.epochs % recipe.evaluate_every == 0 or outcome.epochs == limits.max_epochs:
            with ledger.phase("eval"):
                screened = run.screen()
            accuracy = screened.accuracy
            outcome.evaluations.append(Evaluation(outcome.epochs, ledger.training, loss, screened))
            taken = outcome.fingerprint
            if taken is not None and taken.epoch == outcome.epochs:
                outcome.fingerprint = TakenFingerprint(taken.epoch, taken.loss, accuracy)
            if on_evaluation is not None:
                on_evaluation(outcome.evaluations[-1], run.weights)
            if not screened.wrong_tokens:
                certificate = screened
                if task.test_rows is None:
                    number = len(outcome.attempts) + 1
                    fresh = stream(seed, "certify", number)
                    needed = target.needed(number, limits.bound)
                    with ledger.phase("eval"):
                        certificate = target.certify(task, run.predict, fresh, needed)
                wrong = certificate.wrong_sequences
                outcome.attempts.append(Attempt(outcome.epochs, certificate.sequences, wrong))
                if not wrong:
                    outcome.status, outcome.final = "reached", certificate
                    outcome.hit_epoch, outcome.hit_s = outcome.epochs, ledger.training
                    outcome.hit_wall_s = ledger.wall
                    break
            outcome.last_miss_s = ledger.training
        if limits.is_over():
            outcome.status = "timeout"
            break
    outcome.weights = run.weights
    if outcome.status == "reached":
        outcome.last_miss_s = outcome.last_miss_s or 0.0
        with ledger.phase("sustain"):
            run.train_past_hit(outcome)
    else:
        with ledger.phase("eval"):
            outcome.final = target.score(task, run.predict, measurement, limits.measure)
    return outcome


@dataclass
class _Run:
    """What the parts of a training share; `data` and `screening` are random streams.

    `weights` are the current ones, as they were read when the clock was stopped.
    """

    task: Task
    recipe: Recipe
    data: Stream
    screening: Stream
    trainer: Trainer | ReplicateTrainer
    predictor: Predictor
    limits: Limits
    weights: list[Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = read(self.trainer.weights())
        batches = updates_per_epoch(self.task.framing.samples, self.recipe)
        every, budget = self.recipe.evaluate_every, self.limits.max_epochs
        self.fingerprint_at = fingerprint_epoch(every, budget, batches)

    @property
    def predict(self) -> target.Predict:
        """The network with its current weights."""
        return functools.partial(self.predictor, self.weights)

    def advance(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train; return losses and accuracies once these and all weights have been read.

        The weights depend on every update: an engine that returned before the device had
        finished waits here, on the clock.
        """
        losses, accuracies = read(self.trainer.train(rows))
        self.weights = read(self.trainer.weights())
        return losses, accuracies

    def screen(self) -> Score:
        return target.score(self.task, self.predict, self.screening, self.limits.screen)

    def next_evaluation(self, epoch: int) -> int:
        return (epoch // self.recipe.evaluate_every + 1) * self.recipe.evaluate_every

    def next_stop(self, epoch: int) -> int:
        """Return the epoch of the next evaluation, or of the end of the tutorial or the budget."""
        stops = [self.next_evaluation(epoch), self.limits.max_epochs]
        if epoch < self.recipe.epochs:
            stops.append(self.recipe.epochs)
        return min(stops)

    def train_to(
        self,
        stop: int,
        ledger: Ledger,
        outcome: TrainingOutcome,
        on_progress: Callable[[int, float], None],
    ) -> float:
        """Train to epoch `stop`, to the deadline, or until the loss is not finite.

        Returns:
            The last epoch's mean loss.
        """
        loss = float("nan")
        while outcome.epochs < stop and not self.limits.is_over():
            first = outcome.epochs == 0
            epochs = 1 if first else min(self.limits.dispatch, stop - outcome.epochs)
            rows = fresh_rows(self.task, self.recipe, self.data, epochs)
            start, busy = ledger.training, ledger.training_processor_s
            with ledger.phase("first_update" if first else "train"):
                losses, accuracies = self.advance(rows)
            spent, worked = ledger.training - start, ledger.training_processor_s - busy
            outcome.dispatches.append(Dispatch(epochs, spent, worked))
            seconds = spent / epochs
            if outcome.epochs > 1:  # the first epoch and the first longer call warm up
                outcome.seconds_per_epoch.append(seconds)
            finite = int(np.isfinite(losses).all(axis=1).cumprod().sum())  # leading epochs
            _note_lucky(accuracies[:finite], outcome)
            if outcome.epochs < self.fingerprint_at <= outcome.epochs + finite:
                taken = float(losses[self.fingerprint_at - 1 - outcome.epochs].mean())
                outcome.fingerprint = TakenFingerprint(self.fingerprint_at, taken)
            if finite < epochs:
                outcome.epochs += finite + 1
                outcome.diverged_epoch = outcome.epochs
                break
            outcome.epochs += epochs
            loss = float(losses[-1].mean())
            on_progress(outcome.epochs, seconds)
        return loss

    def train_past_hit(self, outcome: TrainingOutcome) -> None:
        """Train on after the hit, evaluating as often, to see whether 100% lasts."""
        limits = self.limits
        epoch, trained = outcome.epochs, outcome.hit_s or 0.0
        loss = float("nan")
        while len(outcome.after_hit) < limits.sustain and epoch < limits.max_epochs:
            stop = min(self.next_evaluation(epoch), limits.max_epochs)
            while epoch < stop and not limits.is_over():
                epochs = min(limits.dispatch, stop - epoch)
                rows = fresh_rows(self.task, self.recipe, self.data, epochs)
                start = monotonic()
                losses, _ = self.advance(rows)
                trained += monotonic() - start
                epoch, loss = epoch + epochs, float(losses[-1].mean())
            if epoch < stop:
                return  # out of time; the certificate stands
            outcome.after_hit.append(Evaluation(epoch, trained, loss, self.screen()))


def read(arrays: Sequence[Floats]) -> list[Floats]:
    """Return copies: what an engine left to be computed later is computed now."""
    return [np.array(array, np.float32) for array in arrays]


def _note_lucky(accuracies: Floats, outcome: TrainingOutcome) -> None:
    """Note the first epoch with a training accuracy of 100%."""
    lucky = accuracies.mean(axis=1) >= 1.0
    if outcome.first_lucky_epoch is None and lucky.any():
        outcome.first_lucky_epoch = outcome.epochs + int(lucky.argmax()) + 1


def warm_up_epochs(recipe: Recipe, dispatch: int) -> int:
    """Return the epochs that are in no time per update: the first, and the first longer call.

    `dispatch` is the most epochs of a call, which ends at the next evaluation, and at the end of
    the tutorial.
    """
    stops = [1 + dispatch, (1 // recipe.evaluate_every + 1) * recipe.evaluate_every]
    return min([*stops, recipe.epochs] if recipe.epochs > 1 else stops)


def fresh_rows(task: Task, recipe: Recipe, rng: Stream, epochs: int) -> Integers:
    """Draw training rows, integers [epochs, sequences, length]; DataError as `draw` raises it."""
    rows = draw(task, rng, epochs * recipe.sequences)
    return rows.reshape(epochs, recipe.sequences, -1)
