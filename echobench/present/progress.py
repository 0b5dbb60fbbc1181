"""Progress while trials run: bars or learning curves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from echobench.harness.matrix import Watcher
from echobench.output import make_console
from echobench.present.terminal import line_of, side_by_side
from echobench.text import percent, plain, say
from echobench.trial.job import Look, Progress
from echobench.trial.record import Record
from echobench.trial.trial import FIRST_TUNING_SEED, Trial

WAITING = "waiting"
"""The bar's key, instead of a trial's, while other processes run the rest."""
BLOCKS = " ▁▂▃▄▅▆▇█"
HIGHEST, LOWEST = 8, 2
"""Lines of the curve."""
OTHER_LINES = 11
"""Lines of the picture beside the curve's."""
WIDE = 140
"""Columns from which on there is room for a bar beside name and state."""
BAR = 24
"""Columns of the bar."""
BESIDE = 12
"""Columns of a line without a bar beside name and state: a spinner, a time, three gaps."""
AXIS = 6
"""Columns left of the curve."""


@contextmanager
def watcher(total: int | None, *, curves: bool = False) -> Iterator[Watcher]:
    """Show `total` trials on stderr as they run, with `curves` and sample echoes if wanted.

    A search has no fixed number (None), and prints its own results.
    """
    console = make_console(stderr=True)
    if curves and total is not None:
        with _curves(console, total) as shown:
            yield shown
    elif console.is_interactive:
        with _bars(console, total) as shown:
            yield shown
    else:
        progressed = _waits_in_lines()
        yield Watcher(progressed=progressed) if total is None else _lines(total, progressed)


def result_message(record: Record) -> str:
    """Return a trial's result as a line, followed by the end of its log if it failed."""
    name = f"{record.task} {record.backend} {record.engine} {record.division} seed {record.seed}"
    # What was not measured is left out: replicates have no time of their own.
    seconds, epochs = record.time_to_target_s, record.epochs
    trained = "" if epochs is None else f" after {epochs:,} epochs"
    if record.status == "reached":
        spent = "" if seconds is None else f"{seconds:.3g} s of training, "
        trial, epochs = record.trial, record.epochs_to_target or epochs
        several = f"{trial.screen:,} test sequences" if trial.screen > 1 else "only test sequence"
        of = f" of its {several}" if trial.test_set else ""
        text = f"{name}: certified 100%{of} after {spent}{epochs:,} epochs"
    elif record.status == "missed" and record.accuracy is not None:
        text = f"{name}: missed, accuracy {percent(record.accuracy)}{trained}"
    else:
        text = f"{name}: {record.status}" + (f", {record.reason}" if record.reason else trained)
    if record.contradiction is not None:
        text += f"; it does not count, {record.contradiction}"
    if record.unchecked and record.seed < FIRST_TUNING_SEED:
        text += "; not compared with a reference"
    log = record.log_tail if record.status == "failed" else []
    return "\n".join([plain(text), *(f"      | {plain(line)}" for line in log)])


def _waiting_message(count: int) -> str:
    trials = "1 trial" if count == 1 else f"{count} trials"
    return f"waiting for {trials} that other processes run in this folder"


def _waits_in_lines() -> Callable[[Trial, Progress], None]:
    """Return a function that says once of each job that it waits."""
    phases: dict[str, str] = {}

    def progressed(trial: Trial, progress: Progress) -> None:
        if progress.waits and phases.get(trial.key) != progress.phase:
            say(f"    {plain(progress.phase)}")
        phases[trial.key] = progress.phase

    return progressed


def _lines(total: int, progressed: Callable[[Trial, Progress], None]) -> Watcher:
    def started(number: int, trials: Sequence[Trial]) -> None:
        say(f"[{number + 1}/{total}] {trials[0].name} ...")

    def finished(trial: Trial, record: Record) -> None:
        say(*f"    {result_message(record)}".split("\n"))

    def waiting(count: int) -> None:
        if count:
            say(_waiting_message(count))

    return Watcher(started, progressed, finished, waiting)


@contextmanager
def _bars(console: Console, total: int | None) -> Iterator[Watcher]:
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=_one_line()),
        BarColumn(bar_width=BAR),
        TextColumn("{task.fields[state]}", markup=False, table_column=_one_line()),
        TimeElapsedColumn(),
    ]
    beside = BESIDE + BAR + 1
    if console.width < WIDE:
        del columns[2]
        beside = BESIDE
    with Bars(*columns, console=console, transient=True) as bars:
        shown: dict[str, TaskID] = {}
        rooms: dict[str, int] = {}
        """Columns for the state of each trial shown."""

        def started(number: int, trials: Sequence[Trial]) -> None:
            trial = trials[0]
            counted = "" if total is None else f"[{number + 1}/{total}] "
            name = f"{trial.task} seed {trial.seed}" if total is None else trial.name
            rooms[trial.key] = console.width - cell_len(counted + name) - beside
            shown[trial.key] = bars.add_task(
                plain(counted + name), total=trial.max_epochs, state="starting"
            )

        def progressed(trial: Trial, progress: Progress) -> None:
            state = _state(trial, progress, rooms[trial.key])
            bars.update(shown[trial.key], completed=progress.epoch, state=state)

        def finished(trial: Trial, record: Record) -> None:
            if trial.key in shown:  # replicates share the bar of the first
                bars.remove_task(shown.pop(trial.key))
            if total is not None:
                _print_result(console, record)

        def waiting(count: int) -> None:
            if WAITING in shown:
                bars.remove_task(shown.pop(WAITING))
            if count:
                shown[WAITING] = bars.add_task(_waiting_message(count), total=None, state="")

        yield Watcher(started, progressed, finished, waiting)


