"""TensorBoard: every trial as a run, live.

`echobench run --observe tensorboard`, then `tensorboard --logdir results/tensorboard`.
While a trial runs, its accuracy and speed are written; at its end the learning curve and
the results.
"""

from __future__ import annotations

import glob
import socket
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
        self._writer: Any = None

    def trial_started(self, trial: Trial, results: Path) -> None:
        from tensorboardX import SummaryWriter

        self._close()
        folder = results / "tensorboard" / f"{file_name(trial.name)}-{trial.key}"
        self._writer = SummaryWriter(str(folder))
        # tensorboardX puts the host's name into the file's, and results name no host.
        host = f".{socket.gethostname()}"
        for file in folder.glob(f"events.out.tfevents.*{glob.escape(host)}"):
            file.rename(file.with_name(file.name.removesuffix(host)))
        recipe = "\n".join(f"{k} = {v}" for k, v in trial.recipe.model_dump().items())
        self._writer.add_text("recipe", _literal(recipe))

    def trial_progressed(self, trial: Trial, progress: Progress) -> None:
        for name in ("accuracy", "seconds_per_epoch"):
            value = getattr(progress, name)
            if value is not None:
                self._writer.add_scalar(f"live/{name}", value, progress.epoch)

    def trial_finished(self, trial: Trial, record: Record) -> None:
        for point in record.evaluations:
            for name in ("loss", "accuracy", "exact_match"):
                self._writer.add_scalar(f"evaluation/{name}", getattr(point, name), point.epoch)
        for name in RESULTS:
            value = getattr(record, name)
            if value is not None:
                self._writer.add_scalar(f"result/{name}", value, record.epochs)
        status = f"{record.status} {record.reason or ''}".strip()
        self._writer.add_text("status", _literal(status))
        self._close()

    def _close(self) -> None:
        """Close the open run; an interrupted trial's is closed when the next trial starts."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _literal(text: str) -> str:
    """Return text as a Markdown code block: TensorBoard renders all text as Markdown."""
    return "\n".join(f"    {plain(line)}" for line in text.split("\n"))


@hookimpl
def echobench_observers() -> list[Observer]:
    return [TensorBoard()]
