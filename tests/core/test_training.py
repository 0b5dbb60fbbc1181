"""The training loop, driven by learners made of NumPy: what it counts and when it stops."""

from __future__ import annotations

import time

import numpy as np
import pytest

from echobench.core.clock import Ledger
from echobench.core.sequences import Floats, Integers, stream
from echobench.core.task import Recipe, Task
from echobench.core.training import Limits, Outcome, train
from echobench.errors import TrainingError
from echobench.plugins import Plugins

RECIPE = Recipe(units=1, batch=21, sequences=2, epochs=30, evaluate_every=10)


class Learner:
    """Answers right from a given epoch on; keeps the rows it was trained on."""

    def __init__(self, task: Task, right_from: int, loss: float = 1.0) -> None:
        self.task, self.right_from, self.loss = task, right_from, loss
        self.seen: list[Integers] = []
        self.asked: list[Integers] = []

    @property
    def epochs(self) -> int:
        return sum(len(rows) for rows in self.seen)

    def reset(self, weights: list[Floats]) -> None: ...

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        before = self.epochs
        self.seen.append(rows)
        accuracy = [[float(before + k >= self.right_from)] for k in range(len(rows))]
        return np.full((len(rows), 1), self.loss, np.float32), np.array(accuracy, np.float32)

    def first_losses(self, rows: Integers) -> Floats:
        return self.train(rows)[0].ravel()

    def weights(self) -> list[Floats]:
        return []

    def predict(self, weights: list[Floats], rows: Integers) -> Integers:
        self.asked.append(rows)
        answers = self.task.expected(rows)
        return answers if self.epochs >= self.right_from else (answers + 1) % 100


@pytest.fixture
def task(plugins: Plugins) -> Task:
    return plugins.task("partial").value()


def run(learner: Learner, *, max_epochs: int = 100, seconds: float = 60.0) -> Outcome:
    limits = Limits(max_epochs, time.monotonic() + seconds, dispatch=4, screen=50, certify=100)
    ledger = Ledger(time.monotonic())
    return train(learner.task, RECIPE, 0, learner, learner.predict, limits, ledger, lambda *_: None)


def test_the_hit_is_the_evaluation_that_was_certified(task: Task) -> None:
    outcome = run(Learner(task, right_from=45))
    assert (outcome.status, outcome.hit_epoch, outcome.epochs) == ("reached", 50, 50)
    assert [e.epoch for e in outcome.evaluations] == [10, 20, 30, 40, 50]
    assert outcome.first_lucky_epoch == 46
    assert outcome.hit_s is not None
    assert outcome.last_miss_s is not None
    assert outcome.last_miss_s < outcome.hit_s
    assert outcome.final is not None
    assert outcome.final.sequences == 100
    assert outcome.at_tutorial is not None
    assert outcome.at_tutorial.accuracy == 0.0


def test_a_budget_spent_is_a_miss_with_its_accuracy(task: Task) -> None:
    outcome = run(Learner(task, right_from=1000), max_epochs=25)
    assert (outcome.status, outcome.epochs, outcome.hit_s) == ("missed", 25, None)
    assert outcome.evaluations[-1].epoch == 25
    assert outcome.final is not None
    assert outcome.final.accuracy == 0.0
    assert outcome.at_tutorial is None


def test_a_deadline_passed_is_a_timeout_that_keeps_what_was_measured(task: Task) -> None:
    outcome = run(Learner(task, right_from=1000), seconds=0.0)
    assert outcome.status == "timeout"
    assert outcome.final is not None
    assert (outcome.epochs, outcome.evaluations) == (0, [])  # nothing trained, nothing to evaluate


def test_training_rows_are_fresh_and_evaluation_rows_are_others(task: Task) -> None:
    learner = Learner(task, right_from=45)
    run(learner)
    trained = np.concatenate([rows.reshape(-1, 25) for rows in learner.seen])
    asked = np.concatenate(learner.asked)
    assert len(trained) == 50 * RECIPE.sequences
    everything = np.concatenate([trained, asked])
    assert len(np.unique(everything, axis=0)) == len(everything)
    np.testing.assert_array_equal(trained, task.sample(stream(0, "train"), len(trained)))


def test_a_loss_that_is_no_number_ends_the_trial(task: Task) -> None:
    with pytest.raises(TrainingError, match="not a finite number in epoch 1"):
        run(Learner(task, right_from=1000, loss=float("nan")))


def test_a_refuted_screening_is_counted_and_training_goes_on(task: Task) -> None:
    class Forgetful(Learner):
        """Right on each screening, wrong on each certificate until epoch 30."""

        def predict(self, weights: list[Floats], rows: Integers) -> Integers:
            self.asked.append(rows)
            answers = task.expected(rows)
            screening = len(self.asked) % 2 == 1
            return answers if screening or self.epochs > 20 else (answers + 1) % 100

    outcome = run(Forgetful(task, right_from=0), max_epochs=100)
    assert outcome.failed_certifications == 2
    assert outcome.status == "reached"
    assert outcome.hit_epoch == 30
