"""What `make soak` and `make load` do for long, for a moment."""

from __future__ import annotations

from pathlib import Path

from tests.soak.kill import soak
from tests.soak.load import load


def test_a_dozen_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    tally = soak(tmp_path, kills=12, seed=7, trials=10, life=2.0)
    assert tally.faults == []
    assert tally.kills.total() >= 12


def test_harnesses_side_by_side_run_each_trial_once_and_do_not_grow(tmp_path: Path) -> None:
    assert load(tmp_path, trials=14, every=0.05, harnesses=2) == []
