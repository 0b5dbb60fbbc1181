"""Progress while trials run: bars or learning curves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from echobench.harness.forecast import Forecast
from echobench.harness.matrix import Watcher
from echobench.output import make_console
from echobench.present.terminal import line_of, side_by_side
from echobench.text import counted, duration, percent, plain, say
from echobench.trial.job import Look, Progress
from echobench.trial.record import Record
from echobench.trial.trial import FIRST_TUNING_SEED, Trial

WAITING = "waiting"
"""The bar's key, instead of a trial's, while other processes run the rest."""
BLOCKS = " ▁▂▃▄▅▆▇█"
HIGHEST, LOWEST = 8, 2
"""Lines of the curve."""
OTHER_LINES = 12
"""Lines of the picture beside the curve's."""
WIDE = 100
"""Columns from which on there is room for a bar beside a name."""
BAR = 24
"""Columns of the bar."""
BESIDE = 12
"""Columns beside a name: a spinner, a time, gaps."""
INDENT = "  "
"""Before what a trial does, below its name."""
LINES_S = 60.0
"""Least seconds between two plain lines about the whole."""
PHASES = {
    "import": "importing the framework",
    "build": "building the network",
    "compile": "compiling",
    "reference": "checking against the tutorial's program",
    "rehearsal": "rehearsing the schedule",
    "judge": "judging the certificate",
}
"""What a job does, in a user's words, by the phase of its progress."""
OF_A_JOB = frozenset({"reference", "rehearsal", "judge"})
"""Phases that are none of a single trial, but of all that share a process."""
AXIS = 6
"""Columns left of the curve."""


@contextmanager
def watcher(forecast: Forecast | None, *, curves: bool = False) -> Iterator[Watcher]:
    """Show trials on stderr as they run, with `curves` and sample echoes if wanted.

    A search has no fixed number of trials, and so no forecast (None); it prints its own results.
    """
    console = make_console(stderr=True)
    if curves and forecast is not None:
        with _curves(console, forecast) as shown:
            yield shown
    elif console.is_interactive:
        with _bars(console, forecast) as shown:
            yield shown
    else:
        yield _lines(forecast)


def phase_text(phase: str) -> str:
    """Return what a job does, in a user's words."""
    return PHASES.get(phase, plain(phase))


def whole_text(forecast: Forecast) -> str:
    """Return how much of a plan is done, and how long the rest takes as far as that is known."""
    trials = "trial" if forecast.total == 1 else "trials"
    left_s, about = forecast.left_s(), "about" if forecast.is_known else "more than"
    left = f", {about} {duration(left_s)} left" if left_s else ""
    return f"{forecast.done}/{forecast.total} {trials}{left}"


def result_message(record: Record) -> str:
    """Return a trial's result as a line, followed by the end of its log if it failed."""
    name = f"{record.task} {record.backend} {record.engine} {record.division} seed {record.seed}"
    # What was not measured is left out: replicates have no time of their own.
    seconds, epochs = record.time_to_target_s, record.epochs
    trained = "" if epochs is None else f" after {epochs:,} epochs"
    contradiction = record.contradiction
    if record.trial.quick and contradiction is not None:
        return plain(f"{name}: failed, {contradiction}")
    if record.trial.quick and record.status in ("reached", "missed"):
        text = f"{name}: ran {counted(epochs or 0, 'epoch')}"
    elif record.status == "reached":
        spent = "" if seconds is None else f"{seconds:.3g} s of training, "
        trial, epochs = record.trial, record.epochs_to_target or epochs
        several = f"{trial.screen:,} test sequences" if trial.screen > 1 else "only test sequence"
        of = f" of its {several}" if trial.test_set else ""
        text = f"{name}: certified 100%{of} after {spent}{epochs:,} epochs"
    elif record.status == "missed" and record.accuracy is not None:
        text = f"{name}: missed, accuracy {percent(record.accuracy)}{trained}"
    else:
        text = f"{name}: {record.status}" + (f", {record.reason}" if record.reason else trained)
    if contradiction is not None:
        text += f"; it does not count, {contradiction}"
    if record.unchecked and record.seed < FIRST_TUNING_SEED:
        text += "; not compared with a reference"
    log = record.log_tail if record.status == "failed" else []
    return "\n".join([plain(text), *(f"      | {plain(line)}" for line in log)])


