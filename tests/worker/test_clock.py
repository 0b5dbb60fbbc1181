"""A trial's clock is compared with a control, if there is time for one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from echobench.core.sequences import Floats, Integers
from echobench.core.training import Dispatch, Ledger, TrainingOutcome
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.record import LEAST_CLOCK_SHARE
from echobench.worker.trial import COUNTED_S, clock_share, processor_s_per_epoch
from tests.plugins.cells import ECHO

EPOCH_S = 0.01
"""Processor seconds that the trainer below takes for an epoch."""


class Busy:
    """A trainer that computes for `EPOCH_S` an epoch, five times as long in its first calls.

    Each call takes `call_s` more, however many epochs it has.
    """

    def __init__(self, slow_calls: int = 0, call_s: float = 0.0) -> None:
        self._slow_calls, self._call_s = slow_calls, call_s

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        self._slow_calls -= 1
        factor = 5 if self._slow_calls >= 0 else 1
        until = time.process_time() + self._call_s + factor * EPOCH_S * len(rows)
        while time.process_time() < until:
            pass
        losses = np.zeros((len(rows), 1), np.float32)
        return losses, losses

    def weights(self) -> list[Floats]:
        return [np.zeros(1, np.float32)]


HONEST = ((4, 4 * EPOCH_S), (6, 6 * EPOCH_S))
"""Epochs and processor seconds of a trainer's calls, after the first epoch."""


def share(
    plugins: Plugins,
    seconds_per_epoch: float,
    left_s: float,
    slow_calls: int = 0,
    clocked: Sequence[tuple[int, float]] = HONEST,
    call_s: float = 0.0,
) -> float | None:
    """Return the clock's share of a trial of 11 epochs, of which 10 were steady."""
    selection = Selection(tasks=[ECHO], backends=["jax"], divisions=["open"], threads=1)
    (trial,) = plan(selection, plugins)
    task = plugins.tasks[trial.task].value(**trial.parameters)
    program: Any = SimpleNamespace(task=task, recipe=trial.recipe)
    built: Any = SimpleNamespace(program=program, trainer=Busy(slow_calls, call_s), dispatch=10)
    ledger = Ledger(time.monotonic() - trial.timeout_s + left_s)
    outcome = TrainingOutcome(
        epochs=11,
        seconds_per_epoch=[seconds_per_epoch] * 3,
        dispatches=[Dispatch(1, 1.0, 1.0), *(Dispatch(epochs, 1.0, s) for epochs, s in clocked)],
    )
    return clock_share(built, trial, outcome, ledger)


def test_an_engine_that_trains_on_the_clock_takes_what_the_control_takes(plugins: Plugins) -> None:
    assert share(plugins, EPOCH_S, 60.0) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("seconds_per_epoch", "left_s"),
    [
        (EPOCH_S, 0.1),  # three rounds of 0.1 s
        (4.0, 11.0),  # three rounds of an epoch
        (4.0, -1.0),  # a trial that has timed out: the parent soon ends the process
    ],
)
def test_a_control_that_would_outlast_the_trials_limit_is_left_out(
    seconds_per_epoch: float, left_s: float, plugins: Plugins
) -> None:
    assert share(plugins, seconds_per_epoch, left_s) is None
    assert share(plugins, seconds_per_epoch, 60.0) is not None


def test_an_honest_trial_outlives_a_control_that_is_disturbed(plugins: Plugins) -> None:
    assert share(plugins, EPOCH_S, 60.0, slow_calls=5) == pytest.approx(1.0, abs=0.3)


def test_a_trial_that_always_takes_longer_off_its_clock_is_contradicted(plugins: Plugins) -> None:
    found = share(plugins, EPOCH_S, 60.0, slow_calls=99)
    assert found is not None
    assert found < LEAST_CLOCK_SHARE


@pytest.mark.parametrize(
    "clocked",
    [
        [(4, 4 * EPOCH_S), (6, 0.0)],
        [(4, 40 * EPOCH_S), (6, 0.0)],  # its call on the clock is disturbed, or made to last
        [(6, 3 * EPOCH_S), (4, 0.0)],
    ],
)
def test_a_trial_that_trains_most_epochs_off_its_clock_is_contradicted(
    clocked: Sequence[tuple[int, float]], plugins: Plugins
) -> None:
    found = share(plugins, EPOCH_S, 60.0, clocked=clocked)
    assert found is not None
    assert found < LEAST_CLOCK_SHARE


def test_work_that_is_counted_late_is_work_all_the_same() -> None:
    """The system may count what other threads do only in every fourth call of a millisecond."""
    calls = [Dispatch(1, 0.001, 0.001), *[Dispatch(1, 0.001, 0.0)] * 3] * 100
    calls = [Dispatch(1, 0.001, 4 * one.processor_s) for one in calls]
    assert processor_s_per_epoch(calls, COUNTED_S) == pytest.approx(0.001, rel=0.1)
    ahead = [*calls[:120], *[Dispatch(1, 0.001, 0.0)] * 280]  # trained off the clock
    assert processor_s_per_epoch(ahead, COUNTED_S) < 0.0001


def test_a_trial_that_waited_for_its_core_is_not_contradicted(plugins: Plugins) -> None:
    """Its control has calls as long as its own, though an epoch took ten times as long."""
    call_s = 5 * EPOCH_S
    clocked = [(10, call_s + 10 * EPOCH_S)]
    found = share(plugins, 10 * EPOCH_S, 60.0, clocked=clocked, call_s=call_s)
    assert found is not None
    assert found > LEAST_CLOCK_SHARE


def test_one_call_that_is_disturbed_contradicts_nobody(plugins: Plugins) -> None:
    """A share above the greatest would contradict the trial as well."""
    clocked = [(4, 400 * EPOCH_S), (6, 6 * EPOCH_S)]
    assert share(plugins, EPOCH_S, 60.0, clocked=clocked) == pytest.approx(1.0, abs=0.3)
