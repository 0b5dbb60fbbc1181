"""echobench: how fast, and how surely, does a backend teach a recurrent network to echo?

The names below are the whole public interface for plugin authors. Importing
them imports no deep-learning framework.
"""

import importlib
from typing import TYPE_CHECKING

from echobench.hookspecs import hookimpl

if TYPE_CHECKING:
    from echobench.core.backend import Backend, NativeBackend
    from echobench.core.task import EchoTask, Recipe, Task
    from echobench.executor import Executor, RemoteExecutor
    from echobench.observer import Observer
    from echobench.study import Study, Variant

__all__ = [
    "Backend",
    "EchoTask",
    "Executor",
    "NativeBackend",
    "Observer",
    "Recipe",
    "RemoteExecutor",
    "Study",
    "Task",
    "Variant",
    "hookimpl",
]

_MODULES = {
    "Backend": "echobench.core.backend",
    "EchoTask": "echobench.core.task",
    "Executor": "echobench.executor",
    "NativeBackend": "echobench.core.backend",
    "Observer": "echobench.observer",
    "Recipe": "echobench.core.task",
    "RemoteExecutor": "echobench.executor",
    "Study": "echobench.study",
    "Task": "echobench.core.task",
    "Variant": "echobench.study",
}


def __getattr__(name: str) -> object:
    # Lazy, so that `echobench --help` does not pay for pydantic.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
