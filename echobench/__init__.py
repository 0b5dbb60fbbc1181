"""echobench: how fast, and how surely, does a backend teach a recurrent network to echo?

The names below are the whole public interface for plugin authors. Importing
them imports no deep-learning framework.
"""

from typing import TYPE_CHECKING

from echobench.hookspecs import hookimpl

if TYPE_CHECKING:
    from echobench.core.backend import Backend
    from echobench.core.task import EchoTask, Recipe, Task

__all__ = ["Backend", "EchoTask", "Recipe", "Task", "hookimpl"]


def __getattr__(name: str) -> object:
    # Lazy, so that `echobench --help` does not pay for pydantic.
    if name == "Backend":
        from echobench.core.backend import Backend

        return Backend
    if name in {"EchoTask", "Recipe", "Task"}:
        from echobench.core import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
