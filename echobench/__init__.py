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
    from echobench.plugin.executor import Executor, RemoteExecutor
    from echobench.plugin.observer import Observer
    from echobench.plugin.study import Study, Variant

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
    "Executor": "echobench.plugin.executor",
    "NativeBackend": "echobench.core.backend",
    "Observer": "echobench.plugin.observer",
    "Recipe": "echobench.core.task",
    "RemoteExecutor": "echobench.plugin.executor",
    "Study": "echobench.plugin.study",
    "Task": "echobench.core.task",
    "Variant": "echobench.plugin.study",
}


def __getattr__(name: str) -> object:
    # Lazy, so that `echobench --help` does not pay for pydantic.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