class _Names:
    """What the display calls trials, and the jobs that they are part of.

    Args:
        total: how many trials the plan has; None for a search, which has no fixed number.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._trials: dict[str, str] = {}
        self._jobs: dict[str, str] = {}

    def start(self, number: int, trials: Sequence[Trial]) -> str:
        """Take the trials of a job, the first with its number in the plan; return its name."""
        for place, trial in enumerate(trials, start=number + 1):
            name = f"{trial.task} seed {trial.seed}"
            if self._total is not None:
                name = f"[{place}/{self._total}] {trial.name}"
            self._trials[trial.key] = plain(name)
        job = self._trials[trials[0].key]
        if len(trials) > 1:
            job = plain(f"{trials[0].name} and {len(trials) - 1} more")
            if self._total is not None:
                job = f"[{number + 1}-{number + len(trials)}/{self._total}] {job}"
        self._jobs.update({trial.key: job for trial in trials})
        return job

    def of(self, trial: Trial, progress: Progress | None = None) -> str:
        """Return the name of a trial, or of its job where that is in a phase as a whole."""
        whole = progress is not None and (progress.waits or progress.phase in OF_A_JOB)
        names = self._jobs if whole else self._trials
        return names.get(trial.key, plain(trial.name))


def _waiting_message(count: int) -> str:
    return f"waiting for {counted(count, 'trial')} that other processes run in this folder"


def _lines(forecast: Forecast | None) -> Watcher:
    names = _Names(None if forecast is None else forecast.total)
    phases: dict[str, str] = {}

    def progressed(trial: Trial, progress: Progress) -> None:
        if progress.waits and phases.get(trial.key) != progress.phase:
            say(f"    {names.of(trial, progress)}: {progress.phase}")
        phases[trial.key] = progress.phase

    if forecast is None:
        return Watcher(progressed=progressed)
    total, said = forecast.total, forecast.clock()

    def started(number: int, trials: Sequence[Trial]) -> None:
        say(f"{names.start(number, trials)} ...")

    def progressing(trial: Trial, progress: Progress) -> None:
        forecast.progress(trial, progress)
        progressed(trial, progress)

    def finished(trial: Trial, record: Record) -> None:
        nonlocal said
        forecast.finish(record)
        say(*f"    {result_message(record)}".split("\n"))
        if forecast.clock() - said >= LINES_S and forecast.done < total:
            said = forecast.clock()
            say(whole_text(forecast))

    def waiting(count: int) -> None:
        if count:
            say(_waiting_message(count))

    return Watcher(started, progressing, finished, waiting)


@contextmanager
def _bars(console: Console, forecast: Forecast | None) -> Iterator[Watcher]:
    columns = [
        SpinnerColumn(),
        # Nothing is cut off: what is too long is continued below.
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
        BarColumn(bar_width=BAR),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
    ]
    if console.width < WIDE:
        del columns[2]
    with Bars(*columns, console=console, transient=True) as bars:
        shown: dict[str, TaskID] = {}
        """The bars of trials in their processes; those of a process share one."""
        names = _Names(None if forecast is None else forecast.total)
        whole = None
        if forecast is not None:
            whole = bars.add_task(whole_text(forecast), total=forecast.total)

        def show_whole() -> None:
            if forecast is not None and whole is not None:
                bars.update(whole, description=whole_text(forecast), completed=forecast.done)

        def remove_bar(trial: Trial) -> None:
            if (bar := shown.get(trial.key)) is None:
                return
            bars.remove_task(bar)
            for key in [key for key, shared in shown.items() if shared == bar]:
                del shown[key]

        def started(number: int, trials: Sequence[Trial]) -> None:
            for trial in trials:  # a process that ended without a record has left them
                remove_bar(trial)
            bar = bars.add_task("", total=trials[0].max_epochs)
            shown.update({trial.key: bar for trial in trials})
            names.start(number, trials)
            bars.update(bar, description=f"{names.of(trials[0])}\n{INDENT}starting")

        def progressed(trial: Trial, progress: Progress) -> None:
            if trial.key not in shown:
                return  # a late message of a process that has ended
            state = _state(trial, progress, console.width - BESIDE - len(INDENT))
            name = names.of(trial, progress)
            description = f"{name}\n{INDENT}{state}"
            bars.update(shown[trial.key], completed=progress.epoch, description=description)
            if forecast is not None:
                forecast.progress(trial, progress)
            show_whole()

        def finished(trial: Trial, record: Record) -> None:
            remove_bar(trial)  # its process has ended; the rest of the job is another's
            if forecast is not None:
                forecast.finish(record)
                _print_result(console, record)
            show_whole()

        def waiting(count: int) -> None:
            if WAITING in shown:
                bars.remove_task(shown.pop(WAITING))
            if count:
                shown[WAITING] = bars.add_task(_waiting_message(count), total=None)

        yield Watcher(started, progressed, finished, waiting)


def _print_result(console: Console, record: Record) -> None:
    """Print a trial's result; what does not fit into the line is indented below it."""
    for line in result_message(record).split("\n"):
        console.print(Text("\n    ").join(Text(line).wrap(console, console.width - 4)))


