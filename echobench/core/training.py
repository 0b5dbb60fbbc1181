"""One trial's training, to be read in one sitting: train, evaluate, certify, stop."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from echobench.core import target
from echobench.core.backend import Predictor, Trainer
from echobench.core.clock import Ledger
from echobench.core.sequences import Floats, Integers, stream
from echobench.core.target import Score
from echobench.core.task import Recipe, Task
from echobench.errors import TrainingError


@dataclass(frozen=True)
class Limits:
    """When to stop, and how closely to look.

    Attributes:
        max_epochs: the budget; a trial that ends with it is missed.
        deadline: on the monotonic clock; a trial that ends with it timed out.
        dispatch: most epochs between two looks at the clock.
        screen: fresh sequences of an evaluation.
        certify: fresh sequences that certify.
        sustain: evaluations after the hit, to see whether it lasts.
    """

    max_epochs: int
    deadline: float
    dispatch: int
    screen: int
    certify: int
    sustain: int = 0


@dataclass(frozen=True)
class Evaluation:
    """One look at the network during training, at the recipe's cadence."""

    epoch: int
    train_s: float
    loss: float
    score: Score


@dataclass
class TrainingOutcome:
    """What came of it.

    Attributes:
        status: `reached`, `missed` or `timeout`.
        epochs: epochs trained.
        hit_epoch, hit_s: the evaluation that was then certified, in epochs and
            in seconds of training; None where there was none.
        hit_wall_s: seconds from the process's start to the certificate.
        last_miss_s: training time at the last evaluation that missed before
            the hit, 0 if none did: the true hit lies between.
        weights: at the hit, or at the end where there was none.
        first_lucky_epoch: first epoch whose own fresh sequences came out all
            right while being trained on: the tutorial's 100%.
        at_tutorial: score after the tutorial's own number of epochs.
        final: score on fresh sequences at the end; the certificate if reached.
        failed_certifications: screenings without error that were then refuted.
        evaluations: all of them up to the hit, in order.
        after_hit: those with which training went on after it.
        seconds_per_epoch: of each dispatch in steady training, warm-up discarded.
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
    failed_certifications: int = 0
    weights: list[Floats] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    after_hit: list[Evaluation] = field(default_factory=list)
    seconds_per_epoch: list[float] = field(default_factory=list)

    @property
    def sustained_s(self) -> float | None:
        """Training time of the evaluation from which on none missed, to the last one.

        The hit's own where 100% lasted; None where the last one missed, or nothing was hit.
        """
        misses = [place for place, e in enumerate(self.after_hit) if e.score.wrong_tokens]
        if not misses:
            return self.hit_s
        later = self.after_hit[misses[-1] + 1 :]
        return later[0].train_s if later else None


def train(
    task: Task,
    recipe: Recipe,
    seed: int,
    trainer: Trainer,
    predictor: Predictor,
    limits: Limits,
    ledger: Ledger,
    progress: Callable[[float, int, float], None],
    looked: Callable[[Evaluation, list[Floats]], None] | None = None,
) -> TrainingOutcome:
    """Train until the target is certified, the budget is spent or the deadline has passed.

    Args:
        task: what is echoed.
        recipe: how.
        seed: of data and evaluation; the trainer already holds the seed's weights.
        trainer: the engine.
        predictor: the compiled forward pass.
        limits: budget and sizes.
        ledger: takes the time of every phase.
        progress: called with latest accuracy, epoch and seconds per epoch.
        looked: called with each evaluation and the weights, while no clock of training or
            evaluation runs.

    Raises:
        TrainingError: the loss is not a number.
    """
    data, screening = stream(seed, "train"), stream(seed, "screen")
    certification, measurement = stream(seed, "certify"), stream(seed, "measure")
    outcome = TrainingOutcome()
    accuracy = 0.0

    def echo(rows: Integers) -> Integers:
        return predictor(trainer.weights(), rows)

    while outcome.epochs < limits.max_epochs:
        stop = _next_stop(outcome.epochs, recipe, limits)
        report = functools.partial(progress, accuracy)
        loss = _train_to(stop, task, recipe, data, trainer, limits, ledger, outcome, report)
        if outcome.epochs < stop:
            outcome.status = "timeout"
            break
        if outcome.epochs == recipe.epochs:
            with ledger.phase("eval"):
                outcome.at_tutorial = target.score(task, echo, measurement, limits.certify)
        if outcome.epochs % recipe.evaluate_every == 0 or outcome.epochs == limits.max_epochs:
            with ledger.phase("eval"):
                screened = target.score(task, echo, screening, limits.screen)
            accuracy = screened.accuracy
            outcome.evaluations.append(Evaluation(outcome.epochs, ledger.training, loss, screened))
            if looked is not None:
                looked(outcome.evaluations[-1], trainer.weights())
            if not screened.wrong_tokens:
                with ledger.phase("eval"):
                    certificate = target.certify(task, echo, certification, limits.certify)
                if not certificate.wrong_tokens:
                    outcome.status, outcome.final = "reached", certificate
                    outcome.hit_epoch, outcome.hit_s = outcome.epochs, ledger.training
                    outcome.hit_wall_s = ledger.wall
                    break
                outcome.failed_certifications += 1
            outcome.last_miss_s = ledger.training
        if time.monotonic() >= limits.deadline:
            outcome.status = "timeout"
            break
    outcome.weights = trainer.weights()
    if outcome.status == "reached":
        outcome.last_miss_s = outcome.last_miss_s or 0.0
        with ledger.phase("sustain"):
            _watch_on(task, recipe, data, screening, trainer, predictor, limits, outcome)
    else:
        with ledger.phase("eval"):
            outcome.final = target.score(task, echo, measurement, limits.certify)
    return outcome


def _next_stop(epoch: int, recipe: Recipe, limits: Limits) -> int:
    """Return the epoch of the next evaluation, or of the tutorial's end, or of the budget's."""
    stops = [_next_cadence(epoch, recipe), limits.max_epochs]
    if epoch < recipe.epochs:
        stops.append(recipe.epochs)
    return min(stops)


def _next_cadence(epoch: int, recipe: Recipe) -> int:
    return (epoch // recipe.evaluate_every + 1) * recipe.evaluate_every


def _train_to(
    stop: int,
    task: Task,
    recipe: Recipe,
    data: np.random.Generator,
    trainer: Trainer,
    limits: Limits,
    ledger: Ledger,
    outcome: TrainingOutcome,
    progress: Callable[[int, float], None],
) -> float:
    """Train to epoch `stop`, or to the deadline; return the last epoch's loss."""
    loss = float("nan")
    while outcome.epochs < stop and time.monotonic() < limits.deadline:
        first = outcome.epochs == 0
        epochs = 1 if first else min(limits.dispatch, stop - outcome.epochs)
        rows = fresh_rows(task, recipe, data, epochs)
        start = ledger.training
        with ledger.phase("first_update" if first else "train"):
            losses, accuracies = trainer.train(rows)
        seconds = (ledger.training - start) / epochs
        if outcome.epochs > 1:  # the first dispatches warm up
            outcome.seconds_per_epoch.append(seconds)
        _look_at(losses, accuracies, outcome)
        outcome.epochs += epochs
        loss = float(losses[-1].mean())
        progress(outcome.epochs, seconds)
    return loss


