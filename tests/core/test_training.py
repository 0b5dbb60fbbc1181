"""The training loop, driven by NumPy learners: what it counts, when it stops; its clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echobench.core import target, training
from echobench.core.sequences import Floats, Integers, stream
from echobench.core.task import Recipe, Task
from echobench.core.training import (
    PHASES,
    Attempt,
    Evaluation,
    Ledger,
    Limits,
    TrainingOutcome,
    train,
)
from echobench.plugin.manager import Plugins

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

    def execution(self) -> dict[str, Any]:
        return {}

    def predict(self, weights: list[Floats], rows: Integers) -> Integers:
        self.asked.append(rows)
        answers = self.task.expected(rows)
        return answers if self.epochs >= self.right_from else (answers + 1) % 100


@pytest.fixture
def task(plugins: Plugins) -> Task:
    return plugins.tasks["partial"].value()


def run(
    learner: Learner, *, max_epochs: int = 100, seconds: float = 60.0, sustain: int = 0
) -> TrainingOutcome:
    deadline = time.monotonic() + seconds
    limits = Limits(
        max_epochs, deadline, dispatch=4, screen=50, bound=0.04, measure=100, sustain=sustain
    )
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
    assert outcome.final.sequences == 93  # (ln 20 + ln 2) / 0.04
    assert outcome.attempts == [Attempt(50, 93, 0)]
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


@pytest.mark.parametrize("last", [0, 1, 6, 25])
def test_a_trial_whose_loss_stops_being_finite_has_missed(task: Task, last: int) -> None:
    class Diverging(Learner):
        """Right from the start, with losses that are finite up to epoch `last`."""

        def train(self, rows: Integers) -> tuple[Floats, Floats]:
            epochs = self.epochs + 1 + np.arange(len(rows))
            losses, accuracies = super().train(rows)
            losses[epochs > last] = np.inf
            return losses, accuracies

    outcome = run(Diverging(task, right_from=1000))
    assert (outcome.status, outcome.diverged_epoch) == ("missed", last + 1)
    assert outcome.epochs == last + 1
    assert [e.epoch for e in outcome.evaluations] == [10, 20, 30][: last // 10]
    assert outcome.final is not None
    assert outcome.hit_s is None


def test_a_loss_that_stops_being_finite_after_the_hit_ends_the_training(task: Task) -> None:
    class Late(Learner):
        def train(self, rows: Integers) -> tuple[Floats, Floats]:
            losses, accuracies = super().train(rows)
            return (losses * np.nan if self.epochs > 20 else losses), accuracies

    outcome = run(Late(task, right_from=0), sustain=3)
    assert (outcome.status, outcome.hit_epoch, outcome.diverged_epoch) == ("reached", 10, None)
    assert [(e.epoch, np.isfinite(e.loss)) for e in outcome.after_hit] == [
        (20, True), (30, False), (40, False)
    ]  # fmt: skip


def test_what_an_engine_left_to_be_computed_is_computed_on_the_clock(task: Task) -> None:
    class Later:
        """An array whose numbers take 0.1 s, once somebody wants them."""

        def __init__(self, values: Any) -> None:
            self.values = values

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            time.sleep(0.1)
            return np.asarray(self.values, dtype)

    class Unwaited(Learner):
        def train(self, rows: Integers) -> Any:
            losses, accuracies = super().train(rows)
            return Later(losses), accuracies

        def weights(self) -> Any:
            return [Later(np.zeros(1, np.float32))]

    outcome = run(Unwaited(task, right_from=0), max_epochs=10)
    dispatches = 4  # 1 + 4 + 4 + 1 epochs
    assert outcome.hit_s is not None
    assert outcome.hit_s >= dispatches * 2 * 0.1
    assert all(isinstance(weights, np.ndarray) for weights in outcome.weights)


def test_a_refuted_screening_is_counted_and_training_goes_on(task: Task) -> None:
    class Forgetful(Learner):
        """Right on each screening, wrong on each certificate until epoch 30."""

        def predict(self, weights: list[Floats], rows: Integers) -> Integers:
            self.asked.append(rows)
            answers = task.expected(rows)
            screening = len(self.asked) % 2 == 1
            return answers if screening or self.epochs > 20 else (answers + 1) % 100

    outcome = run(Forgetful(task, right_from=0), max_epochs=100)
    assert [attempt.wrong > 0 for attempt in outcome.attempts] == [True, True, False]
    assert outcome.attempts[-1] == Attempt(30, target.needed(3, 0.04), 0)
    assert outcome.status == "reached"
    assert outcome.hit_epoch == 30


class Wavering(Learner):
    """Right from epoch 10 on, but for some epochs."""

    def __init__(self, task: Task, wrong_at: set[int]) -> None:
        super().__init__(task, right_from=10)
        self.wrong_at = wrong_at

    def predict(self, weights: list[Floats], rows: Integers) -> Integers:
        answers = super().predict(weights, rows)
        return (answers + 1) % 100 if self.epochs in self.wrong_at else answers


@pytest.mark.parametrize(
    ("wrong_at", "sustained_from"), [(set(), 0), ({20}, 2), ({30}, 3), ({20, 40}, None)]
)
def test_after_the_hit_it_is_seen_whether_100_percent_lasts(
    task: Task, wrong_at: set[int], sustained_from: int | None
) -> None:
    outcome = run(Wavering(task, wrong_at), sustain=3)
    assert (outcome.status, outcome.hit_epoch, outcome.epochs) == ("reached", 10, 10)
    assert [e.epoch for e in outcome.after_hit] == [20, 30, 40]
    assert {e.epoch for e in outcome.after_hit if e.score.wrong_tokens} == wrong_at
    assert outcome.hit_s is not None
    times = [outcome.hit_s, *(e.train_s for e in outcome.after_hit)]
    assert times == sorted(times)
    expected = None if sustained_from is None else times[sustained_from]
    assert outcome.sustained_s == expected


def test_a_hit_stays_where_the_budget_ends_before_it_was_seen_to_last(task: Task) -> None:
    outcome = run(Wavering(task, set()), sustain=3, max_epochs=25)
    assert outcome.status == "reached"
    assert [e.epoch for e in outcome.after_hit] == [20, 25]
    assert run(Wavering(task, set()), sustain=3, max_epochs=10).after_hit == []


class Phases(Ledger):
    """Knows which phases run."""

    def __init__(self) -> None:
        super().__init__(time.monotonic())
        self.running: list[str] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        with super().phase(name):
            self.running.append(name)
            yield
            self.running.remove(name)


def test_who_watches_is_told_of_each_evaluation_while_no_clock_runs(task: Task) -> None:
    learner, ledger = Learner(task, right_from=25), Phases()
    limits = Limits(100, time.monotonic() + 60, dispatch=4, screen=50, bound=0.04, measure=100)
    told = []

    def looked(evaluation: Evaluation, weights: list[Floats]) -> None:
        assert not ledger.running
        told.append((evaluation.epoch, evaluation.score.accuracy))

    train(task, RECIPE, 0, learner, learner.predict, limits, ledger, lambda *_: None, looked)
    assert told == [(10, 0.0), (20, 0.0), (30, 1.0)]


def test_phases_add_up_to_the_wall_time() -> None:
    ledger = Ledger(time.monotonic() - 1.0)
    with ledger.phase("train"):
        time.sleep(0.01)
    with pytest.raises(ZeroDivisionError), ledger.phase("eval"):
        raise ZeroDivisionError
    seconds = ledger.close()
    assert sum(seconds[name] for name in PHASES) == pytest.approx(seconds["wall"])
    assert seconds["wall"] >= 1.01
    assert seconds["train"] >= 0.01
    assert seconds["other"] >= 1.0


def test_training_is_first_update_and_train_only() -> None:
    ledger = Ledger(time.monotonic())
    for name in PHASES:
        with ledger.phase(name):
            time.sleep(0.002)
    seconds = ledger.close()
    assert ledger.training == pytest.approx(seconds["first_update"] + seconds["train"])


def test_busy_cores_are_the_processors_time_in_training() -> None:
    ledger = Ledger(time.monotonic())
    assert ledger.busy_cores is None
    clocks = (time.process_time, time.monotonic)
    outside = [clock() for clock in clocks]
    with ledger.phase("train"):
        inside = [clock() for clock in clocks]
        end = inside[0] + 0.1
        while time.process_time() < end:
            pass
        time.sleep(0.1)
        inside = [clock() - then for clock, then in zip(clocks, inside, strict=True)]
    outside = [clock() - then for clock, then in zip(clocks, outside, strict=True)]
    with ledger.phase("eval"):
        time.sleep(0.1)  # is not of it
    assert ledger.busy_cores is not None
    # However long others keep this process waiting, in these bounds.
    assert inside[0] / outside[1] <= ledger.busy_cores <= outside[0] / inside[1]


def test_stops_are_told_by_the_phase_in_which_they_were() -> None:
    began = time.monotonic()
    found: list[tuple[float, float]] = []
    ledger = Ledger(began, lambda: found)
    with ledger.phase("train"):
        time.sleep(0.2)
    trained = time.monotonic()
    with ledger.phase("eval"):
        time.sleep(0.1)
    time.sleep(0.1)
    assert (ledger.stopped_by_phase(), ledger.stopped_s()) == ({}, 0.0)
    # Before it began; in training; between two phases; too short to be told.
    now = time.monotonic()
    found += [(began - 5, began), (began + 0.05, began + 0.15)]
    found += [(now - 0.09, now), (trained + 0.01, trained + 0.02)]
    stopped = ledger.stopped_by_phase()
    assert stopped == {"train": pytest.approx(0.1), "other": pytest.approx(0.09, abs=0.01)}
    assert ledger.stopped_s() == sum(stopped.values())


def test_a_suspended_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's clock of the time asleep, since a test cannot send this machine to sleep."""
    assert Ledger(time.monotonic()).suspended_s in {0.0, None}
    ledger = Ledger(time.monotonic())
    monkeypatch.setattr(training, "clock_gettime", lambda clock: time.clock_gettime(clock) + 90.0)
    assert ledger.suspended_s in {90.0, None}
    assert Ledger(time.monotonic()).suspended_s in {0.0, None}


