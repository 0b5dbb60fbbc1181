"""What verbs that run trials share: watch them, stop them, print what came of them."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from echobench.errors import UsageError
from echobench.text import say

if TYPE_CHECKING:
    from echobench.harness.matrix import Matrix
    from echobench.plugin.executor import Executor
    from echobench.plugin.manager import Plugins
    from echobench.plugin.observer import Observer
    from echobench.store.folder import Store
    from echobench.store.progress_log import Journal
    from echobench.trial.record import Record, Sample
    from echobench.trial.trial import Trial

RESUMES = "finished trials are recorded; the same command resumes"


def watched(
    matrix: Matrix, trials: list[Trial], observers: Sequence[Observer], journal: Journal
) -> bool:
    """Run trials under a person's and the observers' eyes; return whether one failed.

    Those count that other processes ran meanwhile.
    """
    from echobench.harness.observing import observed
    from echobench.present import progress, watch

    with (watch if matrix.watch else progress).watcher(len(trials)) as watcher:
        told = observed(watcher, observers, matrix.store.folder)
        own = {record.key: failed(record) for record in matrix.run(trials, told, journal)}
    asked = {trial.key for trial in trials}
    others = {key: it for key, it in journal.look().items() if key in asked - own.keys()}
    if others:
        say(f"{len(others)} of {len(trials)} trials were run by other processes")
    return any(own.values()) or any(others.values())


def failed(record: Record) -> bool:
    """Return whether a trial counts as failed: it ended so, or trained something else."""
    return record.status == "failed" or record.failed_parity


def can_watch() -> bool:
    """Return whether there is a terminal to watch on; say so where there is none."""
    from rich.console import Console

    if Console(stderr=True).is_terminal:
        return True
    say("--watch: expected a terminal; the progress is told in plain lines instead")
    return False


def print_results(store: Store, machine: dict[str, Any] | None, keys: Container[str]) -> None:
    """Print the table of trials on a machine, None for any, and an echo of each cell's first seed.

    They are read back from the folder: what other processes ran is there too, and nothing of
    them need be kept while trials run.
    """
    from rich.console import Console

    from echobench.analysis import frame, ranking
    from echobench.present import table as tables

    console = Console()
    echoes: dict[str, tuple[str, list[Sample]]] = {}

    def heard(records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if record.seed == 0:
                name = f"{record.task} {record.backend} {record.engine} {record.division}"
                echoes[record.key] = (name, record.samples[:3])
            yield record

    flat = frame.latest(frame.frame(heard(store.of(machine, keys))))
    if len(flat):
        console.print(tables.terminal(ranking.grouped(flat), console.width))
    for name, samples in echoes.values():
        if samples:
            say("", name, to=sys.stdout)
        for sample in samples:
            say(f"Expected: {sample.expected} Predicted: {sample.predicted}", to=sys.stdout)


def chosen_executor(selector: str, address: str | None, plugins: Plugins) -> Executor:
    """Return the executor that is asked for.

    Raises:
        UsageError: there is none of that name, it has no such parameter, or what it needs is
            not installed.
    """
    from pydantic import ValidationError

    from echobench.core.backend import why_missing
    from echobench.errors import UnknownNameError
    from echobench.trial.selectors import explained, parsed

    name, values = parsed("--executor", selector)
    kind = plugins.executor(name).value
    if address is not None:
        if "address" not in kind.model_fields:
            raise UsageError(f"--address: executor {name!r} is reached without one")
        values["address"] = address
    for key in values:
        if key not in kind.model_fields:
            raise UnknownNameError(f"parameter of executor {name!r}:", key, kind.model_fields)
    missing = why_missing(kind.requires, kind.extra)
    if missing is not None:
        raise UsageError(f"--executor {name}: {missing}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"--executor {selector}: {explained(error)}") from error


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
