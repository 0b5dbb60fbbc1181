"""Run a job in a worker: its environment, its attempts, and what its records say of the machine."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from echobench import interrupts
from echobench.core.backend import Backend
from echobench.harness import judging, process, rehearsing, validation
from echobench.machine import calibration, facts, privacy
from echobench.machine.cores import reserved_cores, why_too_many
from echobench.plugin.failures import located
from echobench.text import say
from echobench.trial.job import ATTEMPT, Failure, Job, Progress, Report, Result
from echobench.trial.record import Record
from echobench.trial.variables import KEPT, device_variables


def say_waiting(progress: Progress) -> None:
    """Say on stderr that a job waits for cores, and ignore other progress."""
    if progress.waits:
        _say_once(progress.phase)


_say_once = functools.cache(say)


def run_job(job: Job, backend: Backend, log: Path, report: Report = say_waiting) -> list[Record]:
    """Run a job on this machine; return a record of each trial, whatever happens.

    It has cores of its own from its first worker to its last, the judge, and waits for them.

    A trial that cannot run is `unavailable` or `unsupported`; one whose worker does not finish
    is `timeout` or `failed`, with the last lines of the log. Certificates are judged if the job
    has a judge; an interrupt of the judge comes after the records are stored. While a trial fails,
    the job runs again, up to `job.retries` times; the other statuses would come again. Several
    attempts are listed in the provenance of the last one's records.

    Args:
        job: the trials, and how they are run.
        backend: the trials' backend.
        log: file for what the worker prints; later attempts write files beside it.
        report: called with the worker's progress.
    """
    runs = _why_not(job, backend) is None
    with own_cores(job, report) if runs else contextlib.nullcontext(job) as placed:
        return _attempted(placed, backend, log, report)


def _attempted(job: Job, backend: Backend, log: Path, report: Report) -> list[Record]:
    attempts: list[list[dict[str, object]]] = []
    interrupted = False
    for number in range(1, job.retries + 2):
        if number > 1:
            report(Progress(phase=f"{ATTEMPT} {number}"))
        path = log if number == 1 else log.with_name(f"{log.stem}-attempt{number}{log.suffix}")
        began = time.monotonic()
        # Beside the log: what a killed harness leaves, the same trial removes when it resumes.
        networks = path.with_name(f"{path.stem}-networks").resolve()
        with contextlib.ExitStack() as stack:
            kept = job
            if job.judge is not None:
                networks.mkdir(parents=True, exist_ok=True)
                stack.callback(shutil.rmtree, networks, ignore_errors=True)
                kept = job.model_copy(update={"networks": networks})
            results = run_once(kept, backend, path, report)
            wall_s = time.monotonic() - began
            records = [*map(validation.record, job.trials, results)]
            own = [
                path.with_name(f"{path.stem}-{kind}{path.suffix}")
                for kind in ("rehearsal", "judge")
            ]
            try:
                rehearsing.rehearse(job, backend, records, own[0], work, report)
                judging.judge(job, records, networks, own[1], work, report)
            except KeyboardInterrupt:  # the trials are finished: they are recorded first
                kill_children(os.getpid())
                interrupts.postpone()
                interrupted = True
        attempts.append(
            [{"status": r.status, "reason": r.reason, "wall_s": wall_s} for r in records]
        )
        if interrupted or not any(record.status == "failed" for record in records):
            break
    if len(attempts) > 1:
        for record, tries in zip(records, zip(*attempts, strict=True), strict=True):
            record.provenance.attempts = [*tries]
    return records


@contextlib.contextmanager
def own_cores(job: Job, report: Report) -> Iterator[Job]:
    """Give a job cores of its own for as long as the context lasts, unless it has them already.

    Waiting for them is part of no time limit and of no measured time.
    """
    if job.cores:
        yield job
        return
    trial, waited = job.trial, False

    def waiting() -> None:
        nonlocal waited
        waited = True
        what = "a free core" if trial.threads == 1 else f"{trial.threads} free cores"
        report(Progress(phase=f"waiting for {what}"))

    with reserved_cores(trial.threads, trial.smt, waiting) as found:
        if waited:
            report(Progress(phase="starting"))
        if found is None:
            yield job
            return
        about = job.about
        if found.unlocked is not None:
            _say_once(f"{found.unlocked}: other runs may use the same")
            about = {**about, "unlocked": found.unlocked}
        yield job.model_copy(update={"cores": found.cores, "about": about})


def _why_not(job: Job, backend: Backend) -> tuple[str, str] | None:
    """Return the status and the reason of a job that cannot run here; None if it can."""
    predicts = job.kind in {"predict", "echo"}
    try:
        unsupported = backend.why_no_prediction() if predicts else backend.why_no_training()
        unavailable = backend.why_unavailable()
    except BaseException as error:  # a plugin's code may raise anything
        interrupts.pass_on(error)
        return "failed", located(error, type(backend).__module__, backend)
    if unsupported is not None:
        return "unsupported", unsupported
    if unavailable is not None:
        return "unavailable", unavailable
    lacking = _too_many(job)
    return None if lacking is None else ("failed", lacking)


def _too_many(job: Job) -> str | None:
    lacking = None if job.cores else why_too_many(job.trial.threads, job.trial.smt)
    return None if lacking is None else f"--threads: {lacking}"


def run_once(
    job: Job, backend: Backend, log: Path, report: Report = say_waiting
) -> list[dict[str, Any]]:
    """Run a job in one worker; return the fields of a record of each result, with provenance."""
    why_not = _why_not(job, backend)
    with own_cores(job, report) if why_not is None else contextlib.nullcontext(job) as placed:
        return _run_once(placed, backend, log, report, why_not)


def _run_once(
    job: Job, backend: Backend, log: Path, report: Report, why_not: tuple[str, str] | None
) -> list[dict[str, Any]]:
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    provenance: dict[str, Any] = {
        "command": [*map(privacy.redact_argument, job.command)],
        "machine": facts.machine_of(job.trial.device),
        "git": facts.git_state(),
    }
    if granted := granted_devices(job.trial.device):
        provenance["granted"] = {name: privacy.redact(value) for name, value in granted.items()}
    base: dict[str, Any] = {"started_at": started_at, "provenance": {**provenance, **job.about}}
    cached = _count_files(job.cache)
    if job.cache is not None:
        base["provenance"]["cache"] = provenance["cache"] = {"found": cached, "added": 0}
    if why_not is not None:
        status, reason = why_not
        return [{**base, "status": status, "reason": reason}] * job.results
    provenance["cores"] = job.cores
    provenance["load_before"] = facts.load()
    if job.memory_limit is not None:
        provenance["memory_limit_bytes"] = job.memory_limit
    steal = calibration.StealMeter()
    began = time.monotonic()
    results = work(job, backend, log, report)
    lived_s = time.monotonic() - began
    provenance["steal_fraction"] = steal.fraction()
    provenance["load_after"] = facts.load()
    provenance["versions"] = job.trial.versions
    if job.cache is not None:
        provenance["cache"] = {"found": cached, "added": _count_files(job.cache) - cached}
    finished = []
    for result in results:
        fields, measured = validation.split_result(result, lived_s)
        whole = {**provenance, **measured, **job.about}
        finished.append({**base, **fields, "provenance": whole})
    return finished


def work(
    job: Job, backend: Backend, log: Path, report: Report = say_waiting
) -> list[dict[str, Any]]:
    """Run a job's worker to its end; return its results, or why there is none, as it said them."""
    lacking = _too_many(job)
    if lacking is not None:
        return [{"status": "failed", "reason": lacking, "log_tail": []}] * job.results
    with own_cores(job, report) as placed:
        return _work(placed, backend, log, report)