def _one_line() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")


def _print_result(console: Console, record: Record) -> None:
    """Print a trial's result; what does not fit into the line is indented below it."""
    for line in result_message(record).split("\n"):
        console.print(Text("\n    ").join(Text(line).wrap(console, console.width - 4)))


def _state(trial: Trial, progress: Progress, room: int) -> str:
    """Return how far a trial is: as much as there is room for, the epoch first."""
    if progress.phase != "train":
        return plain(progress.phase)
    state = f"epoch {progress.epoch:,}/{trial.max_epochs:,}"
    more = [f", accuracy {percent(progress.accuracy)}"] if progress.accuracy else []
    if progress.seconds_per_epoch:
        more.append(f", {progress.seconds_per_epoch * 1e3:.2f} ms/epoch")
    for part in more:
        state += part if cell_len(state + part) <= room else ""
    return state


@dataclass
class Picture:
    """The running trial's learning curve and sample echoes."""

    name: str = ""
    phase: str = ""
    looks: list[tuple[int, Look]] = field(default_factory=list)
    """Evaluations so far, each with its epoch."""
    began: float = 0.0
    """On the monotonic clock."""

    def drawn(self, width: int, height: int) -> RenderableType:
        """Return the picture for a terminal of `width` columns and `height` lines."""
        spent = time.monotonic() - self.began
        head = line_of(f"{self.name}: {self.phase}, {spent:.0f} s", "bold")
        if not self.looks:
            return head
        lines = max(LOWEST, min(HIGHEST, height - OTHER_LINES))
        points = [(epoch, look.accuracy) for epoch, look in self.looks]
        epoch, last = self.looks[-1]
        figures = (
            f"accuracy {percent(last.accuracy)}, sequences all right "
            f"{percent(last.exact_match)}, loss {last.loss:.3g}; {last.updates:,} updates, "
            f"{epoch:,} epochs, {last.train_s:.3g} s of training"
        )
        echoes = side_by_side(last.samples, width)
        return Group(head, curve(points, width, lines), Text(figures), "", echoes)


def curve(points: Sequence[tuple[int, float]], width: int, height: int) -> Text:
    """Return ascending epochs from 1 on, each with its accuracy, as columns of blocks.

    The width includes the axis; the height is that of the lines above the epochs' axis.
    """
    columns, last = max(1, width - AXIS - 1), points[-1][0]
    eighths, passed, accuracy = [], 0, 0.0
    for column in range(1, columns + 1):
        while passed < len(points) and points[passed][0] * columns <= last * column:
            accuracy = points[passed][1]
            passed += 1
        # Rounded down: a full column means that nothing is wrong.
        eighths.append(int(accuracy * 8 * height))
    labels = {0: "100%", height - 1: "0%"}
    text = Text()
    for line in range(height):
        below = 8 * (height - 1 - line)
        text.append(f"{labels.get(line, ''):>{AXIS - 2}} │", style="dim")
        row = "".join(BLOCKS[max(0, min(8, eighth - below))] for eighth in eighths)
        text.append(row.rstrip() + "\n", style="cyan")
    text.append(" " * (AXIS - 1) + "└" + "─" * columns + "\n", style="dim")
    right = f"{last:,} epochs"
    text.append(" " * AXIS + "0" + f"{right:>{max(0, columns - 1)}}", style="dim")
    return text


@contextmanager
def _curves(console: Console, total: int) -> Iterator[Watcher]:
    """Show the running trial's picture; a finished trial's picture stays above."""
    picture = Picture()

    def started(number: int, trials: Sequence[Trial]) -> None:
        nonlocal picture
        name = f"[{number + 1}/{total}] {trials[0].name}"
        picture = Picture(name, "starting", began=time.monotonic())

    def progressed(trial: Trial, progress: Progress) -> None:
        if progress.begins_again:
            picture.looks = []
        if progress.look is not None:
            picture.looks.append((progress.epoch, progress.look))
        picture.phase = f"epoch {progress.epoch:,}" if progress.epoch else progress.phase

    def finished(trial: Trial, record: Record) -> None:
        picture.phase = record.status
        if picture.looks:
            console.print(picture.drawn(console.width, HIGHEST + OTHER_LINES), highlight=False)
            picture.looks = []  # of replicates only the first is watched
        _print_result(console, record)

    def waiting(count: int) -> None:
        nonlocal picture
        picture = Picture()
        if count:
            picture = Picture(_waiting_message(count), "still running", began=time.monotonic())

    def renderable() -> RenderableType:
        return picture.drawn(console.width, console.height)

    with Live(get_renderable=renderable, console=console, transient=True, refresh_per_second=8):
        yield Watcher(started, progressed, finished, waiting)
