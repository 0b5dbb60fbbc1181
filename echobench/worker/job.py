"""Read a job, run it, report its results."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from echobench.core.backend import Backend, hidden
from echobench.core.task import Task
from echobench.core.training import ONCE, Ledger
from echobench.errors import (
    TrainingError,
    UnavailableError,
)
from echobench.machine import stops
from echobench.machine.calibration import calibrate, limit_fraction
from echobench.plugin.manager import Plugins
from echobench.trial.cell import Cell
from echobench.trial.job import LEAVES, LONGEST_TURNS_S, Failure, Job, Progress, Report, Result
from echobench.trial.trial import Trial
from echobench.worker.reasons import failure_of

UNMEASURED = (
    "seconds_per_update", "seconds_per_update_quartiles", "sequences_per_s", "tokens_per_s",
)  # fmt: skip # in two lines it reads better
"""Figures that a smoke run does not have: it measures nothing."""
OPTIONAL = (
    "IPython",
    "cv2",
    "huggingface_hub",
    "jax",
    "matplotlib",
    "pandas",
    "pydot",
    "sklearn",
)
"""Modules that Keras imports wherever they are installed, on any backend. No trial uses them, and
they take a third of the import: a backend's time must not depend on what else is installed."""


def main(pipe: int, started: float, home: str) -> int:
    """Run the job that is the first line of standard input; return the exit code.

    Args:
        pipe: file descriptor that takes the events.
        started: when the parent started this process, on the monotonic clock.
        home: the worker's own folder, where the guard writes down when it was stopped.
    """
    os.set_inheritable(pipe, False)  # programs that a plugin starts do not hold it open
    with os.fdopen(pipe, "w", buffering=1) as events:
        job = Job.model_validate_json(_first_line())
        try:
            ledger = Ledger(started, partial(stops.read, home))
            for fields in _results(job, ledger, partial(_emit, events)):
                _emit(events, Result(fields=fields))
        except Exception as error:
            failure = failure_of(error, job.trial)
            _emit(events, failure)
            return int(failure.status == "failed")
    return 0


def _first_line() -> bytes:
    """Return the job, and leave an empty standard input: the guard's stays open."""
    line = sys.stdin.buffer.readline()
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return line


def _emit(events: IO[str], event: Progress | Result | Failure) -> None:
    # Without a look there is no `look` in the line: not a byte more than needed.
    unwatched = isinstance(event, Progress) and event.look is None
    events.write(event.model_dump_json(exclude={"look"} if unwatched else None) + "\n")


def _results(job: Job, ledger: Ledger, report: Report) -> Iterator[dict[str, Any]]:
    """Run a job; yield the fields of each result as soon as it is there."""
    trial = job.trial
    measures = job.kind == "train" and not job.smoke
    before = calibrate(trial.threads) if measures else None
    report(Progress(phase="import"))
    task, backend = _load(trial)
    with ledger.phase("import"), hidden(*_unused(backend)), uncollected():
        _import_framework(backend, trial)
    # Modules that import the framework are imported only now that it is configured.
    if job.probe is not None:
        from echobench.worker.probes import PROBES

        yield PROBES[job.probe](job, task, backend)
    elif job.inference is not None:
        from echobench.worker.prediction import predict

        yield predict(job.inference, trial, task, backend, ledger)
    elif job.heard is not None:
        from echobench.worker.prediction import echo_sample

        yield echo_sample(job.heard, task, backend)
    elif job.kind == "judge":
        from echobench.worker.judging import judge

        yield judge(job, task)
    elif job.kind == "reference":
        from echobench.worker.references import references

        yield from references(job, task, backend, ledger)
    elif job.kind == "rehearsal" and job.together:
        from echobench.worker.replicates import rehearse_together

        yield rehearse_together(job, task, backend)
    elif job.kind == "rehearsal":
        from echobench.worker.references import rehearse

        yield rehearse(job, task, backend, ledger)
    elif job.together:
        from echobench.worker.replicates import learn_together
        from echobench.worker.trial import interruptions

        results = learn_together(job, task, backend, ledger, report)
        calibration = {"before": before, "after": calibrate(trial.threads) if measures else None}
        for fields in results:
            fields["path"] = {**fields["path"], **interruptions(ledger)}
            yield {**fields, "calibration": calibration}
    else:
        yield from _in_turn(job, task, backend, ledger, before, report)


def _in_turn(
    job: Job,
    task: Task,
    backend: Backend,
    ledger: Ledger,
    before: dict[str, Any] | None,
    report: Report,
) -> Iterator[dict[str, Any]]:
    """Train one trial after the other, each with a ledger of its own, until the turns are long."""
    from echobench.worker.trial import NOT_IN_TURN, Turns, interruptions

    began, turns, cell = ledger.started, Turns(job, task, backend), Cell.of(job.trial)
    longest_s = LONGEST_TURNS_S if job.budget_s is None else min(LONGEST_TURNS_S, job.budget_s)
    for place, trial in enumerate(job.trials):
        if place:
            if time.monotonic() - began > longest_s:
                report(Progress(phase=LEAVES, place=place - 1))
                return
            ledger = Ledger(time.monotonic(), ledger.stops)
        try:
            if Cell.of(trial) != cell:
                turns = Turns(job, _load(trial)[0], backend)
                cell = Cell.of(trial)
            fields = turns.learn(trial, ledger, partial(_report_of, report, place))
        except Exception as error:
            is_lost = not isinstance(error, TrainingError)
            if len(job.trials) == 1 or (is_lost and not job.smoke):
                raise
            failure = failure_of(error, trial)
            yield {"status": failure.status, "reason": failure.reason}  # the others go on
            continue
        if place:  # a smoke run of another cell compiles too, which is no start of its process
            fields["other_s"] += sum(fields[f"{phase}_s"] or 0.0 for phase in ONCE)
            fields |= dict.fromkeys(NOT_IN_TURN)
        after = None if job.smoke else calibrate(trial.threads)
        calibration: dict[str, dict[str, Any] | None] = {"before": before, "after": after}
        if job.smoke:
            fields |= dict.fromkeys(UNMEASURED)
        fields["path"] |= interruptions(ledger)  # now: the guard may take a moment to tell
        fields["limit_fraction"] = limit_fraction(fields, trial.device, calibration)
        yield {**fields, "calibration": calibration}
        before = after


def _report_of(report: Report, place: int, progress: Progress) -> None:
    report(progress.model_copy(update={"place": place}))


def _load(trial: Trial) -> tuple[Task, Backend]:
    """Load the plugins that the trial names, and no other."""
    plugins = Plugins.named(trial.plugins)
    plugins.check_sources(trial)
    task = plugins.tasks[trial.task].value(**trial.parameters)
    return task, plugins.backends[trial.backend].value


def _unused(backend: Backend) -> set[str]:
    """Return the modules that Keras would import and this backend does not need."""
    if not backend.uses_keras:
        return set()
    return {*OPTIONAL} - {*backend.requires, backend.keras_backend}


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage in the block: imports leave none, and looking takes a fifth of them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _import_framework(backend: Backend, trial: Trial) -> None:
    backend.configure(trial.device, trial.threads)
    if trial.devices > 1:
        backend.distribute(trial.device, trial.devices)
    if backend.uses_keras:
        import keras

        if keras.backend.backend() != backend.keras_backend:
            raise TrainingError(
                f"expected Keras on {backend.keras_backend}; received {keras.backend.backend()}"
            )
    devices = backend.devices()
    if trial.device not in devices:
        raise UnavailableError(
            f"expected a {trial.device}; {backend.name} sees {', '.join(devices) or 'none'}"
        )
