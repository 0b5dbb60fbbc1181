"""Slurm: each job is submitted through submitit."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from echobench import (
    DEVICE_GRANTS,
    Connection,
    EchobenchError,
    Executor,
    ExecutorError,
    Job,
    JobLostError,
    Record,
    Site,
    hookimpl,
    say,
)

SPARE_S = 120
"""Seconds beyond a job's own limit after which Slurm ends it."""
LEASE_S = 60
"""Seconds without a sign of life from the driver after which a job gives up."""
LOOK_S = 5
"""Seconds between two queries of the controller."""
ANSWER_S = 30
"""Seconds that a query may take."""
PAUSES_S = (1.0, 60.0)
"""Between two attempts to submit a job that was refused: the first pause, and the longest."""
OPTIONS = ("account", "constraint", "partition", "qos")
"""Parameters that are `sbatch`'s own."""
REACHING = ("SLURM_CONF", "SLURM_JWT")
"""How to find the controller, and to be known to it."""
FOREVER = re.compile(
    r"access/permission denied|count specification invalid|group not permitted"
    r"|invalid (account|feature|generic resource|gres|partition|qos|trackable|user)"
    r"|more processors requested|no partition specified|not in this partition"
    r"|node configuration is not available|time limit is invalid|unrecognized option"
    r"|could not establish a configuration source|unable to (establish|process) configuration",
    re.IGNORECASE,
)
"""In Slurm's words (its `slurm_errno.h`), what no waiting changes. All else may pass: limits on the
number of jobs, a controller that is busy, restarts or cannot be reached."""


