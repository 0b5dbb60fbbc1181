"""Run a job in a worker: its environment, and what its records say of the machine."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
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
from echobench.trial.job import Failure, Job, Progress, Report, Result
from echobench.trial.record import Record
from echobench.trial.variables import KEPT, device_variables

ID_DIGITS = 16
"""Hexadecimal digits of the id of a worker's process."""


def say_waiting(progress: Progress) -> None:
    """Say on stderr that a job waits for cores, and ignore other progress."""
    if progress.waits:
        _say_once(progress.phase)


_said = functools.cache(say)
_saying = threading.Lock()


def _say_once(line: str) -> None:
    with _saying:  # several jobs may wait at once
        _said(line)


def run_job(job: Job, backend: Backend, log: Path, report: Report = say_waiting) -> list[Record]:
    """Run a job on this machine; return the records of its trials, whatever happens.

    Of trials in turn they are those of one process, at least one: it ends early with a trial that
    crashes or is out of time, and after a while by itself. The others are a job of their own.

    It has cores of its own from its first worker to its last, the judge, and waits for them.

    A trial that cannot run is `unavailable` or `unsupported`; one whose worker does not finish
    is `timeout` or `failed`, with the last lines of the log. Certificates are judged if the job
    has a judge; an interrupt of the judge comes after the records are stored. Where a trial that
    fails is to run again, each record's provenance has this attempt.

    Args:
        job: the trials, and how they are run.
        backend: the trials' backend.
        log: file for what the worker prints.
        report: called with the worker's progress.
    """
    runs = _why_not(job, backend) is None
    deadline = time.monotonic() + (math.inf if job.budget_s is None else job.budget_s)
    with own_cores(job, report) if runs else contextlib.nullcontext(job) as placed:
        began = time.monotonic()
        records = _run_job(placed, backend, log, report, deadline)
        wall_s = time.monotonic() - began
    for record in records if job.retries else ():
        attempt = {"status": record.status, "reason": record.reason, "wall_s": wall_s}
        record.provenance.attempts = [attempt]
    return records


def _run_job(
    job: Job, backend: Backend, log: Path, report: Report, deadline: float
) -> list[Record]:
    # Beside the log: what a killed harness leaves, the same trial removes when it resumes.
    networks = log.with_name(f"{log.stem}-networks").resolve()
    with contextlib.ExitStack() as stack:
        kept = job
        if job.judge is not None:
            networks.mkdir(parents=True, exist_ok=True)
            stack.callback(shutil.rmtree, networks, ignore_errors=True)
            kept = job.model_copy(update={"networks": networks})
        own = [log.with_name(f"{log.stem}-{kind}{log.suffix}") for kind in ("rehearsal", "judge")]
        spent: dict[str, float] = {}
        run = functools.partial(work, spent=spent)
        rehearsed = None
        if _why_not(job, backend) is None:
            rehearsed = rehearsing.rehearse(job, backend, own[0], run, report)
        began = time.monotonic()
        if job.budget_s is not None:  # it ran on while the job waited for cores, and rehearsed
            kept = kept.model_copy(update={"budget_s": max(0.0, deadline - began)})
        results = run_once(kept, backend, log, report)
        wall_s = time.monotonic() - began
        records = [validation.record(*pair) for pair in zip(job.trials, results, strict=False)]
        rehearsing.add(rehearsed, job, records)
        spent["trials"] = float(len(records))
        walls = [record.wall_s for record in records if record.wall_s is not None]
        if walls and len(walls) == len(records):
            spent["other_s"] = max(0.0, wall_s - sum(walls))
        stack.callback(_note, spent, records)
        try:
            judging.judge(job, records, networks, own[1], run, report)
        except KeyboardInterrupt:  # the trials are finished: they are recorded first
            end_strays()
            interrupts.postpone()
    return records


def _note(spent: dict[str, float], records: Sequence[Record]) -> None:
    """Note in the first record of a process what it took beside its trials, if that is known."""
    if records and len(spent) > 1:  # beside the number of trials
        records[0].provenance.job = spent


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
    """Run a job in one worker; return the fields of a record of each result, with provenance.

    Of trials in turn there are fewer if the worker ends before the last: see `run_job`.
    """
    why_not = _why_not(job, backend)
    with own_cores(job, report) if why_not is None else contextlib.nullcontext(job) as placed:
        return _run_once(placed, backend, log, report, why_not)


