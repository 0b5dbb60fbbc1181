"""The learning as it happens, drawn on a terminal: the accuracy's curve, and a sample echo."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from echobench.harness.matrix import Watcher
from echobench.present.echoes import aligned, compared, marks, shown
from echobench.present.progress import sentence, waits
from echobench.present.terminal import line_of
from echobench.trial.messages import Look, Progress
from echobench.trial.record import Record, Sample
from echobench.trial.trial import Trial

BLOCKS = " ▁▂▃▄▅▆▇█"
HIGHEST, LOWEST = 8, 2
"""Lines of the curve."""
OTHER_LINES = 11
"""That the rest of the picture takes."""
AXIS = 6
"""Columns left of the curve."""


@dataclass
class Picture:
    """What is known of the trial that runs now.

    Attributes:
        name: of the trial, and which of how many it is.
        phase: what its worker does.
        looks: its evaluations so far, each with its epoch.
        began: on the monotonic clock.
    """

    name: str = ""
    phase: str = ""
    looks: list[tuple[int, Look]] = field(default_factory=list)
    began: float = 0.0

    def drawn(self, width: int, height: int) -> RenderableType:
        """Return the picture for a terminal of so many columns and lines."""
        spent = time.monotonic() - self.began
        head = line_of(f"{self.name}: {self.phase}, {spent:.0f} s", "bold")
        if not self.looks:
            return head
        lines = max(LOWEST, min(HIGHEST, height - OTHER_LINES))
        points = [(epoch, look.accuracy) for epoch, look in self.looks]
        epoch, last = self.looks[-1]
        told = (
            f"accuracy {last.accuracy:.2%}, sequences all right {last.exact_match:.0%}, "
            f"loss {last.loss:.3g}; {last.updates:,} updates, {epoch:,} epochs, "
            f"{last.train_s:.3g} s of training"
        )
        return Group(head, curve(points, width, lines), Text(told), "", echo(last.samples, width))


def echo(samples: Sequence[Sample], width: int) -> Text:
    """Return as many samples as fit beside each other, one at least, their errors marked."""
    for count in range(len(samples), 0, -1):
        lines: dict[str, list[str | Text]] = {"expected": [], "predicted": [], "": []}
        for sample in samples[:count]:
            right = compared(sample.expected, sample.predicted)
            asked = [
                p if ok is not None else None for p, ok in zip(sample.predicted, right, strict=True)
            ]
            cells: list[list[str | Text]] = [
                [*map(shown, sample.expected)],
                [*map(shown, asked)],
                [*marks(right)],
            ]
            for line, more in zip(lines.values(), cells, strict=True):
                line += ["│", *more] if line else more
        text = aligned(lines, width)
        if text.plain.count("\n") <= len(lines):
            break
    return text


def curve(points: Sequence[tuple[int, float]], width: int, height: int) -> Text:
    """Return accuracies over epochs as columns of blocks.

    Args:
        points: epochs, 1 or more and rising, with the accuracy there, 0..1.
        width: columns, the axis included.
        height: lines, without the axis below.
    """
    columns, last = max(1, width - AXIS - 1), points[-1][0]
    eighths, place, now = [], 0, 0.0
    for column in range(1, columns + 1):
        while place < len(points) and points[place][0] * columns <= last * column:
            now = points[place][1]
            place += 1
        # Full only where nothing is wrong.
        eighths.append(int(now * 8 * height))
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
def watcher(total: int) -> Iterator[Watcher]:
    """Show `total` trials on a terminal as they learn; the picture of each stays there."""
    console = Console(stderr=True)
    now = Picture()

    def started(number: int, trial: Trial) -> None:
        nonlocal now
        name = f"[{number + 1}/{total}] {trial.name}"
        now = Picture(name, "starting", began=time.monotonic())

    def progressed(trial: Trial, progress: Progress) -> None:
        if progress.look is not None:
            now.looks.append((progress.epoch, progress.look))
        now.phase = f"epoch {progress.epoch:,}" if progress.epoch else progress.phase

    def finished(trial: Trial, record: Record) -> None:
        now.phase = record.status
        if now.looks:
            console.print(now.drawn(console.width, HIGHEST + OTHER_LINES), highlight=False)
            now.looks = []  # of replicates the first alone is watched
        console.print(Text(sentence(record)))

    def waiting(count: int) -> None:
        nonlocal now
        now = Picture(waits(count), "still running", began=time.monotonic()) if count else Picture()

    def picture() -> RenderableType:
        return now.drawn(console.width, console.height)

    with Live(get_renderable=picture, console=console, transient=True, refresh_per_second=8):
        yield Watcher(started, progressed, finished, waiting)
