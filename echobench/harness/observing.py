"""Call observers beside the display; an observer that fails harms no trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from echobench import interrupts
from echobench.harness.matrix import Watcher
from echobench.plugin.failures import located
from echobench.plugin.interfaces import Observer
from echobench.text import say
from echobench.trial.job import Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial


@contextmanager
def observed(watcher: Watcher, observers: Sequence[Observer], results: Path) -> Iterator[Watcher]:
    """Give a watcher that calls `watcher`, then every observer; at the end, end their runs.

    An observer that raises is named on stderr and not called again; the trial goes on.
    """
    working = list(observers)
    jobs: dict[str, Sequence[Trial]] = {}
    """The trials of each job that runs, by the key of the first, which tells the progress."""
    epochs: dict[str, int] = {}
    """How far each of these is."""

    def call_each(call: Callable[[Observer], None]) -> None:
        for observer in list(working):
            try:
                with interrupts.not_swallowed():
                    call(observer)
            except BaseException as error:
                interrupts.pass_on(error)
                # Not remove(): it compares, and an observer's __eq__ is its own code.
                working[:] = [other for other in working if other is not observer]
                why = located(error, type(observer).__module__, observer)
                say(f"observer {_name_of(observer)} is left out from here on: {why}")

    def start(trials: Sequence[Trial]) -> None:
        epochs.pop(trials[0].key, None)
        for trial in trials:
            call_each(partial(_start, trial=trial, results=results))

    def started(number: int, trials: Sequence[Trial]) -> None:
        watcher.started(number, trials)
        jobs[trials[0].key] = trials
        start(trials)

    def progressed(trial: Trial, progress: Progress) -> None:
        watcher.progressed(trial, progress)
        if trial.key not in jobs:
            return  # a late message of a trial that is finished
        # Of a cluster only the latest message arrives: the one that it begins again may be lost.
        is_earlier = progress.phase == "train" and progress.epoch < epochs.get(trial.key, 0)
        if progress.begins_again or is_earlier:
            start(jobs[trial.key])
        if progress.phase == "train":
            epochs[trial.key] = progress.epoch
        call_each(lambda observer: observer.trial_progressed(trial, progress))

    def finished(trial: Trial, record: Record) -> None:
        watcher.finished(trial, record)
        jobs.pop(trial.key, None)
        call_each(lambda observer: observer.trial_finished(trial, record))

    try:
        yield Watcher(started, progressed, finished, watcher.waiting)
    finally:
        call_each(lambda observer: observer.run_ended())


def _name_of(observer: Observer) -> str:
    try:
        return repr(observer.name)
    except BaseException as error:
        interrupts.pass_on(error)
        return f"of the class {type(observer).__name__}"


def _start(observer: Observer, trial: Trial, results: Path) -> None:
    observer.trial_started(trial, results)