class Slurm(Executor):
    """Slurm. The results folder must be on a file system that the nodes share.

    Attributes:
        cluster: `local` runs jobs as processes of this machine.
        jobs: most jobs queued or running at once.
        partition, account, qos, constraint: as `sbatch` takes them.
        patience: seconds after which a job that left the queue without a result is lost: as
            long as the shared file system may take to show a file.
        outage: seconds for which the controller may refuse jobs while none of ours is queued or
            runs, or beyond the jobs' time limit leave queries unanswered.
    """

    name = "slurm"
    requires = ("submitit",)
    extra = "slurm"

    cluster: Literal["slurm", "local"] = "slurm"
    jobs: int = Field(default=100, ge=1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    patience: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    outage: float = Field(default=1800.0, ge=0, allow_inf_nan=False)

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        import submitit

        trial = job.trial
        folder = site.folder / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
        except RuntimeError as error:
            raise ExecutorError(
                f"--executor slurm: {' '.join(str(error).split())}; on a machine without Slurm, "
                "slurm[cluster=local] runs jobs as processes"
            ) from error
        options = self.model_dump(include={*OPTIONS}, exclude_none=True)
        executor.update_parameters(
            name="echobench",
            timeout_min=math.ceil((job.limit_s + SPARE_S) / 60),
            cpus_per_task=trial.threads,
            gpus_per_node=trial.devices if trial.device == "gpu" else 0,
            # From Slurm 22.05 on a step does not take this from its job.
            slurm_srun_args=[f"--cpus-per-task={trial.threads}"],
            **{f"slurm_{name}": value for name, value in options.items()},
        )
        lease = folder / f"{uuid.uuid4().hex}.lease"
        with _kept_fresh(lease):
            yield _Queue(executor, self, folder, lease)


@dataclass(eq=False)
class _Submission:
    """A job that was given to the controller, or waits to be; and the file for its result.

    The result is JSON in a file of ours, of a name that nobody could guess: submitit's own is
    a pickle, and is not opened.

    Attributes:
        handle: submitit's, once the controller has taken the job.
    """

    job: Job
    result: Path
    handle: Any = None


class _RefusedError(Exception):
    """The controller did not take a job; with the reason, in its words."""


class _Queue(Connection):
    """The controller's queue, and before it the jobs that it has refused so far.

    A refused job waits here, so that the results of those that run are taken meanwhile.
    """

    def __init__(self, executor: Any, settings: Slurm, folder: Path, lease: Path) -> None:
        self._executor = executor
        self._settings = settings
        self._folder = folder
        self._lease = lease
        self._looked = self._heard = time.monotonic()
        self._is_silent = False
        self._missing: dict[_Submission, float] = {}
        self._taken: set[_Submission] = set()
        self._waiting: list[_Submission] = []
        self._refused: float | None = None
        self._next, self._pause = 0.0, PAUSES_S[0]
        self._said: set[str] = set()

    def room(self) -> int:
        return len(self._taken) if self._waiting else self._settings.jobs

    def start(self, job: Job) -> _Submission:
        submission = _Submission(job, self._folder / f"{uuid.uuid4().hex}.json")
        self._waiting.append(submission)
        self._submit()
        return submission

    def ended(self, handles: list[_Submission], seconds: float) -> list[_Submission]:
        taken = [each for each in handles if each in self._taken]
        ended = [each for each in taken if each.result.exists()] or self._lost(taken)
        if ended:
            self._taken.difference_update(ended)
            # What ended may have left room for another.
            self._heard = self._next = time.monotonic()
            self._refused, self._pause = None, PAUSES_S[0]
            return ended
        self._submit()
        time.sleep(seconds)
        return []

    def records(self, handle: _Submission) -> list[Record]:
        from echobench import unpack_records  # slow to import, and here not needed before

        if not handle.result.exists():
            raise JobLostError("its job left the queue without a result")
        message = json.loads(handle.result.read_text(encoding="utf-8"))
        handle.result.unlink()
        if "error" in message:
            raise ExecutorError(f"--executor slurm: {message['error']}")
        return unpack_records(handle.job, message["result"])

    def cancel(self, handle: _Submission) -> None:
        if handle.handle is None:
            return
        try:
            with _kept_from_jobs(self._settings):
                handle.handle.cancel()
        except (OSError, subprocess.SubprocessError) as error:
            self._say_once(f"scancel fails ({error}); jobs give up by themselves in {LEASE_S} s")

    def _submit(self) -> None:
        """Hand over the jobs that wait, until the controller refuses one.

        Raises:
            ExecutorError: it refuses, and neither time nor the end of a job of ours can help.
        """
        while self._waiting and time.monotonic() >= self._next:
            first = self._waiting[0]
            try:
                first.handle = self._submitted(first)
            except _RefusedError as error:
                self._wait(str(error))
                continue
            self._taken.add(self._waiting.pop(0))
            self._refused, self._pause = None, PAUSES_S[0]

    def _submitted(self, submission: _Submission) -> Any:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        # submitit has a job of this machine see the first GPUs, whichever we were granted.
        local = self._settings.cluster == "local"
        names = ("CUDA_VISIBLE_DEVICES",) if local else ()
        visible = {name: os.environ.get(name) for name in names}
        arguments = (submission.job.model_dump_json(), str(submission.result), str(self._lease))
        try:
            # submitit prints what sbatch says; we say it once.
            with _kept_from_jobs(self._settings), contextlib.redirect_stderr(io.StringIO()):
                return self._executor.submit(_run, *arguments, visible)
        except (FailedJobError, FailedSubmissionError) as error:
            raise _RefusedError(_reason(str(error))) from error
        except OSError as error:
            raise _RefusedError(f"{error.strerror}: {error.filename}") from error

    def _wait(self, reason: str) -> None:
        """Put off the next attempt, or give up."""
        now = time.monotonic()
        self._refused = now if self._refused is None else self._refused
        hopeless = bool(FOREVER.search(reason)) or shutil.which("sbatch") is None
        outage = self._settings.outage
        if not self._taken and (hopeless or now - self._refused >= outage):
            lasted = "" if hopeless else f" for {outage:g} s"
            raise ExecutorError(f"--executor slurm: jobs cannot be submitted{lasted}: {reason}")
        since = "the last of the others has ended" if self._taken else "now"
        self._say_once(
            f"Slurm takes no further job ({reason}); trying again until {outage:g} s from "
            f"{since}; Ctrl-C stops"
        )
        self._next = now + self._pause
        self._pause = min(2 * self._pause, PAUSES_S[1])

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            say(f"--executor slurm: {text}")

    def _lost(self, handles: list[_Submission]) -> list[_Submission]:
        """Return jobs that left the queue, and for long have shown no result."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return []
        self._looked = now
        if self._settings.cluster == "local":
            queued = {each.handle.job_id for each in handles if not each.handle.done()}
        else:
            answer = self._queued(handles)
            if answer is None:  # no answer says nothing
                return []
            queued = answer
        gone = [each for each in handles if each.handle.job_id not in queued]
        self._missing = {each: self._missing.get(each, now) for each in gone}
        return [each for each in gone if now - self._missing[each] >= self._settings.patience]

    def _queued(self, handles: list[_Submission]) -> set[str] | None:
        """Return the numbers of our jobs that are queued or run; None without an answer.

        Raises:
            ExecutorError: for so long there was no answer and no result that no job can be left.
        """
        if not handles:
            return set()
        # Not sacct, which not every controller has. Partitions may be hidden.
        command = ["squeue", "--me", "--all", "--noheader", "--format=%A"]
        try:
            with _kept_from_jobs(self._settings):
                done = subprocess.run(
                    command, capture_output=True, text=True, check=True, timeout=ANSWER_S
                )
        except (OSError, subprocess.SubprocessError) as error:
            limit = self._settings.outage + SPARE_S + max(each.job.limit_s for each in handles)
            why = _reason(str(getattr(error, "stderr", None) or error))
            if time.monotonic() - self._heard >= limit:
                raise ExecutorError(
                    f"--executor slurm: no answer of squeue and no result for {limit:g} s: {why}"
                ) from error
            if not self._is_silent:
                self._is_silent = True
                say(
                    f"--executor slurm: squeue does not answer ({why}); waiting for results, until "
                    f"there is none for {limit:g} s"
                )
            return None
        self._heard, self._is_silent = time.monotonic(), False
        return set(done.stdout.split())


@contextlib.contextmanager
def _kept_fresh(lease: Path) -> Iterator[None]:
    """Touch a file as long as this process runs: where it grows old, jobs give up.

    In a thread, since a slow sbatch, or the computation of a reference, takes minutes.
    """
    lease.touch()
    over = threading.Event()

    def touch() -> None:
        while not over.wait(LEASE_S / 6):
            with contextlib.suppress(OSError):  # the file system may answer the next time
                lease.touch()

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _kept_from_jobs(settings: Slurm) -> Iterator[None]:
    """Keep from Slurm's commands, and so from jobs, what the environment says of other jobs.

    Jobs get the environment of who submits them. Inside an allocation it describes that one
    (`SLURM_*`, some `SBATCH_*`), and srun refuses it or takes it for the job's own. A user's
    `SBATCH_*` stand above the job's options, so they stay only where we ask for nothing else;
    `SQUEUE_*` hide jobs. Which GPUs we were granted says nothing of another machine's. And a
    `copy.py` in the current folder, which is the jobs' too, is no module of theirs.
    """
    before = dict(os.environ)
    for name in before:
        if _is_of_other_jobs(name, settings):
            del os.environ[name]
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH")
        os.environ.update(before)


def _is_of_other_jobs(name: str, settings: Slurm) -> bool:
    defaults = {f"SBATCH_{one.upper()}" for one in OPTIONS if getattr(settings, one) is None}
    if name in {*REACHING, *defaults}:
        return False
    prefixes = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SQUEUE_", "SUBMITIT_")
    return name.startswith(prefixes) or (settings.cluster == "slurm" and name in DEVICE_GRANTS)


def _reason(said: str) -> str:
    """Return in one line what a command of Slurm's says, without its own name."""
    lines = (re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in said.splitlines())
    return "; ".join(filter(None, lines))[:300] or "it does not say why"


def _run(text: str, result: str, lease: str, visible: dict[str, str | None]) -> None:
    """Run a job on a node, and write its result to a file.

    Args:
        text: the job as JSON.
        result: the file.
        lease: the file that the driver keeps fresh.
        visible: variables that are to have these values; None for none.
    """
    for name, value in visible.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    from echobench import run_packed_job  # slow to import, and here not needed before

    # Slurm itself starts a job again where it was preempted or its node failed.
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    about: dict[str, Any] = {"name": "slurm"}
    if restarts:
        about["lost"] = ["begun again by Slurm"] * restarts
    try:
        _check_lease(Path(lease))
        packed = run_packed_job(text, lambda progress: _check_lease(Path(lease)), about)
        message = {"result": packed}
    except EchobenchError as error:
        message = {"error": str(error)}
    part = Path(f"{result}.part")
    part.write_text(json.dumps(message), encoding="utf-8")
    part.replace(result)


def _check_lease(lease: Path) -> None:
    """Give up where the driver is gone: nobody would take the result."""
    if time.time() - lease.stat().st_mtime > LEASE_S:
        raise EchobenchError("the process that submitted this job has ended")


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    return [Slurm]
