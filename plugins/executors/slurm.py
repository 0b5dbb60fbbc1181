"""Slurm: each job is submitted through submitit."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from echobench import (
    Connection,
    EchobenchError,
    Executor,
    ExecutorError,
    Job,
    JobLostError,
    Record,
    Site,
    hookimpl,
    run_packed_job,
    unpack_records,
)

SPARE_S = 120
"""Seconds beyond a job's own limit after which Slurm ends it."""
LEASE_S = 60
"""Seconds without a sign of life from the driver after which a job gives up."""
LOOK_S = 5
"""Seconds between two queries of the controller."""


class Slurm(Executor):
    """Slurm. The results folder must be on a file system that the nodes share.

    Attributes:
        cluster: `local` runs jobs as processes of this machine.
        jobs: most jobs queued or running at once.
        partition, account, qos, constraint: as `sbatch` takes them.
        patience: seconds after which a job that left the queue without a result is lost: as
            long as the shared file system may take to show a file.
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
        asked = {"partition", "account", "qos", "constraint"}
        options = self.model_dump(include=asked, exclude_none=True)
        executor.update_parameters(
            name="echobench",
            timeout_min=math.ceil((job.limit_s + SPARE_S) / 60),
            cpus_per_task=trial.threads,
            gpus_per_node=trial.devices if trial.device == "gpu" else 0,
            **{f"slurm_{name}": value for name, value in options.items()},
        )
        yield _Queue(executor, self, folder)


@dataclass(frozen=True, eq=False)
class _Submitted:
    """A submitted job, and the file for its result.

    The result is JSON in a file of ours, of a name that nobody could guess: submitit's own is
    a pickle, and is not opened.
    """

    job: Job
    handle: Any
    result: Path


class _Queue(Connection):
    def __init__(self, executor: Any, settings: Slurm, folder: Path) -> None:
        self._executor = executor
        self._settings = settings
        self._folder = folder
        self._lease = folder / f"{uuid.uuid4().hex}.lease"
        self._lease.touch()
        self._looked = time.monotonic()
        self._missing: dict[_Submitted, float] = {}

    def room(self) -> int:
        return self._settings.jobs

    def start(self, job: Job) -> _Submitted:
        result = self._folder / f"{uuid.uuid4().hex}.json"
        arguments = (job.model_dump_json(), str(result), str(self._lease))
        return _Submitted(job, self._executor.submit(_run, *arguments), result)

    def ended(self, handles: list[_Submitted], seconds: float) -> list[_Submitted]:
        self._lease.touch()
        ended = [each for each in handles if each.result.exists()] or self._lost(handles)
        if not ended:
            time.sleep(seconds)
        return ended

    def records(self, handle: _Submitted) -> list[Record]:
        if not handle.result.exists():
            raise JobLostError("its job left the queue without a result")
        message = json.loads(handle.result.read_text(encoding="utf-8"))
        handle.result.unlink()
        if "error" in message:
            raise ExecutorError(f"--executor slurm: {message['error']}")
        return unpack_records(handle.job, message["result"])

    def cancel(self, handle: _Submitted) -> None:
        handle.handle.cancel()

    def _lost(self, handles: list[_Submitted]) -> list[_Submitted]:
        """Return jobs that left the queue, and for long have shown no result."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return []
        self._looked = now
        if self._settings.cluster == "local":
            queued = {each.handle.job_id for each in handles if not each.handle.done()}
        else:
            # Not sacct, which not every controller has.
            command = ["squeue", "--me", "--noheader", "--format=%A"]
            squeue = subprocess.run(command, capture_output=True, text=True, check=False)
            if squeue.returncode:  # no answer says nothing
                return []
            queued = set(squeue.stdout.split())
        gone = [each for each in handles if each.handle.job_id not in queued]
        self._missing = {each: self._missing.get(each, now) for each in gone}
        return [each for each in gone if now - self._missing[each] >= self._settings.patience]


def _run(text: str, result: str, lease: str) -> None:
    """Run a job on a node, and write its result to a file."""
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