def _state(trial: Trial, progress: Progress, room: int) -> str:
    """Return how far a trial is: as much as there is room for, the epoch first."""
    if progress.phase != "train":
        return phase_text(progress.phase)
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
    whole: str = ""
    """How much of the plan is done."""
    looks: list[tuple[int, Look]] = field(default_factory=list)
    """Evaluations so far, each with its epoch."""
    began: float = 0.0
    """On the monotonic clock."""

    def drawn(self, width: int, height: int) -> RenderableType:
        """Return the picture for a terminal of `width` columns and `height` lines."""
        spent = time.monotonic() - self.began
        head = Group(
            *([line_of(self.whole)] if self.whole else []),
            line_of(f"{self.name}: {self.phase}, {spent:.0f} s", "bold"),
        )
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
def _curves(console: Console, forecast: Forecast) -> Iterator[Watcher]:
    """Show the running trial's picture; a finished trial's picture stays above."""
    picture = Picture()
    names = _Names(forecast.total)

    def started(number: int, trials: Sequence[Trial]) -> None:
        nonlocal picture
        names.start(number, trials)
        picture = begun(names.of(trials[0]))

    def begun(name: str) -> Picture:
        return Picture(name, "starting", whole_text(forecast), began=time.monotonic())

    def progressed(trial: Trial, progress: Progress) -> None:
        nonlocal picture
        forecast.progress(trial, progress)
        name = names.of(trial, progress)
        if name != picture.name:  # the next in turn, or the job
            leave_picture()
            picture = begun(name)
        if progress.begins_again:
            picture.looks = []
        if progress.look is not None:
            picture.looks.append((progress.epoch, progress.look))
        epoch = f"epoch {progress.epoch:,}" if progress.epoch else phase_text(progress.phase)
        picture.phase, picture.whole = epoch, whole_text(forecast)

    def leave_picture() -> None:
        if picture.looks:
            console.print(picture.drawn(console.width, HIGHEST + OTHER_LINES), highlight=False)
            picture.looks = []  # of replicates only the first is watched

    def finished(trial: Trial, record: Record) -> None:
        forecast.finish(record)
        picture.phase, picture.whole = record.status, ""
        leave_picture()
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
