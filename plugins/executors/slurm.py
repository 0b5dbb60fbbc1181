"""Slurm: each trial a job, submitted through submitit."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from echobench import RemoteExecutor, hookimpl
from echobench.errors import EchobenchError, ExecutorError
from echobench.plugin.executor import Connection, Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echobench import Executor
    from echobench.harness.assignments import Assignment
    from echobench.plugin.executor import Site
    from echobench.trial.trial import Trial

SPARE_S = 120
"""Seconds beyond a trial's limit after which Slurm ends its job."""
LEASE_S = 60
"""Seconds without a sign of life of the driver after which a job gives up."""
LOOK_S = 5
"""Seconds between two questions to the controller."""


class Slurm(RemoteExecutor):
    """Slurm: each trial a job. The results folder is on a file system that the nodes share.

    Attributes:
        cluster: `local` runs jobs as processes of this machine.
        jobs: how many are queued or run at once.
        partition, account, qos, constraint: as `sbatch` takes them.
        patience: seconds after which a job that left the queue without a result is lost: as
            long as the shared file system may take to show a file.
    """

    name: ClassVar[str] = "slurm"
    requires: ClassVar[tuple[str, ...]] = ("submitit",)
    extra: ClassVar[str | None] = "slurm"

    cluster: Literal["slurm", "local"] = "slurm"
    jobs: int = Field(default=100, ge=1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    patience: float = Field(default=60.0, ge=0, allow_inf_nan=False)

    @contextlib.contextmanager
    def connect(self, trial: Trial, site: Site) -> Iterator[Connection]:
        """Prepare the jobs: their time limit, their CPUs and GPUs."""
        import submitit

        folder = site.folder / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
        except RuntimeError as error:
            raise ExecutorError(
                f"--executor slurm: {' '.join(str(error).split())}; on a machine without Slurm, "
                "slurm[cluster=local] runs jobs as processes"
            ) from error
        asked = {
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
        }
        executor.update_parameters(
            name="echobench",
            timeout_min=math.ceil((trial.timeout_s + SPARE_S) / 60),
            cpus_per_task=trial.threads,
            gpus_per_node=trial.devices if trial.device == "gpu" else 0,
            **{name: value for name, value in asked.items() if value is not None},
        )
        yield _Queue(executor, self, folder)


@dataclass(frozen=True)
class _Job:
    """A job, and the file that it leaves.

    Its result is JSON in a file of ours, of a name that nobody could guess: submitit's own is a
    pickle, and is not opened.
    """

    job: Any
    result: Path


class _Queue(Connection):
    def __init__(self, executor: Any, asked: Slurm, folder: Path) -> None:
        self._executor = executor
        self._asked = asked
        self._folder = folder
        self._lease = folder / f"{uuid.uuid4().hex}.lease"
        self._lease.touch()
        self._looked = time.monotonic()
        self._missing: dict[_Job, float] = {}

    def room(self) -> int:
        return self._asked.jobs

    def begin(self, assignment: Assignment) -> _Job:
        result = self._folder / f"{uuid.uuid4().hex}.json"
        told = assignment.model_dump_json()
        return _Job(self._executor.submit(_run, told, str(result), str(self._lease)), result)

    def ended(self, handles: list[_Job], seconds: float) -> list[_Job]:
        self._lease.touch()
        found = [one for one in handles if one.result.exists()] or self._lost(handles)
        if not found:
            time.sleep(seconds)
        return found

    def outcome(self, handle: _Job) -> str:
        if not handle.result.exists():
            raise Lost("its job left the queue without a result")
        told = json.loads(handle.result.read_text(encoding="utf-8"))
        handle.result.unlink()
        if "error" in told:
            raise ExecutorError(f"--executor slurm: {told['error']}")
        return str(told["outcome"])

    def cancel(self, handle: _Job) -> None:
        handle.job.cancel()

    def _lost(self, handles: list[_Job]) -> list[_Job]:
        """Return jobs that are neither queued nor running, and have left no result for long."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return []
        self._looked = now
        if self._asked.cluster == "local":
            present = {one.job.job_id for one in handles if not one.job.done()}
        else:
            # Not sacct, which not every controller has.
            queue = ["squeue", "--me", "--noheader", "--format=%A"]
            asked = subprocess.run(queue, capture_output=True, text=True, check=False)
            if asked.returncode:  # no answer says nothing
                return []
            present = set(asked.stdout.split())
        gone = [one for one in handles if one.job.job_id not in present]
        self._missing = {one: self._missing.get(one, now) for one in gone}
        return [one for one in gone if now - self._missing[one] >= self._asked.patience]


def _run(told: str, result: str, lease: str) -> None:
    """Run an assignment on a node; what a job does."""
    from echobench.harness.assignments import perform_elsewhere

    # Slurm begins a job again by itself where it was preempted or its node failed.
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    about: dict[str, Any] = {"name": "slurm"}
    if again:
        about["lost"] = ["begun again by Slurm"] * again
    try:
        _check(Path(lease))
        said = {"outcome": perform_elsewhere(told, lambda progress: _check(Path(lease)), about)}
    except EchobenchError as error:
        said = {"error": str(error)}
    beside = Path(f"{result}.part")
    beside.write_text(json.dumps(said), encoding="utf-8")
    beside.replace(result)


def _check(lease: Path) -> None:
    """Give up where the driver is gone: nobody would take the result."""
    if time.time() - lease.stat().st_mtime > LEASE_S:
        raise EchobenchError("the process that submitted this job has ended")


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    """Register the executor."""
    return [Slurm]
