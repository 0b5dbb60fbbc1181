"""What a person sees while trials run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from echobench.harness.matrix import Watcher
from echobench.text import plain, say
from echobench.trial import messages
from echobench.trial.record import Record
from echobench.trial.trial import Trial

WAITING = "waiting"
"""In place of a trial's key: what other processes run is waited for."""


@contextmanager
def watcher(total: int) -> Iterator[Watcher]:
    """Show `total` trials on stderr as they run."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bars(console, total) as shown:
            yield shown
    else:
        yield _lines(total)


@contextmanager
def search_watcher() -> Iterator[Watcher]:
    """Show the trial of a search that runs now, on a terminal; who searches tells the rest."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Watcher()
        return
    with _bars(console, None) as shown:
        yield shown


@contextmanager
def _bars(console: Console, total: int | None) -> Iterator[Watcher]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def started(number: int, trial: Trial) -> None:
            counted = "" if total is None else f"[{number + 1}/{total}] "
            name = f"{trial.task} seed {trial.seed}" if total is None else trial.name
            bars[trial.key] = progress.add_task(
                plain(counted + name), total=trial.max_epochs, state="starting"
            )

        def progressed(trial: Trial, now: messages.Progress) -> None:
            progress.update(bars[trial.key], completed=now.epoch, state=_state(trial, now))

        def finished(trial: Trial, record: Record) -> None:
            if trial.key in bars:  # of replicates the first stands for all
                progress.remove_task(bars.pop(trial.key))
            if total is not None:
                console.print(Text(sentence(record)))

        def waiting(count: int) -> None:
            if WAITING in bars:
                progress.remove_task(bars.pop(WAITING))
            if count:
                bars[WAITING] = progress.add_task(waits(count), total=None, state="")

        yield Watcher(started, progressed, finished, waiting)


def _lines(total: int) -> Watcher:
    def started(number: int, trial: Trial) -> None:
        say(f"[{number + 1}/{total}] {trial.name} ...")

    def finished(trial: Trial, record: Record) -> None:
        say(*f"    {sentence(record)}".split("\n"))

    def waiting(count: int) -> None:
        if count:
            say(waits(count))

    return Watcher(started=started, finished=finished, waiting=waiting)


def waits(count: int) -> str:
    """Say that nothing is left but what other processes run; nothing where that is over."""
    if not count:
        return ""
    trials = "1 trial" if count == 1 else f"{count} trials"
    return f"waiting for {trials} that other processes run in this folder"


def _state(trial: Trial, now: messages.Progress) -> str:
    if now.phase != "train":
        return plain(now.phase)
    state = f"epoch {now.epoch:,}/{trial.max_epochs:,}"
    if now.accuracy:
        state += f", accuracy {now.accuracy:.2%}"
    if now.seconds_per_epoch:
        state += f", {now.seconds_per_epoch * 1e3:.2f} ms/epoch"
    return state


def sentence(record: Record) -> str:
    """Say what came of a trial: one line, and below it the log's last ones where it failed."""
    name = f"{record.task} {record.backend} {record.engine} {record.division} seed {record.seed}"
    if record.status == "reached" and record.time_to_target_s is not None:
        text = (
            f"{name}: certified 100% after {record.time_to_target_s:.3g} s of training, "
            f"{record.epochs_to_target:,} epochs"
        )
    elif record.status == "missed":
        text = f"{name}: missed, accuracy {record.accuracy:.4%} after {record.epochs:,} epochs"
    else:
        text = f"{name}: {record.status}, {record.reason}"
    if record.parity is not None and record.parity.passed is False:
        text += f"; parity gate failed ({record.parity.largest_difference:.1e})"
    if record.status == "failed" and record.log_tail:
        return "\n".join([plain(text), *(f"      | {plain(line)}" for line in record.log_tail)])
    return plain(text)
