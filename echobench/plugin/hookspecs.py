"""The hooks a plugin may implement.

A plugin is a module, named by an entry point in the group `echobench` or by
`--plugin FILE.py`. The parent process imports every plugin, so its top level must not
import Keras or a framework; these are imported in workers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from echobench.core.backend import Backend
    from echobench.core.task import Task
    from echobench.plugin.interfaces import Executor, Observer, Study

PROJECT = "echobench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of that name."""


@hookspec
def echobench_tasks() -> Sequence[type[Task]]:  # type: ignore[empty-body] # a specification
    """Return the task classes that this plugin provides.

    Example::

        @hookimpl
        def echobench_tasks():
            return [Partial]
    """


@hookspec
def echobench_backends() -> Sequence[Backend]:  # type: ignore[empty-body] # a specification
    """Return the backends that this plugin provides.

    Example::

        @hookimpl
        def echobench_backends():
            return [Jax()]
    """


@hookspec
def echobench_executors() -> Sequence[type[Executor]]:  # type: ignore[empty-body] # a specification
    """Return the executor classes that this plugin provides.

    Example::

        @hookimpl
        def echobench_executors():
            return [Ray]
    """


@hookspec
def echobench_observers() -> Sequence[Observer]:  # type: ignore[empty-body] # a specification
    """Return the observers that this plugin provides.

    Example::

        @hookimpl
        def echobench_observers():
            return [TensorBoard()]
    """


@hookspec
def echobench_studies() -> Sequence[Study]:  # type: ignore[empty-body] # a specification
    """Return the studies that this plugin provides.

    Example::

        @hookimpl
        def echobench_studies():
            variants = [Variant(label="short", task="partial"), ...]
            return [Study(name="length", question="...", backend="jax", variants=variants)]
    """
