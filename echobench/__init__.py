"""echobench: how fast, and how surely, does a backend teach a recurrent network to echo?

The names below are the whole public interface for plugin authors. Importing
them imports no deep-learning framework.
"""

import importlib
from typing import TYPE_CHECKING

from echobench.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from echobench.core.backend import Backend, NativeBackend
    from echobench.core.task import EchoTask, Recipe, Task
    from echobench.errors import EchobenchError, ExecutorError, JobLostError
    from echobench.harness.remote import run_packed_job, unpack_records
    from echobench.plugin.executor import Connection, Executor, Site
    from echobench.plugin.observer import Observer
    from echobench.plugin.study import Study, Variant
    from echobench.trial.job import Job
    from echobench.trial.messages import Progress
    from echobench.trial.record import Record
    from echobench.trial.trial import Trial

__all__ = [
    "Backend",
    "Connection",
    "EchoTask",
    "EchobenchError",
    "Executor",
    "ExecutorError",
    "Job",
    "JobLostError",
    "NativeBackend",
    "Observer",
    "Progress",
    "Recipe",
    "Record",
    "Site",
    "Study",
    "Task",
    "Trial",
    "Variant",
    "hookimpl",
    "run_packed_job",
    "unpack_records",
]

_MODULES = {
    "Backend": "echobench.core.backend",
    "Connection": "echobench.plugin.executor",
    "EchoTask": "echobench.core.task",
    "EchobenchError": "echobench.errors",
    "Executor": "echobench.plugin.executor",
    "ExecutorError": "echobench.errors",
    "Job": "echobench.trial.job",
    "JobLostError": "echobench.errors",
    "NativeBackend": "echobench.core.backend",
    "Observer": "echobench.plugin.observer",
    "Progress": "echobench.trial.messages",
    "Recipe": "echobench.core.task",
    "Record": "echobench.trial.record",
    "Site": "echobench.plugin.executor",
    "Study": "echobench.plugin.study",
    "Task": "echobench.core.task",
    "Trial": "echobench.trial.trial",
    "Variant": "echobench.plugin.study",
    "run_packed_job": "echobench.harness.remote",
    "unpack_records": "echobench.harness.remote",
}


def __getattr__(name: str) -> object:
    # Lazy, so that `echobench --help` does not pay for pydantic.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