def test_a_busy_machine_is_no_suspended_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may take the core between two clocks, here whenever we look first."""
    looks = 0

    def slow(clock: int) -> float:
        nonlocal looks
        looks += 1
        now = time.clock_gettime(clock)
        if looks == 1:
            time.sleep(0.05)
        return now

    monkeypatch.setattr(training, "clock_gettime", slow)
    assert Ledger(time.monotonic()).suspended_s in {0.0, None}
    assert looks in {0, 2 * training.LOOKS}


def test_a_deadline_moves_by_the_time_for_which_the_trial_was_stopped() -> None:
    limits = Limits(
        100, time.monotonic() - 1.0, dispatch=4, screen=50, bound=0.04, measure=100,
        stopped_s=lambda: 60.0,
    )  # fmt: skip # one line reads better
    assert not limits.is_over()
    assert replace(limits, stopped_s=lambda: 0.3).is_over()
    told = iter([0.0, 60.0])  # the guard goes on a moment later than the worker
    assert not replace(limits, stopped_s=lambda: next(told)).is_over()


def test_a_whole_test_set_is_answered_at_each_evaluation_and_that_is_the_certificate(
    plugins: Plugins, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(f"w{k},v{k}" for k in range(70)))
    task = plugins.tasks["pairs"].value.model_validate({"path": str(path)})
    learner = Learner(task, right_from=15)
    recipe = RECIPE.model_copy(update={"batch": 1})
    limits = Limits(100, time.monotonic() + 60, 4, screen=70, bound=0.0, measure=70, sustain=1)
    ledger = Ledger(time.monotonic())
    outcome = train(task, recipe, 0, learner, learner.predict, limits, ledger, lambda *_: None)
    assert (outcome.status, outcome.hit_epoch) == ("reached", 20)
    assert outcome.attempts == [Attempt(20, 70, 0)]
    assert outcome.final is not None
    assert (outcome.final.sequences, outcome.final.wrong_sequences) == (70, 0)
    assert [point.score.sequences for point in outcome.evaluations] == [70, 70]
    # Two blocks at each of the evaluations, the one after the hit too, and none for a certificate.
    assert len(learner.asked) == 2 * 3
    for first, second in zip(learner.asked[::2], learner.asked[1::2], strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second[:20]]), task.test_rows)