def _run_once(
    job: Job, backend: Backend, log: Path, report: Report, why_not: tuple[str, str] | None
) -> list[dict[str, Any]]:
    started = datetime.now(UTC)
    provenance: dict[str, Any] = {
        "command": [*map(privacy.redact_argument, job.command)],
        "machine": facts.machine_of(job.trial.device),
        "git": facts.git_state(),
    }
    if granted := granted_devices(job.trial.device):
        provenance["granted"] = {name: privacy.redact(value) for name, value in granted.items()}
    base: dict[str, Any] = {
        "started_at": _time_text(started),
        "provenance": {**provenance, **job.about},
    }
    cached = _count_files(job.cache)
    if job.cache is not None:
        base["provenance"]["cache"] = provenance["cache"] = {"found": cached, "added": 0}
    if why_not is not None:
        status, reason = why_not
        return [{**base, "status": status, "reason": reason}] * job.results
    provenance["cores"] = job.cores
    provenance["load_before"] = facts.load()
    process_id = uuid.uuid4().hex[:ID_DIGITS]
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
    crowd = max(1.0, (provenance["load_after"] or 0.0) / (os.cpu_count() or 1))
    finished = []
    earlier_s = heard_in_all_s = 0.0
    first_s: float | None = None
    for place, result in enumerate(results):
        fields, measured = validation.split_result(result, lived_s, crowd)
        whole = {**provenance, **measured, **job.about}
        if job.kind == "train":
            whole["process"] = {"id": process_id, "place": place if job.in_turn else 0}
        if place and job.in_turn:  # as the one before it ended, to the millisecond
            began_at = started + timedelta(seconds=earlier_s, milliseconds=place)
            base["started_at"] = _time_text(began_at)
        wall_s, heard_s = fields.get("wall_s"), result.get(validation.HEARD, 0.0)
        earlier_s += wall_s if isinstance(wall_s, float | int) else heard_s
        heard_in_all_s += heard_s
        if job.in_turn:
            first_s = validation.pace_s(fields) if place == 0 else first_s
            why = validation.why_slow(earlier_s, heard_in_all_s, place, crowd)
            why = why or validation.why_sooner(fields.get("seconds_per_update"), first_s)
            fields = fields if why is None else {"status": "failed", "reason": why}
        finished.append({**base, **fields, "provenance": whole})
    return finished


def _time_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def work(
    job: Job,
    backend: Backend,
    log: Path,
    report: Report = say_waiting,
    *,
    spent: dict[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Run a job's worker to its end; return its results, or why there is none, as it said them.

    Of trials in turn there are fewer if the worker ends before the last: see `run_job`.

    Args:
        job: what the worker does.
        backend: the trials' backend.
        log: file for what the worker prints.
        report: called with the worker's progress.
        spent: takes how many seconds the worker needs, under the kind of its job and `_s`; what it
            waits for cores is no part of them.
    """
    lacking = _too_many(job)
    if lacking is not None:
        return [{"status": "failed", "reason": lacking, "log_tail": []}] * job.results
    with own_cores(job, report) as placed:
        began = time.monotonic()
        try:
            return _work(placed, backend, log, report)
        finally:
            if spent is not None:
                name = f"{job.kind}_s"
                spent[name] = spent.get(name, 0.0) + time.monotonic() - began


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
    left = job.results - len(results)
    if not left or _ended_between_turns(job, ending):
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
    ends_one = job.in_turn and status not in {"unavailable", "unsupported"}
    return results + [missing] * (1 if ends_one else left)


def _ended_between_turns(job: Job, ending: process.Ending) -> bool:
    """Return whether a worker reported the results of some trials and left the others."""
    return job.in_turn and ending.leaves and [*map(type, ending.answers[-1:])] == [Result]


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
        **(backend.smoke_environment() if job.smoke else {}),  # what a user sets goes before it
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


def end_strays() -> None:
    """End the workers that an interrupt left behind: it may arrive before anyone holds a new one.

    It arrives so in the main thread alone. Other threads stop where nothing is half begun, and end
    their own workers; those of others are not theirs. Other child processes live on: a program that
    calls `echobench.run` may have some.
    """
    if not interrupts.is_main_thread():
        return
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
            if process.MODULE in child.cmdline():
                for each in [*child.children(recursive=True), child]:
                    each.kill()


def _count_files(folder: Path | None) -> int:
    """Return how many files a folder holds; compilers of other jobs make and remove some of it."""
    # Not rglob(), which raises where a folder is removed as it is to be read.
    return 0 if folder is None else sum(len(files) for _, _, files in os.walk(folder))
