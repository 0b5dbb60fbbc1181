"""A running Ray cluster: each job is a task, alone on the CPUs or GPUs that it was granted.

Which GPUs these are, Ray says in the environment of the task's process; its worker inherits it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import time
from collections.abc import Iterator
from typing import Any

from echobench import (
    Connection,
    EchobenchError,
    Executor,
    ExecutorError,
    Job,
    JobLostError,
    Progress,
    Record,
    Site,
    Trial,
    hookimpl,
)

AHEAD = 2
"""Jobs handed over beyond those that fit, so that a node that is done need not wait."""
CONNECT_S = 10.0
"""Seconds in which a cluster must answer."""
REPORT_S = 0.5
"""Seconds between two reports of a trial's progress, and between two readings of all reports."""
REPORTS_PER_S = 200
"""Reports of all trials together: one actor takes them."""
COUNT_S = 2.0
"""Seconds between two counts of the nodes, which take longer the more there are."""


class Ray(Executor):
    """A running Ray cluster: many jobs at once, each alone on the resources it was granted."""

    name = "ray"
    requires = ("ray",)
    extra = "ray"

    address: str = "auto"

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        import ray

        try:
            _check_reachable(self.address)  # Ray itself would wait for minutes
            # Ray has tasks search for modules in the driver's current folder, first of all.
            with contextlib.chdir(site.folder):
                ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise ExecutorError(
                f"--executor ray: no cluster at {self.address}; start one with: ray start --head "
                f"({why[:200]})"
            ) from error
        try:
            yield _Cluster(job.trial, site)
        finally:
            ray.shutdown()


class _Cluster(Connection):
    def __init__(self, trial: Trial, site: Site) -> None:
        import ray

        self._site = site
        self._gpus = trial.devices if trial.device == "gpu" else 0
        self._cpus = trial.threads
        self._jobs: dict[Any, Job] = {}
        self._room = 0
        self._counted = self._read = -math.inf
        largest = max((self._fitting(node["Resources"]) for node in _nodes()), default=0)
        if not largest:
            wanted = _counted(self._cpus, "CPU")
            wanted += f" and {_counted(self._gpus, 'GPU')}" if self._gpus else ""
            fewer = "ask for fewer (--threads)" if self._cpus > 1 else "start one that has"
            raise ExecutorError(f"--executor ray: no node of the cluster has {wanted}; {fewer}")
        self._reports = ray.remote(num_cpus=0)(_Reports).remote()
        self._run = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(_run)

    def room(self) -> int:
        now = time.monotonic()
        if now - self._counted > COUNT_S:
            self._counted = now
            self._room = sum(self._fitting(node["Resources"]) for node in _nodes()) + AHEAD
        return self._room

    def start(self, job: Job) -> Any:
        every = max(REPORT_S, (len(self._jobs) + 1) / REPORTS_PER_S)
        handle = self._run.remote(job.model_dump_json(), job.trial.key, self._reports, every)
        self._jobs[handle] = job
        return handle

    def ended(self, handles: list[Any], seconds: float) -> list[Any]:
        import ray

        if handles:
            ray.wait(handles, timeout=seconds)
            # All that have ended by now: with a thousand under way each look is a long one.
            ended, _ = ray.wait(handles, num_returns=len(handles), timeout=0)
        else:
            time.sleep(seconds)
            ended = []
        self._pass_on_reports()
        return list(ended)

    def records(self, handle: Any) -> list[Record]:
        import ray

        from echobench import unpack_records  # slow to import, and here not needed before

        job = self._jobs.pop(handle)
        try:
            text: str = ray.get(handle)
        except ray.exceptions.RayTaskError as error:
            raise ExecutorError(f"--executor ray: {_reason(error)}") from error
        except ray.exceptions.RayError as error:
            # Not the error's text, which names addresses.
            raise JobLostError(f"its node is gone ({type(error).__name__})") from error
        return unpack_records(job, text)

    def cancel(self, handle: Any) -> None:
        # Leaving the cluster ends all that a driver has there. To cancel a task that is just
        # then done makes Ray abort the driver ("Tried to complete task that was not pending").
        return

    def _fitting(self, resources: dict[str, float]) -> int:
        """Return how many jobs a node has room for."""
        fitting = int(resources.get("CPU", 0) // self._cpus)
        return min(fitting, int(resources.get("GPU", 0) // self._gpus)) if self._gpus else fitting

    def _pass_on_reports(self) -> None:
        import ray

        now = time.monotonic()
        if now - self._read < REPORT_S:
            return
        self._read = now
        try:
            reports = ray.get(self._reports.take.remote())
        except ray.exceptions.RayError:
            return  # the actor's node is gone, and the progress with it; the trials go on
        jobs = {job.trial.key: job for job in self._jobs.values()}
        for key, text in reports:
            if key in jobs:
                progress = Progress.model_validate_json(text)
                self._site.progressed(jobs[key].trial_of(progress), progress)


class _Reports:
    """An actor that keeps the latest progress of each trial."""

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}

    def put(self, key: str, text: str) -> None:
        self._latest[key] = text

    def take(self) -> list[tuple[str, str]]:
        reports = list(self._latest.items())
        self._latest.clear()
        return reports


def _run(text: str, key: str, reports: Any, every: float) -> str:
    """Run a job, given as JSON, on the node; the task that Ray schedules.

    The actor `reports` takes the first trial's progress, under its key, once in `every` seconds.
    """
    import ray

    from echobench import run_packed_job  # slow to import, and here not needed before

    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > every or progress.look is not None:
            last = now
            reports.put.remote(key, progress.model_dump_json())

    node = ray.get_runtime_context().get_node_id()
    return run_packed_job(text, report, {"name": "ray", "node": node[:12]})


def _check_reachable(address: str) -> None:
    """Connect once to an address of the form `HOST:PORT`; leave others to Ray."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), CONNECT_S).close()


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _reason(error: Exception) -> str:
    """Return why a task failed, in one line."""
    cause = getattr(error, "cause", None) or error
    text = str(cause) if isinstance(cause, EchobenchError) else f"{type(cause).__name__}: {cause}"
    return " ".join(text.split())[:300]


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    return [Ray]
