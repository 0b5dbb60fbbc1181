"""A Ray cluster that runs already: each trial a task, alone on the CPUs or GPUs it was granted."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import time
from typing import TYPE_CHECKING, Any, ClassVar

from echobench import RemoteExecutor, hookimpl
from echobench.errors import EchobenchError, ExecutorError
from echobench.plugin.executor import Connection, Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echobench import Executor
    from echobench.harness.assignments import Assignment
    from echobench.plugin.executor import Site
    from echobench.trial.trial import Trial

AHEAD = 2
"""Trials handed over beyond those that fit: a node that is done need not wait for us."""
REACHED_S = 10.0
"""Seconds in which a cluster must answer."""
TOLD_S = 0.5
"""Seconds between two reports of a trial's progress, and between two looks at all of them."""
TOLD_PER_S = 200
"""Reports of all trials together: one process takes them."""
COUNTED_S = 2.0
"""Seconds between two looks at which nodes there are: it takes longer the more there are."""


class Ray(RemoteExecutor):
    """A Ray cluster that runs already: many trials at once, each alone on what it was granted."""

    name: ClassVar[str] = "ray"
    requires: ClassVar[tuple[str, ...]] = ("ray",)
    extra: ClassVar[str | None] = "ray"

    address: str = "auto"

    @contextlib.contextmanager
    def connect(self, trial: Trial, site: Site) -> Iterator[Connection]:
        """Join the cluster as a driver."""
        import ray

        try:
            _knock(self.address)  # Ray itself would wait for minutes
            ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise ExecutorError(
                f"--executor ray: no cluster at {self.address}; start one with: ray start --head "
                f"({why[:200]})"
            ) from error
        try:
            yield _Cluster(trial, site)
        finally:
            ray.shutdown()


class _Cluster(Connection):
    def __init__(self, trial: Trial, site: Site) -> None:
        import ray

        self._site = site
        self._gpus = trial.devices if trial.device == "gpu" else 0
        self._cpus = trial.threads
        self._trials: dict[str, Trial] = {}
        self._keys: dict[Any, str] = {}
        self._room = 0
        self._counted = self._listened = -math.inf
        largest = max((self._fitting(node["Resources"]) for node in _nodes()), default=0)
        if not largest:
            wanted = f"{self._cpus} CPUs" + (f" and {self._gpus} GPUs" if self._gpus else "")
            raise ExecutorError(
                f"--executor ray: no node of the cluster has {wanted}; use fewer --threads, or add "
                "a node"
            )
        self._told = ray.remote(num_cpus=0)(_Told).remote()
        self._run = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(_run)

    def room(self) -> int:
        now = time.monotonic()
        if now - self._counted > COUNTED_S:
            self._counted = now
            self._room = sum(self._fitting(node["Resources"]) for node in _nodes()) + AHEAD
        return self._room

    def begin(self, assignment: Assignment) -> Any:
        key = assignment.trial.key
        self._trials[key] = assignment.trial
        every = max(TOLD_S, len(self._trials) / TOLD_PER_S)
        handle = self._run.remote(assignment.model_dump_json(), key, self._told, every)
        self._keys[handle] = key
        return handle

    def ended(self, handles: list[Any], seconds: float) -> list[Any]:
        import ray

        if handles:
            ray.wait(handles, timeout=seconds)
            # All that are there by now: with a thousand under way each look is a long one.
            found, _ = ray.wait(handles, num_returns=len(handles), timeout=0)
        else:
            time.sleep(seconds)
            found = []
        self._listen()
        return list(found)

    def outcome(self, handle: Any) -> str:
        import ray

        self._trials.pop(self._keys.pop(handle))
        try:
            told: str = ray.get(handle)
        except ray.exceptions.RayTaskError as error:
            raise ExecutorError(f"--executor ray: {_why(error)}") from error
        except ray.exceptions.RayError as error:
            # Not its text: that names addresses.
            raise Lost(f"its node is gone ({type(error).__name__})") from error
        return told

    def cancel(self, handle: Any) -> None:
        # Leaving the cluster ends all that a driver has there. To cancel a task that is just
        # then done makes Ray abort the driver ("Tried to complete task that was not pending").
        return

    def _fitting(self, resources: dict[str, float]) -> int:
        """Return how many trials a node has room for."""
        fitting = int(resources.get("CPU", 0) // self._cpus)
        return min(fitting, int(resources.get("GPU", 0) // self._gpus)) if self._gpus else fitting

    def _listen(self) -> None:
        """Pass on what the trials told since."""
        import ray

        from echobench.trial.messages import Progress

        now = time.monotonic()
        if now - self._listened < TOLD_S:
            return
        self._listened = now
        try:
            news = ray.get(self._told.news.remote())
        except ray.exceptions.RayError:
            return  # its node is gone, and with it the progress; the trials go on
        for key, told in news:
            if key in self._trials:
                self._site.tell(self._trials[key], Progress.model_validate_json(told))


class _Told:
    """What trials tell of their progress, the latest of each; an actor."""

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}

    def tell(self, key: str, told: str) -> None:
        self._latest[key] = told

    def news(self) -> list[tuple[str, str]]:
        found = list(self._latest.items())
        self._latest.clear()
        return found


def _run(told: str, key: str, listener: Any, every: float) -> str:
    """Run an assignment on the node; the task that Ray schedules.

    Args:
        told: the assignment, as JSON.
        key: of its trial.
        listener: is told of its progress.
        every: seconds between two reports of it.
    """
    import ray

    from echobench.harness.assignments import perform_elsewhere

    last = 0.0

    def tell(progress: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > every or progress.look is not None:
            last = now
            listener.tell.remote(key, progress.model_dump_json())

    node = ray.get_runtime_context().get_node_id()
    return perform_elsewhere(told, tell, {"name": "ray", "node": node[:12]})


def _knock(address: str) -> None:
    """See whether anyone is at an address, where it is one of a machine: `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), REACHED_S).close()


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _why(error: Exception) -> str:
    """Return what went wrong in a task, in one line."""
    cause = getattr(error, "cause", None) or error
    told = str(cause) if isinstance(cause, EchobenchError) else f"{type(cause).__name__}: {cause}"
    return " ".join(told.split())[:300]


@hookimpl
def echobench_executors() -> list[type[Executor]]:
    """Register the executor."""
    return [Ray]
