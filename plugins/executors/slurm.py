"""Slurm: each trial a job, submitted through submitit."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from echobench import RemoteExecutor, hookimpl
from echobench.errors import EchobenchError, ExecutorError
from echobench.executor import Connection, Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echobench import Executor
    from echobench.executor import Site
    from echobench.harness.assignments import Assignment
    from echobench.harness.plan import Trial

SPARE_S = 120
"""Seconds beyond a trial's limit after which Slurm ends its job."""
LEASE_S = 60
"""Seconds without a sign of life of the submitting process after which a job gives up."""


class Slurm(RemoteExecutor):
    """Slurm: each trial a job. The results folder is on a file system that the nodes share."""

    name: ClassVar[str] = "slurm"
    requires: ClassVar[tuple[str, ...]] = ("submitit",)
    extra: ClassVar[str | None] = "slurm"

    cluster: Literal["slurm", "local"] = "slurm"
    jobs: int = Field(default=100, ge=1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None

    @contextlib.contextmanager
    def connect(self, trial: Trial, site: Site) -> Iterator[Connection]:
        """Prepare the jobs: their time limit, their CPUs and GPUs."""
        import submitit

        folder = site.folder / "jobs"
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
        folder.mkdir(parents=True, exist_ok=True)
        lease = folder / "lease"
        lease.touch()
        yield _Queue(executor, self.jobs, lease)


class _Queue(Connection):
    def __init__(self, executor: Any, jobs: int, lease: Path) -> None:
        self._executor = executor
        self._jobs = jobs
        self._lease = lease

    def room(self) -> int:
        return self._jobs

    def begin(self, assignment: Assignment) -> Any:
        return self._executor.submit(_run, assignment.model_dump_json(), str(self._lease))

    def ended(self, handles: list[Any], seconds: float) -> list[Any]:
        self._lease.touch()
        found = [job for job in handles if job.done()]
        if not found:
            time.sleep(seconds)
        return found

    def outcome(self, handle: Any) -> str:
        import submitit

        try:
            told: str = handle.result()
        except submitit.core.utils.FailedJobError as error:
            why = " ".join(str(error).split())[-300:]
            raise ExecutorError(f"--executor slurm: job {handle.job_id}: {why}") from error
        except submitit.core.utils.UncompletedJobError as error:
            raise Lost(f"job {handle.job_id} ended as {handle.state}") from error
        return told

    def cancel(self, handle: Any) -> None:
        handle.cancel()


def _run(told: str, lease: str) -> str:
    """Run an assignment on a node; what a job does."""
    from echobench.harness.assignments import perform_elsewhere

    return perform_elsewhere(told, lambda progress: _renewed(Path(lease)), {"name": "slurm"})


def _renewed(lease: Path) -> None:
    """Give up where the process that submitted is gone: nobody would take the result."""
    if time.time() - lease.stat().st_mtime > LEASE_S:
        raise EchobenchError("the process that submitted this job has ended")


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    """Register the executor."""
    return [Slurm]