def _work(job: Job, backend: Backend, log: Path, report: Report) -> list[dict[str, Any]]:
    def variables(home: str) -> dict[str, str]:
        return environment(backend, job, home)

    ending = process.run_worker(job, variables, log, report)
    results = [answer.fields for answer in ending.answers if isinstance(answer, Result)]
    if job.kind == "train":
        heard = zip(results, ending.heard_s, strict=False)  # a failure may come last
        results = [{**result, validation.HEARD: seconds} for result, seconds in heard]
    if len(ending.answers) > job.results:
        reason = "the worker reported more than one result"
        failed = {"status": "failed", "reason": reason, "log_tail": ending.log_tail}
        return [failed] * job.results
    if len(results) == job.results:
        if ending.code:
            # A result counts, whatever happens after it; the record says what happened.
            how = ending.killed[1] if ending.killed else ending.death
            results = [{**result, validation.LATER: how} for result in results]
        return results
    match ending.answers:
        case [*_, Failure() as failure]:
            status: str = failure.status
            reason = validation.one_line(failure.reason)
        case _:
            death = ending.death if ending.code < 0 else f"{ending.death} and no result"
            status, reason = ending.killed or ("failed", death)
            if ending.dropped:
                reason += f"; {ending.dropped} lines that it wrote were too long"
    missing = {"status": status, "reason": reason, "log_tail": ending.log_tail}
    return results + [missing] * (job.results - len(results))


def environment(backend: Backend, job: Job, home: str) -> dict[str, str]:
    """Return the worker's environment, built from an allow-list.

    What the trial's user hands over (`--env`) replaces nothing that is set here, and what a
    backend sets replaces all: torch on the CPU, say, hides the GPUs.

    Args:
        backend: the worker's backend.
        job: what it runs.
        home: a folder of its own, for files that frameworks write.
    """
    trial = job.trial
    threads = str(trial.threads)
    cache = {} if job.cache is None else backend.cache_environment(str(job.cache.resolve()))
    inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
    if path := _searched(inherited.pop("PYTHONPATH", "")):
        inherited["PYTHONPATH"] = path
    return {
        **trial.environment,
        **inherited,
        **granted_devices(trial.device),
        "KERAS_BACKEND": backend.keras_backend,
        "KERAS_HOME": home,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONHASHSEED": "0",
        # A `random.py` in the current folder is none of ours; also for what a worker starts.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # Files left behind go with the folder; child processes are known by it, too.
        "TMPDIR": home,
        # No compiled program is kept between trials: compile time is measured cold.
        "TORCHINDUCTOR_CACHE_DIR": f"{home}/inductor",
        **backend.environment(trial.device, trial.threads),
        **cache,
    }


def granted_devices(device: str) -> dict[str, str]:
    """Return the variables that say which GPUs this process was granted; none on the CPU.

    They are those of the process that runs the job: Ray sets them in a task's, Slurm in a job's.
    """
    return device_variables(os.environ) if device == "gpu" else {}


def _searched(path: str) -> str:
    """Return a `PYTHONPATH` without its empty entries, which stand for the current folder."""
    return os.pathsep.join(filter(None, path.split(os.pathsep)))


def kill_children(parent: int) -> None:
    """End every descendant of a process."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _count_files(folder: Path | None) -> int:
    return 0 if folder is None else sum(path.is_file() for path in folder.rglob("*"))
