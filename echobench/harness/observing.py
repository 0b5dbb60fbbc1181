"""Call observers beside the display; an observer that fails harms no trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from echobench.harness.matrix import Watcher
from echobench.plugin.observer import Observer
from echobench.text import say
from echobench.trial.job import Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial


def observed(watcher: Watcher, observers: Sequence[Observer], results: Path) -> Watcher:
    """Return a watcher that calls `watcher`, then every observer.

    An observer that raises is named on stderr and not called again; the trial goes on.
    """
    working = list(observers)

    def call_each(call: Callable[[Observer], None]) -> None:
        for observer in list(working):
            try:
                call(observer)
            except Exception as error:
                working.remove(observer)
                message = " ".join(str(error).split())
                say(
                    f"observer {observer.name!r} is left out from here on: "
                    f"{type(error).__name__}: {message}"
                )

    def started(number: int, trial: Trial) -> None:
        watcher.started(number, trial)
        call_each(lambda observer: observer.trial_started(trial, results))

    def progressed(trial: Trial, progress: Progress) -> None:
        watcher.progressed(trial, progress)
        call_each(lambda observer: observer.trial_progressed(trial, progress))

    def finished(trial: Trial, record: Record) -> None:
        watcher.finished(trial, record)
        call_each(lambda observer: observer.trial_finished(trial, record))

    return Watcher(started, progressed, finished, watcher.waiting)
