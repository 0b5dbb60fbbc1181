"""The phase ledger adds up."""

from __future__ import annotations

import time

import pytest

from echobench.core.clock import PHASES, Ledger


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
