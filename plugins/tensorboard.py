"""TensorBoard: every trial as a run, live.

`echobench run --observe tensorboard`, then `tensorboard --logdir results/tensorboard`.
While a trial runs, its accuracy and speed are written; at its end the learning curve and
the results. A trial that runs again has a further run: `NAME-2`, `NAME-3`.
"""

from __future__ import annotations

import functools
import glob
import itertools
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echobench import Observer, Progress, Record, Trial, file_name, hookimpl, plain

RESULTS = ("time_to_target_s", "updates_to_target", "seconds_per_update", "accuracy", "exact_match")


class TensorBoard(Observer):
    """Write a TensorBoard run for each trial into the results folder."""

    name = "tensorboard"
    requires = ("tensorboardX",)
    extra = "tensorboard"

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def trial_started(self, trial: Trial, results: Path) -> None:
        self._stop(trial.key, "it began again: see the next run")
        self._runs[trial.key] = _Run(trial, results / "tensorboard")

    def trial_progressed(self, trial: Trial, progress: Progress) -> None:
        for name in ("accuracy", "seconds_per_epoch"):
            value = getattr(progress, name)
            self._runs[trial.key].add(f"live/{name}", value, progress.epoch)

    def trial_finished(self, trial: Trial, record: Record) -> None:
        run = self._runs.pop(trial.key)
        for point in record.evaluations:
            for name in ("loss", "accuracy", "exact_match"):
                run.add(f"evaluation/{name}", getattr(point, name), point.epoch)
        for name in RESULTS:
            run.add(f"result/{name}", getattr(record, name), record.epochs)
        run.end(f"{record.status} {record.reason or ''}".strip())

    def run_ended(self) -> None:
        for key in list(self._runs):
            self._stop(key, "interrupted")

    def _stop(self, key: str, status: str) -> None:
        """End a trial's run, if it has begun; without a value it has none."""
        run = self._runs.pop(key, None)
        if run is not None and "writer" in vars(run):
            run.end(status)


@dataclass
class _Run:
    """A run of TensorBoard, written from its first value on: a trial may wait for long."""

    trial: Trial
    parent: Path

    @functools.cached_property
    def writer(self) -> Any:
        from tensorboardX import SummaryWriter

        folder = _new_folder(self.parent, f"{file_name(self.trial.name)}-{self.trial.key}")
        writer = SummaryWriter(str(folder))
        # tensorboardX puts the host's name into the file's, and results name no host.
        host = f".{socket.gethostname()}"
        for file in folder.glob(f"events.out.tfevents.*{glob.escape(host)}"):
            file.rename(file.with_name(file.name.removesuffix(host)))
        recipe = "\n".join(f"{k} = {v}" for k, v in self.trial.recipe.model_dump().items())
        writer.add_text("recipe", _literal(recipe))
        return writer

    def add(self, name: str, value: float | None, epoch: int | None) -> None:
        """Write a value, unless there is none: a loss that is not finite, say."""
        if value is not None:
            self.writer.add_scalar(name, value, epoch)

    def end(self, status: str) -> None:
        """Write the status, and close the run's file."""
        self.writer.add_text("status", _literal(status))
        self.writer.close()


def _new_folder(parent: Path, name: str) -> Path:
    """Make a folder of its own for a run: TensorBoard joins all files of one into one curve."""
    folder, numbers = parent / name, itertools.count(2)
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            folder = parent / f"{name}-{next(numbers)}"
        else:
            return folder


def _literal(text: str) -> str:
    """Return text as a Markdown code block: TensorBoard renders all text as Markdown."""
    return "\n".join(f"    {plain(line)}" for line in text.split("\n"))


@hookimpl
def echobench_observers() -> list[Observer]:
    return [TensorBoard()]
