"""The plugin manager: load plugins, collect what they provide, contain their errors."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NoReturn, TypeVar

import pluggy

from echobench.core.backend import Backend
from echobench.core.task import Task
from echobench.errors import PluginError, UnknownNameError
from echobench.plugin import hookspecs
from echobench.plugin.interfaces import Executor, Observer, Study

FILE_PREFIX = "file:"
T = TypeVar("T")


@dataclass(frozen=True)
class Provided(Generic[T]):
    """A value that a plugin provides, and where it comes from.

    Attributes:
        value: the task class, backend, ...
        plugin: the entry point's name, or `file:PATH`: all that a worker needs in order to
            load this plugin and no other.
        distribution: the installed distribution, or the file's path.
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


class Catalog(dict[str, Provided[T]]):
    """All that the loaded plugins provide of one kind, by name.

    Args:
        kind: what error messages call it.
        base: what plugins derive from.
        classes: whether plugins provide subclasses of `base`; else instances.

    Raises:
        UnknownNameError: on access by a name that no plugin provides.
    """

    def __init__(self, kind: str, base: type, *, classes: bool = False) -> None:
        super().__init__()
        self._kind = kind
        self._base = base
        self._classes = classes

    def add(self, value: Any, source: _Source) -> None:
        """Check a value's type and add it under its name.

        Raises:
            PluginError: the value is of another type, or its name is taken.
        """
        if not self._accepts(value):
            base = self._base.__name__
            expected = f"subclasses of {base}" if self._classes else f"{base} instances"
            raise PluginError(f"plugin {source.label!r}: expected {expected}; received {value!r}")
        if value.name in self:
            first = self[value.name]
            raise PluginError(
                f"two plugins provide the {self._kind} {value.name!r}: {first.plugin!r} of "
                f"{first.distribution} and {source.plugin!r} of {source.distribution}; "
                "uninstall or rename one"
            )
        self[value.name] = Provided(value, source.plugin, source.distribution)

    def _accepts(self, value: Any) -> bool:
        if self._classes:
            return isinstance(value, type) and issubclass(value, self._base)
        return isinstance(value, self._base)

    def __missing__(self, name: str) -> NoReturn:
        raise UnknownNameError(self._kind, name, self)


class Plugins:
    """All installed plugins, or only those named.

    Args:
        files: Python files to load as plugins (`--plugin FILE.py`).
        only: names of the entry points to load; None loads all.

    Attributes:
        tasks, executors, backends, observers, studies: what the plugins provide, by name.
        broken: installed plugins whose import, registration or hook raised an exception;
            they provide nothing, and the others are not affected.

    Raises:
        PluginError: a file is missing or broken, a hook is misspelled or returns a value of
            another type, two plugins provide the same name, or two backends are the reference.
    """

    def __init__(self, files: Sequence[Path] = (), only: Iterable[str] | None = None) -> None:
        self.tasks: Catalog[type[Task]] = Catalog("task", Task, classes=True)
        self.executors: Catalog[type[Executor]] = Catalog("executor", Executor, classes=True)
        self.backends: Catalog[Backend] = Catalog("backend", Backend)
        self.observers: Catalog[Observer] = Catalog("observer", Observer)
        self.studies: Catalog[Study] = Catalog("study", Study)
        self.broken: list[Broken] = []
        self._catalogs: dict[str, Catalog[Any]] = {
            "echobench_tasks": self.tasks,
            "echobench_executors": self.executors,
            "echobench_backends": self.backends,
            "echobench_observers": self.observers,
            "echobench_studies": self.studies,
        }
        self._sources: dict[str, _Source] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        wanted = None if only is None else set(only)
        for entry_point in importlib.metadata.entry_points(group=hookspecs.PROJECT):
            if wanted is None or entry_point.name in wanted:
                distribution = entry_point.dist.name if entry_point.dist else "unknown distribution"
                source = _Source(entry_point.name, distribution, entry_point.name)
                self._load(source, entry_point.load)
        for path in files:
            source = _Source(f"{FILE_PREFIX}{path.resolve()}", str(path), path.name, path)
            self._load(source, functools.partial(_import_file, path))
        self._check_hook_names()
        self._collect()

    @classmethod
    def named(cls, names: Sequence[str]) -> Plugins:
        """Return the plugins of these names (`Provided.plugin`), and no other.

        Raises:
            PluginError: as `Plugins` does.
        """
        return cls([file for name in names if (file := file_of(name))], only=names)

    def _load(self, source: _Source, load: Callable[[], Any]) -> None:
        """Import a plugin and register it."""
        key = f"{len(self._sources)}: {source.label}"  # two distributions may share a name
        try:
            self._manager.register(load(), name=key)
        except Exception as error:
            # A stranger's module may raise anything, and pluggy rejects a hook's arguments.
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            self._contain(source, error)
        else:
            self._sources[key] = source

    def _check_hook_names(self) -> None:
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            source = self._sources[str(self._manager.get_name(error.plugin))]
            raise PluginError(
                f"plugin {source.label!r} implements an unknown hook: {_one_line(error)}; "
                f"known: {', '.join(self._catalogs)}"
            ) from error

    def _collect(self) -> None:
        """Call every hook of every plugin, and add the values to the catalogs."""
        values: dict[str, list[tuple[Catalog[Any], Any]]] = {key: [] for key in self._sources}
        for hook, catalog in self._catalogs.items():
            # Not hook(): there, one plugin's exception would lose the values of all others.
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                key = implementation.plugin_name
                if key not in values:
                    continue  # another hook of this plugin raised
                try:
                    values[key] += [(catalog, value) for value in implementation.function() or ()]
                except Exception as error:
                    self._contain(self._sources[key], error)
                    del values[key]
        for key, provided in values.items():
            source = self._sources[key]
            if source.file and not provided:
                raise PluginError(
                    f"plugin file {str(source.file)!r} provides nothing: expected a function "
                    f"marked with @hookimpl, one of {', '.join(self._catalogs)}"
                )
            for catalog, value in provided:
                catalog.add(value, source)
        self._check_reference()

    def _check_reference(self) -> None:
        """Refuse a second reference: with it, a backend could judge itself."""
        references = [one for one in self.backends.values() if one.value.reference]
        if len(references) > 1:
            told = " and ".join(
                f"{one.value.name!r} of {one.plugin!r} of {one.distribution}" for one in references
            )
            raise PluginError(
                f"two backends say that they are the reference: {told}; only one judges the "
                "others, so uninstall one or take `reference` from it"
            )

    def _contain(self, source: _Source, error: Exception) -> None:
        """Note that an installed plugin is broken; raise for a file, which the user named."""
        if isinstance(error, PluginError):
            raise error
        if source.file:
            raise PluginError(f"plugin file {str(source.file)!r}: {_one_line(error)}") from error
        self.broken.append(Broken(source.plugin, source.distribution, _one_line(error)))


@dataclass(frozen=True)
class _Source:
    """Where a plugin comes from.

    Attributes:
        plugin, distribution: as in `Provided`.
        label: what error messages call the plugin.
        file: the plugin's file; None for an entry point.
    """

    plugin: str
    distribution: str
    label: str
    file: Path | None = None


def _import_file(path: Path) -> ModuleType:
    name = f"echobench_plugin_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise PluginError(f"plugin file {str(path)!r}: expected an existing .py file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # pydantic looks annotations up there
    specification.loader.exec_module(module)
    return module


def file_of(plugin: str) -> Path | None:
    """Return the file of a plugin (`Provided.plugin`); None for an entry point."""
    path = plugin.removeprefix(FILE_PREFIX)
    return None if path == plugin else Path(path)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
