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
    groups: dict[str, Sequence[Trial]] = {}
    """The trials that begin with each one that runs, by its key: itself, or all replicates."""
    epochs: dict[str, int] = {}
    """How far each of those that have begun is."""

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

    def start(trial: Trial) -> None:
        epochs[trial.key] = 0
        for each in groups[trial.key]:
            call_each(partial(_start, trial=each, results=results))

    def started(number: int, trials: Sequence[Trial]) -> None:
        watcher.started(number, trials)
        first = trials[0]
        together = bool(first.replicates)
        groups.update({first.key: trials} if together else {t.key: [t] for t in trials})
        if first.key not in epochs:  # a retry begins with its progress,
            start(first)  # and so do those after it in turn

    def progressed(trial: Trial, progress: Progress) -> None:
        watcher.progressed(trial, progress)
        if trial.key not in groups:
            return  # a late message of a trial that is finished
        # Of a cluster only the latest message arrives: the one that it begins again may be lost.
        is_earlier = progress.phase == "train" and progress.epoch < epochs.get(trial.key, 0)
        if progress.begins_again or is_earlier or trial.key not in epochs:
            start(trial)
        if progress.phase == "train":
            epochs[trial.key] = progress.epoch
        call_each(lambda observer: observer.trial_progressed(trial, progress))

    def finished(trial: Trial, record: Record) -> None:
        watcher.finished(trial, record)
        if trial.key in groups and trial.key not in epochs:
            start(trial)
        groups.pop(trial.key, None)
        epochs.pop(trial.key, None)
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
