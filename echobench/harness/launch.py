"""The parent: environment, spawn, time limit, events. It imports no framework."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.core.task import Recipe
from echobench.harness import machine, noise, privacy
from echobench.harness.plan import Trial
from echobench.harness.protocol import EVENT, Failure, Job, Progress, Reference, Result
from echobench.results.record import Record

GRACE_S = 10.0
"""Seconds past its limit after which a worker that has not stopped itself is killed."""
LOG_TAIL = 20
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
    came = run_job(job, backend, command=command, log=log, cache=cache, progress=progress)
    if cache is not None:
        came["provenance"]["cache"] = {"found": found, "added": _files(cache) - found}
    came["provenance"].update(about or {})
    return _record(trial, came)


def run_replicates(
    trials: list[Trial],
    backend: Backend,
    *,
    command: list[str],
    log: Path,
    about: dict[str, Any] | None = None,
    reference: Reference | None = None,
    watch: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[Record]:
    """Run trials that differ in their seeds alone in one process; see `run_trial`.

    Whatever happens to the process, a record comes back for each.
    """
    seeds = [trial.seed for trial in trials]
    job = Job(kind="trial", trial=trials[0], seeds=seeds, reference=reference, watch=watch)
    came = run_job(job, backend, command=command, log=log, progress=progress)
    came["provenance"].update(about or {})
    path = came["provenance"].get("path")
    each = came.pop("replicates", None) or [{}] * len(trials)
    records = []
    for trial, fields in zip(trials, each, strict=True):
        provenance = {**came["provenance"], "path": fields.pop("path", path)}
        records.append(_record(trial, {**came, **fields, "provenance": provenance}))
    return records


def _record(trial: Trial, came: dict[str, Any]) -> Record:
    """Return the record of what came of a trial."""
    told: dict[str, Any] = {
        "task": trial.label,
        "key": trial.key,
        "trial": {
            **trial.model_dump(mode="json"),
            "plugins": [*map(privacy.without_folder, trial.plugins)],
        },
        **trial.model_dump(include={"backend", "engine", "division", "device", "seed"}),
    }
    told["disturbances"] = noise.disturbances(came["provenance"])
    try:
        return Record(**told, **came)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        reason = f"the worker's result is no record ({where}: {problem['msg']})"
        kept = {name: came[name] for name in ("started_at", "provenance")}
        return Record(**told, **kept, status="failed", reason=reason)


def run_job(
    job: Job,
    backend: Backend,
    *,
    command: list[str],
    log: Path,
    cache: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Run a job in a process of its own; return what came of it, and how: fields of a record.

    Whatever happens to the process, there are fields: see `run_trial`.
    """
    provenance: dict[str, Any] = {
        "command": [*map(privacy.without_places, command)],
        "machine": machine.facts(),
        "git": machine.git_state(),
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
    fields = _run_worker(job, backend, log, progress, cache)
    provenance["steal_fraction"] = steal.fraction()
    provenance["load_after"] = os.getloadavg()[0]
    provenance["calibration"] = fields.pop("calibration", {})
    provenance["versions"] = job.trial.versions
    provenance["path"] = fields.pop("path", {})
    return {**base, **fields}


def run_reference(trial: Trial, backend: Backend, log: Path) -> Reference | None:
    """Compute the first losses of the tutorial's program on the reference backend.

    Returns None, with the reason in the log, where that could not be done.
    """
    fields = _run_worker(Job(kind="reference", trial=trial), backend, log, lambda _: None)
    if "losses" not in fields:
        return None
    return Reference(name=f"{backend.name} {trial.engine}", losses=fields["losses"])


def run_probe(
    probe: str, trial: Trial, recipes: dict[str, Recipe], backend: Backend, log: Path
) -> dict[str, Any]:
    """Run a check of the conformance kit; return what it found.

    Returns `status`, `reason` and `log_tail` where it did not come to its end.

    Args:
        probe: a name in `echobench.testing.probes.PROBES`.
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
) -> dict[str, Any]:
    """Run a worker to its end and return the record's fields it gave, or that it failed with."""
    log.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + job.trial.timeout_s + GRACE_S
    with tempfile.TemporaryDirectory(prefix="echobench-") as home, log.open("wb") as output:
        receiving, sending = os.pipe()
        worker = subprocess.Popen(
            [sys.executable, "-m", "echobench.worker", str(sending), repr(time.monotonic())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(backend, job.trial, home, cache),
            pass_fds=[sending],
            start_new_session=True,
        )
        os.close(sending)
        last: Result | Failure | None = None
        try:
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it died; the wait below says how
                worker.stdin.write(job.model_dump_json().encode())
                worker.stdin.close()
            for event in _events(receiving, deadline):
                if isinstance(event, Progress):
                    progress(event)
                else:
                    last = event
            in_time = time.monotonic() < deadline
            if in_time:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(GRACE_S)
        finally:
            _kill_tree(worker)
            os.close(receiving)
    privacy.scrub(log)
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
    if isinstance(last, Result):
        return last.fields
    if isinstance(last, Failure):
        reason = privacy.without_places(last.reason)
        return {"status": last.status, "reason": reason, "log_tail": tail}
    if not in_time:
        reason = f"killed: still running {GRACE_S:g} s past its limit of {job.trial.timeout_s:g} s"
        return {"status": "timeout", "reason": reason, "log_tail": tail}
    return {"status": "failed", "reason": _death(worker.returncode), "log_tail": tail}


def _events(pipe: int, deadline: float) -> Iterator[Progress | Result | Failure]:
    """Yield the worker's events until it closes the pipe or the deadline has passed."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                return
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                # A line that is no event is a plugin's garbage: not ours to trust.
                with contextlib.suppress(ValidationError):
                    yield EVENT.validate_json(line)


def kill_children(parent: int) -> None:
    """End all that a process started and that still has it for an ancestor."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _kill_tree(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and all that it started."""
    kill_children(worker.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)  # its session: children whose parent is gone too
    worker.wait()


def _files(folder: Path | None) -> int:
    return 0 if folder is None else sum(path.is_file() for path in folder.rglob("*"))


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the worker was ended by {signal.Signals(-code).name}"
    return f"the worker ended with exit code {code} and no result"
