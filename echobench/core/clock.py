"""The phases of a trial: seconds in each, which add up to its wall time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("import", "build", "compile", "first_update", "train", "eval", "sustain", "other")


class Ledger:
    """Seconds by phase; time outside all phases is `other`.

    Args:
        started: start of the process, on the monotonic clock.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._processor = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase; the block must wait for the device to finish."""
        processor, start = time.process_time(), time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] += time.monotonic() - start
            self._processor[name] += time.process_time() - processor

    @property
    def training(self) -> float:
        """Seconds of training so far, the first update included, evaluations excluded."""
        return self._seconds["first_update"] + self._seconds["train"]

    @property
    def wall(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self.started

    @property
    def busy_cores(self) -> float | None:
        """Processor time of training divided by its wall time; None before training."""
        processor = self._processor["first_update"] + self._processor["train"]
        return processor / self.training if self.training else None

    def close(self) -> dict[str, float]:
        """Return the seconds of every phase, and their sum as `wall`."""
        wall = self.wall
        known = sum(seconds for name, seconds in self._seconds.items() if name != "other")
        return {**self._seconds, "other": wall - known, "wall": wall}
