"""What verbs that run trials share: watch them, stop them, print what came of them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from echobench.errors import UsageError
from echobench.results.plain import say

if TYPE_CHECKING:
    from echobench.harness.matrix import Matrix
    from echobench.harness.plan import Trial
    from echobench.observer import Observer
    from echobench.plugins import Plugins
    from echobench.results.record import Record


def watched(matrix: Matrix, trials: list[Trial], observers: Sequence[Observer]) -> list[Record]:
    """Run trials under a person's and the observers' eyes; an interrupt is exit code 130."""
    from echobench import display, watching
    from echobench.harness.observing import observed

    with (
        interruptible("finished trials are recorded; the same command resumes"),
        (watching if matrix.watch else display).watcher(len(trials)) as watcher,
    ):
        return matrix.run(trials, observed(watcher, observers, matrix.store.folder))


def can_watch() -> bool:
    """Return whether there is a terminal to watch on; say so where there is none."""
    from rich.console import Console

    if Console(stderr=True).is_terminal:
        return True
    say("--watch: expected a terminal; the progress is told in plain lines instead")
    return False


@contextmanager
def interruptible(comfort: str) -> Iterator[None]:
    """Have an interrupt of the block end in one line and exit code 130.

    Args:
        comfort: what the line says of the work so far.
    """
    # Both, and by name: a shell starts background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: {comfort}")
        raise typer.Exit(130) from None


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def print_results(records: list[Record]) -> None:
    """Print the table, and an echo of each cell's first seed."""
    from rich.console import Console

    from echobench.results import ranking

    console = Console()
    if records:
        console.print(ranking.terminal(ranking.grouped(records), console.width))
    for record in records:
        if record.samples and record.seed == 0:
            said = [f"{record.task} {record.backend} {record.engine} {record.division}"]
            for sample in record.samples[:3]:
                said.append(f"Expected: {sample.expected} Predicted: {sample.predicted}")
            say("", *said, to=sys.stdout)


def chosen_observers(names: Sequence[str], plugins: Plugins) -> list[Observer]:
    """Return the observers of these names.

    Raises:
        UsageError: there is no such observer, or what it needs is not installed.
    """
    from echobench.core.backend import why_missing

    observers = [plugins.observer(name).value for name in dict.fromkeys(names)]
    for observer in observers:
        missing = why_missing(observer.requires, observer.extra)
        if missing is not None:
            raise UsageError(f"--observe {observer.name}: {missing}")
    return observers
