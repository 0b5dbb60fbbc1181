"""The parent: environment, spawn, time limit, events. It imports no framework."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.core.task import Recipe
from echobench.harness import process, validation
from echobench.machine import facts, noise, privacy
from echobench.trial.messages import Failure, Job, Progress, Reference, Result
from echobench.trial.record import Record
from echobench.trial.trial import Trial

KEPT_VARIABLES = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR",
)  # fmt: skip # one line reads better
"""All that a worker inherits. Every `KERAS_*` of the user's, above all, is dropped."""


def run_trial(
    trial: Trial,
    backend: Backend,
    *,
    command: list[str],
    log: Path,
    about: dict[str, Any] | None = None,
    reference: Reference | None = None,
    save_model: Path | None = None,
    cache: Path | None = None,
    watch: bool = False,
    memory_limit: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Record:
    """Run one trial in a process of its own.

    Whatever happens to the process, a record comes back: with the status
    `unavailable` or `unsupported` where the backend cannot be used or cannot
    train, `timeout` or `failed` where the worker did not finish, and its log's
    last lines.

    Args:
        trial: what to run.
        backend: the trial's backend.
        command: echobench's own command line, for the record.
        log: file that takes what the worker prints.
        about: what else the record's provenance is to hold.
        reference: first losses for the parity gate.
        save_model: where to save the trained network, if anywhere.
        cache: folder of compiled programs, where the trial may use one.
        watch: whether the worker tells of each evaluation.
        memory_limit: bytes that the worker and what it starts may hold; None for all there are.
        progress: called with the worker's progress.
    """
    job = Job(
        kind="trial",
        trial=trial,
        reference=reference,
        watch=watch,
        save_model=None if save_model is None else str(save_model.resolve()),
    )
    found = _files(cache)
    came = run_job(
        job,
        backend,
        command=command,
        log=log,
        cache=cache,
        memory_limit=memory_limit,
        progress=progress,
    )
    if cache is not None:
        came["provenance"]["cache"] = {"found": found, "added": _files(cache) - found}
    came["provenance"].update(about or {})
    return validation.record(trial, came)


def run_replicates(
    trials: list[Trial],
    backend: Backend,
    *,
    command: list[str],
    log: Path,
    about: dict[str, Any] | None = None,
    reference: Reference | None = None,
    watch: bool = False,
    memory_limit: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[Record]:
    """Run trials that differ in their seeds alone in one process; see `run_trial`.

    Whatever happens to the process, a record comes back for each.
    """
    seeds = [trial.seed for trial in trials]
    job = Job(kind="trial", trial=trials[0], seeds=seeds, reference=reference, watch=watch)
    came = run_job(
        job, backend, command=command, log=log, memory_limit=memory_limit, progress=progress
    )
    came["provenance"].update(about or {})
    return validation.records(trials, came)


def run_job(
    job: Job,
    backend: Backend,
    *,
    command: list[str],
    log: Path,
    cache: Path | None = None,
    memory_limit: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Run a job in a process of its own; return what came of it, and how: fields of a record.

    Whatever happens to the process, there are fields: see `run_trial`.
    """
    provenance: dict[str, Any] = {
        "command": [*map(privacy.without_places, command)],
        "machine": facts.facts(),
        "git": facts.git_state(),
    }
    base: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "provenance": provenance,
    }
    predicting = job.kind in {"predict", "echo"}
    impossible = backend.why_no_prediction() if predicting else backend.why_no_training()
    if impossible is not None:
        return {**base, "status": "unsupported", "reason": impossible}
    missing = backend.why_unavailable()
    if missing is not None:
        return {**base, "status": "unavailable", "reason": missing}
    provenance["load_before"] = os.getloadavg()[0]
    steal = noise.Steal()
    if memory_limit is not None:
        provenance["memory_limit_bytes"] = memory_limit
    began = time.monotonic()
    fields = _run_worker(job, backend, log, progress, cache, memory_limit)
    lived_s = time.monotonic() - began
    provenance["steal_fraction"] = steal.fraction()
    provenance["load_after"] = os.getloadavg()[0]
    provenance["versions"] = job.trial.versions
    fields, measured = validation.claimed(fields, lived_s)
    provenance.update(measured)
    return {**base, **fields}


def run_reference(trial: Trial, backend: Backend, log: Path) -> Reference | None:
    """Compute the first losses of the tutorial's program on the reference backend.

    Returns None, with the reason in the log, where that could not be done.
    """
    fields = _run_worker(Job(kind="reference", trial=trial), backend, log, lambda _: None)
    with contextlib.suppress(ValidationError):
        return Reference(name=f"{backend.name} {trial.engine}", losses=fields.get("losses", ()))
    return None


def run_probe(
    probe: str, trial: Trial, recipes: dict[str, Recipe], backend: Backend, log: Path
) -> dict[str, Any]:
    """Run a check of the conformance kit; return what it found.

    Returns `status`, `reason` and `log_tail` where it did not come to its end.

    Args:
        probe: a name in `echobench.worker.probes.PROBES`.
        trial: task and backend, and the recipe it is about.
        recipes: by division, for a probe of several.
        backend: the trial's backend.
        log: file that takes what the worker prints.
    """
    job = Job(kind="probe", trial=trial, probe=probe, recipes=recipes)
    return _run_worker(job, backend, log, lambda _: None)


def environment(
    backend: Backend, trial: Trial, home: str, cache: Path | None = None
) -> dict[str, str]:
    """Return the worker's environment, built from an allow-list.

    Args:
        backend: the worker's.
        trial: what it runs.
        home: a folder of its own, for what frameworks write.
        cache: folder of compiled programs, where it may use one.
    """
    threads = str(trial.threads)
    return {
        **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
        "KERAS_BACKEND": backend.keras_backend,
        "KERAS_HOME": home,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        # What it leaves behind goes with its folder; its children are known by this, too.
        "TMPDIR": home,
        # Nothing compiled is kept between trials: compile time is measured cold.
        "TORCHINDUCTOR_CACHE_DIR": f"{home}/inductor",
        **backend.environment(trial.device, trial.threads),
        **({} if cache is None else backend.cache_environment(str(cache.resolve()))),
    }


def _run_worker(
    job: Job,
    backend: Backend,
    log: Path,
    progress: Callable[[Progress], None],
    cache: Path | None = None,
    memory_limit: int | None = None,
) -> dict[str, Any]:
    """Run a worker to its end and return the record's fields it gave, or that it failed with."""
    ending = process.run(
        job.model_dump_json().encode(),
        lambda home: environment(backend, job.trial, home, cache),
        log,
        job.trial.timeout_s,
        memory_limit=memory_limit,
        progress=progress,
    )
    tail = ending.log_tail
    match ending.answers:
        case [Result() as result]:
            # It has what was asked for: what happens later does not take it back, but is told.
            how = ending.killed[1] if ending.killed else ending.death
            return {**result.fields, **({validation.LATER: how} if ending.code else {})}
        case [Failure() as failure]:
            reason = validation.one_line(failure.reason)
            return {"status": failure.status, "reason": reason, "log_tail": tail}
        case [_, _, *_]:
            reason = "the worker told more than one result"
            return {"status": "failed", "reason": reason, "log_tail": tail}
    death = ending.death if ending.code < 0 else f"{ending.death} and no result"
    status, reason = ending.killed or ("failed", death)
    if ending.dropped:
        reason += f"; {ending.dropped} lines that it told were too long"
    return {"status": status, "reason": reason, "log_tail": tail}


def kill_children(parent: int) -> None:
    """End all that a process started and that still has it for an ancestor."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _files(folder: Path | None) -> int:
    return 0 if folder is None else sum(path.is_file() for path in folder.rglob("*"))
