"""What the guard notes of its worker's stops; tests/harness/test_stops.py stops real ones."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from echobench.machine import stops


class Waiting(stops.StopLog):
    """The log of this process, as if the guard had waited for a core as long as a test says."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.for_s = 0.0
        monkeypatch.setattr(stops, "_waited_s", lambda: self.for_s)
        super().__init__(str(home), os.getpid())


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(tmp_path, monkeypatch)


def test_the_wait_for_a_core_is_no_part_of_a_stop(log: Waiting, tmp_path: Path) -> None:
    """The guard may get its core long after the worker, which trains on meanwhile."""
    log.note(stopped=True)
    log.beat()
    began = time.monotonic()
    time.sleep(0.4)
    log.note(stopped=False)
    log.for_s = 0.3
    log.beat()
    ended = time.monotonic()
    ((since, until),) = stops.read(str(tmp_path))
    assert since <= began
    assert began < until <= ended - 0.3


def test_the_wait_for_a_core_before_a_stop_is_no_part_of_it(log: Waiting, tmp_path: Path) -> None:
    """The worker trains on its core until it is stopped; then the guard gets it, and hears so."""
    time.sleep(0.2)
    log.for_s = 0.2
    stopped = time.monotonic()
    log.note(stopped=True)
    log.beat()
    log.note(stopped=False)
    log.beat()
    ((since, _),) = stops.read(str(tmp_path))
    assert since >= stopped
