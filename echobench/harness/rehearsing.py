"""Have a cell rehearse its recipe, squeezed into the parity gate's updates: once for each cell.

The gate's own updates are the first of a trial, all in its warm-up. A rehearsal shows the rest of
the schedule, and clipping. It is a program of its own, which takes as long to compile as the
trial's, so it runs in a worker of its own and is no part of its times: before the trial, so that
who interrupts it loses no training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from echobench.core.backend import Backend
from echobench.harness.validation import one_line
from echobench.trial.job import PARITY_TOLERANCE, Job, Progress, Report, squeezed
from echobench.trial.record import Parity, Record
from echobench.worker.parity import difference

LIMIT_S = 600.0
"""Seconds that a rehearsal may take, at least."""
Run = Callable[[Job, Backend, Path], list[dict[str, Any]]]
"""Runs a job's worker to its end; see `launch.work`."""


def rehearse(
    job: Job, backend: Backend, log: Path, run: Run, report: Report
) -> dict[str, Any] | None:
    """Return what the rehearsal of a job's cell finds: a `difference`, or the `reason` for none.

    None where it needs none, or there is nothing to compare it with.

    Args:
        job: the job, before its trials are trained.
        backend: the trials' backend.
        log: file for what the rehearsal prints.
        run: runs its worker.
        report: called with progress.
    """
    if job.rehearsal is None:
        return None
    if job.rehearsal.passed is not None:
        return {"difference": job.rehearsal.passed}
    if not job.rehearsal.losses:
        return None
    report(Progress(phase="rehearsal"))
    try:
        return _answer(job, backend, job.rehearsal.losses, log, run)
    except OSError:  # a full disk, say; the trial is trained all the same, and not done
        return None


def add(answer: dict[str, Any] | None, job: Job, records: Sequence[Record]) -> None:
    """Add to each record that has passed the gate what the rehearsal of its cell found."""
    for record in records:
        if record.parity is not None:  # a worker may claim what it likes
            record.parity.squeezed = record.parity.failure = None
    passed = [r.parity for r in records if r.parity is not None and r.parity.passed]
    for parity in passed if job.rehearsal is not None else ():
        if answer is None:
            parity.passed = None
        else:
            _judge(parity, answer)


def _answer(
    job: Job, backend: Backend, expected: list[float], log: Path, run: Run
) -> dict[str, Any]:
    """Return the largest `difference` of a loss, or the `reason` why there is none."""
    trial = job.trial.model_copy(
        update={
            "recipe": squeezed(job.trial.recipe),
            "seed": 0,
            "timeout_s": max(LIMIT_S, job.trial.timeout_s),
        }
    )
    asked = Job(kind="rehearsal", trials=[trial], cores=job.cores, memory_limit=job.memory_limit)
    (answer,) = run(asked, backend, log)
    losses = answer.get("losses")
    if not isinstance(losses, list) or len(losses) != len(expected):
        return {"reason": one_line(str(answer.get("reason", "no answer")))}
    if not all(isinstance(loss, float) and math.isfinite(loss) for loss in losses):
        return {"reason": "its losses are no finite numbers"}
    return {"difference": difference(losses, expected)}


def _judge(parity: Parity, answer: dict[str, Any]) -> None:
    found = answer.get("difference")
    parity.squeezed, parity.failure = found, answer.get("reason")
    parity.passed = found is not None and found <= PARITY_TOLERANCE
