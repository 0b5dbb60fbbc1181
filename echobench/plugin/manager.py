"""The one plugin manager: from names to what plugins provide, errors contained."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import pluggy

from echobench.core.backend import Backend
from echobench.core.task import Task
from echobench.errors import PluginError, UnknownNameError
from echobench.plugin import hookspecs
from echobench.plugin.executor import Executor
from echobench.plugin.observer import Observer
from echobench.plugin.study import Study

FILE_PREFIX = "file:"
T = TypeVar("T")
KINDS: dict[str, type] = {
    "echobench_tasks": Task,
    "echobench_executors": Executor,
    "echobench_backends": Backend,
    "echobench_observers": Observer,
    "echobench_studies": Study,
}
"""What each hook returns: classes of the first two, instances of the others."""


@dataclass(frozen=True)
class Provided(Generic[T]):
    """Something a plugin provides, and where it came from.

    `plugin` is the entry point's name, or `file:PATH`: all that a worker needs
    in order to load this plugin and no other. `distribution` is who installed it.
    """

    value: T
    plugin: str
    distribution: str


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and the reason in one line."""

    plugin: str
    distribution: str
    reason: str


class Plugins:
    """All plugins that are installed, or only the named ones.

    Args:
        files: Python files to load as plugins (`--plugin FILE.py`); a file that
            cannot be loaded is an error, since the user named it.
        only: names of the entry points to load; None loads all. A broken entry
            point is kept in `broken` and hurts nobody else.

    Raises:
        PluginError: a file is missing or broken, a hook is misspelled, or two
            plugins provide the same name.
    """

    def __init__(self, files: Sequence[Path] = (), only: Iterable[str] | None = None) -> None:
        self.tasks: dict[str, Provided[type[Task]]] = {}
        self.executors: dict[str, Provided[type[Executor]]] = {}
        self.backends: dict[str, Provided[Backend]] = {}
        self.observers: dict[str, Provided[Observer]] = {}
        self.studies: dict[str, Provided[Study]] = {}
        self.broken: list[Broken] = []
        self._wanted = None if only is None else set(only)
        for entry_point in importlib.metadata.entry_points(group=hookspecs.PROJECT):
            if self._wanted is None or entry_point.name in self._wanted:
                self._load_entry_point(entry_point)
        for path in files:
            self._load_file(path)

    @classmethod
    def named(cls, names: Sequence[str]) -> Plugins:
        """Return the plugins of these names (`Provided.plugin`), and no other.

        Raises:
            PluginError: as `Plugins` does.
        """
        return cls([file for name in names if (file := file_of(name))], only=names)

    def task(self, name: str) -> Provided[type[Task]]:
        """Return the task of that name, or raise UnknownNameError."""
        if name not in self.tasks:
            raise UnknownNameError("task", name, self.tasks)
        return self.tasks[name]

    def backend(self, name: str) -> Provided[Backend]:
        """Return the backend of that name, or raise UnknownNameError."""
        if name not in self.backends:
            raise UnknownNameError("backend", name, self.backends)
        return self.backends[name]

    def executor(self, name: str) -> Provided[type[Executor]]:
        """Return the executor of that name, or raise UnknownNameError."""
        if name not in self.executors:
            raise UnknownNameError("executor", name, self.executors)
        return self.executors[name]

    def observer(self, name: str) -> Provided[Observer]:
        """Return the observer of that name, or raise UnknownNameError."""
        if name not in self.observers:
            raise UnknownNameError("observer", name, self.observers)
        return self.observers[name]

    def study(self, name: str) -> Provided[Study]:
        """Return the study of that name, or raise UnknownNameError."""
        if name not in self.studies:
            raise UnknownNameError("study", name, self.studies)
        return self.studies[name]

    def _load_entry_point(self, entry_point: importlib.metadata.EntryPoint) -> None:
        distribution = entry_point.dist.name if entry_point.dist else "unknown distribution"
        try:
            found = _provided_by(entry_point.load(), entry_point.name)
        except PluginError:
            raise
        except Exception as error:
            # Whatever a stranger's module raises at import concerns that plugin alone.
            self.broken.append(Broken(entry_point.name, distribution, _one_line(error)))
            return
        self._add(found, entry_point.name, distribution)

    def _load_file(self, path: Path) -> None:
        plugin = f"{FILE_PREFIX}{path.resolve()}"
        name = f"echobench_plugin_{path.stem}"
        specification = importlib.util.spec_from_file_location(name, path)
        if not path.is_file() or specification is None or specification.loader is None:
            raise PluginError(f"plugin file {str(path)!r}: expected an existing .py file")
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module  # pydantic looks annotations up there
        try:
            specification.loader.exec_module(module)
        except Exception as error:
            raise PluginError(f"plugin file {str(path)!r}: {_one_line(error)}") from error
        found = _provided_by(module, path.name)
        if not any(found.values()):
            raise PluginError(
                f"plugin file {str(path)!r} provides nothing: expected a function marked with "
                f"@hookimpl, one of {', '.join(KINDS)}"
            )
        self._add(found, plugin, str(path))

    def _add(self, found: dict[str, list[Any]], plugin: str, distribution: str) -> None:
        tables: dict[str, dict[str, Provided[Any]]] = {
            "echobench_tasks": self.tasks,
            "echobench_executors": self.executors,
            "echobench_backends": self.backends,
            "echobench_observers": self.observers,
            "echobench_studies": self.studies,
        }
        for hook, values in found.items():
            for value in values:
                kind = KINDS[hook].__name__.lower()
                _add_named(tables[hook], kind, value.name, Provided(value, plugin, distribution))


def file_of(plugin: str) -> Path | None:
    """Return the file of a plugin (`Provided.plugin`); None where it is installed."""
    path = plugin.removeprefix(FILE_PREFIX)
    return None if path == plugin else Path(path)


def _add_named(table: dict[str, Provided[T]], kind: str, name: str, provided: Provided[T]) -> None:
    if name in table:
        first, second = table[name], provided
        raise PluginError(
            f"two plugins provide the {kind} {name!r}: {first.plugin!r} of "
            f"{first.distribution} and {second.plugin!r} of {second.distribution}; "
            "uninstall or rename one"
        )
    table[name] = provided


def _provided_by(module: ModuleType, name: str) -> dict[str, list[Any]]:
    """Call the module's hooks, each module with a manager of its own; values by hook.

    One manager a module keeps one plugin's exception from ending the others.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            f"plugin {name!r} implements an unknown hook: {_one_line(error)}; "
            f"known: {', '.join(KINDS)}"
        ) from error
    found = {}
    for hook, kind in KINDS.items():
        found[hook] = [value for group in getattr(manager.hook, hook)() for value in group]
        for value in found[hook]:
            if kind in (Task, Executor):
                if not (isinstance(value, type) and issubclass(value, kind)):
                    raise PluginError(
                        f"plugin {name!r}: expected subclasses of {kind.__name__}; received "
                        f"{value!r}"
                    )
            elif not isinstance(value, kind):
                raise PluginError(
                    f"plugin {name!r}: expected {kind.__name__} instances; received {value!r}"
                )
    return found


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
