"""Observers beside the display: told the same, and kept from doing harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from echobench.harness.matrix import Watcher
from echobench.plugin.observer import Observer
from echobench.text import say
from echobench.trial.messages import Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial


def observed(watcher: Watcher, observers: Sequence[Observer], results: Path) -> Watcher:
    """Return a watcher that tells `watcher`, then every observer.

    An observer that raises is named on stderr and told nothing more: what it
    does with a trial is its own affair, and the trial goes on.
    """
    listening = list(observers)

    def tell(call: Callable[[Observer], None]) -> None:
        for observer in list(listening):
            try:
                call(observer)
            except Exception as error:
                listening.remove(observer)
                message = " ".join(str(error).split())
                say(
                    f"observer {observer.name!r} is left out from here on: "
                    f"{type(error).__name__}: {message}"
                )

    def started(number: int, trial: Trial) -> None:
        watcher.started(number, trial)
        tell(lambda observer: observer.trial_started(trial, results))

    def progressed(trial: Trial, progress: Progress) -> None:
        watcher.progressed(trial, progress)
        tell(lambda observer: observer.trial_progressed(trial, progress))

    def finished(trial: Trial, record: Record) -> None:
        watcher.finished(trial, record)
        tell(lambda observer: observer.trial_finished(trial, record))

    return Watcher(started, progressed, finished, watcher.waiting)