def _watch_on(
    task: Task,
    recipe: Recipe,
    data: np.random.Generator,
    screening: np.random.Generator,
    trainer: Trainer,
    predictor: Predictor,
    limits: Limits,
    outcome: TrainingOutcome,
) -> None:
    """Train on after the hit, at the same cadence: does 100% last?"""
    epoch, trained = outcome.epochs, outcome.hit_s or 0.0
    loss = float("nan")
    while len(outcome.after_hit) < limits.sustain and epoch < limits.max_epochs:
        stop = min(_next_cadence(epoch, recipe), limits.max_epochs)
        while epoch < stop and time.monotonic() < limits.deadline:
            epochs = min(limits.dispatch, stop - epoch)
            rows = fresh_rows(task, recipe, data, epochs)
            start = time.monotonic()
            losses, _ = trainer.train(rows)
            trained += time.monotonic() - start
            epoch, loss = epoch + epochs, float(losses[-1].mean())
        if epoch < stop:
            return  # out of time; what was certified stays
        echo = functools.partial(predictor, trainer.weights())
        seen = target.score(task, echo, screening, limits.screen)
        outcome.after_hit.append(Evaluation(epoch, trained, loss, seen))


def _look_at(losses: Floats, accuracies: Floats, outcome: TrainingOutcome) -> None:
    """Refuse a loss that is not a number; remember the first lucky epoch."""
    bad = ~np.isfinite(losses).all(axis=1)
    if bad.any():
        epoch = outcome.epochs + int(bad.argmax()) + 1
        raise TrainingError(f"the loss is not a finite number in epoch {epoch}")
    lucky = accuracies.mean(axis=1) >= 1.0
    if outcome.first_lucky_epoch is None and lucky.any():
        outcome.first_lucky_epoch = outcome.epochs + int(lucky.argmax()) + 1


def fresh_rows(task: Task, recipe: Recipe, rng: np.random.Generator, epochs: int) -> Integers:
    """Draw the sequences of `epochs` epochs: [epochs, sequences, length]."""
    rows = task.sample(rng, epochs * recipe.sequences)
    return rows.reshape(epochs, recipe.sequences, -1)
