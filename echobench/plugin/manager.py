"""The plugin manager: load plugins, collect what they provide, contain what they raise."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import pluggy
from pydantic import ValidationError

from echobench import interrupts
from echobench.core.backend import Backend
from echobench.core.task import Task
from echobench.errors import EchobenchError, PluginError, UnknownNameError
from echobench.plugin import hookspecs
from echobench.plugin.failures import described, kept_streams, located, message_of
from echobench.plugin.files import FILE_PREFIX, file_of, import_file, module_name
from echobench.plugin.interfaces import Executor, Observer, Study
from echobench.plugin.sources import Sources
from echobench.text import say
from echobench.trial.trial import Trial

HERE = "here than the trial was planned with: another machine's, or edited meanwhile"
UNKNOWN = "unknown distribution"
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Provided(Generic[T]):
    """A value that a plugin provides, and where it comes from.

    Attributes:
        value: the task class, backend, ...
        plugin: the entry point's name, or `file:PATH`: all that a worker needs in order to
            load this plugin and no other.
        distribution: the installed distribution, or the file's path.
        sources: the plugin's source files.
        module: the name of the plugin's module.
    """

    value: T
    plugin: str
    distribution: str
    sources: Sources
    module: str

    def call(self, function: Callable[[T], R]) -> R:
        """Return what a function of the value returns, which runs the plugin's code.

        Raises:
            PluginError: the code raised something, and be it SystemExit.
        """
        try:
            return function(self.value)
        except BaseException as error:
            interrupts.pass_on(error)
            if isinstance(error, (EchobenchError, ValidationError)):
                raise  # what it raises on purpose, or of the user's input
            raise PluginError(
                f"plugin {self.plugin!r} of {self.distribution}: {located(error, self.module)}"
            ) from error

    def digest(self) -> str:
        """Return the digest of the plugin's sources.

        Raises:
            PluginError: one of them cannot be read.
        """
        return self.call(lambda _: self.sources.digest)


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
        broken: plugins that could not be loaded.
        classes: whether plugins provide subclasses of `base`; else instances.

    Raises:
        PluginError: on access by the name of a broken plugin.
        UnknownNameError: on access by another name that no plugin provides.
    """

    def __init__(
        self, kind: str, base: type, broken: Sequence[Broken], *, classes: bool = False
    ) -> None:
        super().__init__()
        self._kind = kind
        self._base = base
        self._broken = broken
        self._classes = classes

    def check(self, hook: str, returned: Any) -> list[tuple[str, T]]:
        """Return what a hook returned: each value with its name, which is the plugin's code.

        Raises:
            PluginError: it is no list, or a value or its name is of another type.
        """
        if returned is None:
            return []
        expected = f"{hook}: expected a list of {self._base.__name__} " + (
            "classes" if self._classes else "instances"
        )
        if isinstance(returned, str | bytes) or not isinstance(returned, Sequence | Set | Iterator):
            raise PluginError(f"{expected}; received {described(returned)}")
        values = []
        for value in returned:
            if not self._accepts(value):
                raise PluginError(f"{expected}; one of it is {described(value)}")
            name = getattr(value, "name", None)
            if not isinstance(name, str) or not name:
                raise PluginError(
                    f"{hook}: expected a `name` of {described(value)} that is a text; "
                    f"received {described(name)}"
                )
            values.append((name, value))
        return values

    def add(self, name: str, value: T, source: _Source) -> None:
        """Add a value under its name.

        Raises:
            PluginError: the name is taken.
        """
        if name in self:
            first = self[name]
            raise PluginError(
                f"two plugins provide the {self._kind} {name!r}: {first.plugin!r} of "
                f"{first.distribution} and {source.plugin!r} of {source.distribution}; "
                "uninstall or rename one"
            )
        self[name] = Provided(
            value, source.plugin, source.distribution, source.sources, source.module
        )

    def _accepts(self, value: Any) -> bool:
        if self._classes:
            return isinstance(value, type) and issubclass(value, self._base)
        return isinstance(value, self._base)

    def __missing__(self, name: str) -> NoReturn:
        for broken in self._broken:
            if broken.plugin == name:
                raise PluginError(
                    f"{self._kind} {name!r}: the plugin {name!r} of {broken.distribution} is "
                    f"broken: {broken.reason}"
                )
        error = UnknownNameError(self._kind, name, self)
        for broken in self._broken:  # a plugin's name need not be that of what it provides
            error.add_note(
                f"the plugin {broken.plugin!r} of {broken.distribution} is broken: {broken.reason}"
            )
        raise error


class Plugins:
    """All installed plugins, or only those named.

    Args:
        files: Python files to load as plugins (`--plugin FILE.py`).
        only: names of the entry points to load; None loads all.

    Attributes:
        tasks, executors, backends, observers, studies: what the plugins provide, by name.
        broken: installed plugins whose import, registration or hook raised something, and be
            it SystemExit, whose hook is misspelled or returned something of another type; they
            provide nothing, and the others are not affected.

    Raises:
        PluginError: a file is missing, or broken in one of these ways. Two plugins provide the
            same name, or two backends are the reference: an error even of installed plugins,
            since neither of the two is the one that is meant.
    """

    def __init__(self, files: Sequence[Path] = (), only: Iterable[str] | None = None) -> None:
        self.broken: list[Broken] = []
        self.tasks: Catalog[type[Task]] = Catalog("task", Task, self.broken, classes=True)
        self.executors: Catalog[type[Executor]] = Catalog(
            "executor", Executor, self.broken, classes=True
        )
        self.backends: Catalog[Backend] = Catalog("backend", Backend, self.broken)
        self.observers: Catalog[Observer] = Catalog("observer", Observer, self.broken)
        self.studies: Catalog[Study] = Catalog("study", Study, self.broken)
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
                self._load_installed(entry_point)
        # A file that is given twice, or is installed, is one plugin.
        loaded = {source.sources.module for source in self._sources.values()}
        for file, path in {path.resolve(): path for path in files}.items():
            if file not in loaded:
                source = _Source(
                    f"{FILE_PREFIX}{file}", str(path), path.name, path, module_name(file)
                )
                self._load(source, functools.partial(import_file, path, source.sources))
        self._collect()
        for broken in self.broken if only is None else ():
            say(
                f"plugin {broken.plugin!r} of {broken.distribution} is left out, since it is "
                f"broken: {broken.reason}"
            )

    @classmethod
    def named(cls, names: Sequence[str]) -> Plugins:
        """Return the plugins of these names (`Provided.plugin`), and no other.

        Raises:
            PluginError: as `Plugins` does.
        """
        return cls([file for name in names if (file := file_of(name))], only=names)

    def sources(self, plugin: str) -> Sources:
        """Return the source files of a loaded plugin (`Provided.plugin`)."""
        return next(s.sources for s in self._sources.values() if s.plugin == plugin)

    def check_sources(self, trial: Trial) -> None:
        """Raise unless task and backend are those with which a trial was planned.

        Raises:
            EchobenchError: one of them is another here, or was edited since.
        """
        task, backend = self.tasks[trial.task], self.backends[trial.backend]
        version = task.call(lambda kind: kind(**trial.parameters).source_hash())
        if (version, task.digest()) != (trial.source, trial.task_source):
            raise EchobenchError(f"the source of task {trial.task} is another {HERE}")
        if backend.digest() != trial.backend_source:
            raise EchobenchError(f"the source of backend {trial.backend} is another {HERE}")

    def _load_installed(self, entry_point: importlib.metadata.EntryPoint) -> None:
        name = entry_point.name
        distribution, module = UNKNOWN, ""

        def load() -> Any:
            if distribution == UNKNOWN:
                raise PluginError("expected its distribution's METADATA to name it")
            return entry_point.load()

        try:
            distribution = (entry_point.dist and entry_point.dist.name) or UNKNOWN
            module = entry_point.module
        except (AttributeError, TypeError, ValueError):
            # Its METADATA, or the entry point's value, is not what the library takes it for.
            if distribution != UNKNOWN:
                reason = f"expected an entry point of the form MODULE; received {entry_point.value}"
                self.broken.append(Broken(name, distribution, reason))
                return
        self._load(_Source(name, distribution, name, module=module), load)

    def _load(self, source: _Source, load: Callable[[], Any]) -> None:
        """Import a plugin and register it."""
        key = f"{len(self._sources)}: {source.label}"  # two distributions may share a name
        try:
            with kept_streams():
                plugin = load()
                source.sources  # noqa: B018 # raises where the module says nonsense of itself
                self._manager.register(plugin, name=key)
                self._check_hook_names(plugin)
        except BaseException as error:
            # A stranger's module may raise anything, and pluggy rejects a hook's arguments.
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            self._contain(source, error)
        else:
            self._sources[key] = source

    def _check_hook_names(self, plugin: Any) -> None:
        for hook in self._manager.get_hookcallers(plugin) or ():
            own = [one for one in hook.get_hookimpls() if one.plugin is plugin]
            if not hook.has_spec() and not all(one.optionalhook for one in own):
                raise UnknownNameError("hook", hook.name, self._catalogs)

    def _collect(self) -> None:
        """Call every hook of every plugin, and add the values to the catalogs."""
        values: dict[str, list[tuple[Catalog[Any], str, Any]]] = {key: [] for key in self._sources}
        references: dict[str, list[Backend]] = {}
        for hook, catalog in self._catalogs.items():
            # Not hook(): there, one plugin's exception would lose the values of all others.
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                key = implementation.plugin_name
                if key not in values:
                    continue  # another hook of this plugin raised
                try:
                    with kept_streams():
                        found = catalog.check(hook, implementation.function())
                        if catalog is self.backends:
                            references[key] = [value for _, value in found if value.reference]
                except BaseException as error:
                    self._contain(self._sources[key], error)
                    del values[key]
                else:
                    values[key] += [(catalog, name, value) for name, value in found]
        for key, provided in values.items():
            source = self._sources[key]
            if source.file and not provided:
                raise PluginError(
                    f"plugin file {str(source.file)!r} provides nothing: expected a function "
                    f"marked with @hookimpl, one of {', '.join(self._catalogs)}"
                )
            for catalog, name, value in provided:
                catalog.add(name, value, source)
        self._check_reference(
            [value for key, backends in references.items() if key in values for value in backends]
        )

    def _check_reference(self, references: Sequence[Backend]) -> None:
        """Refuse a second reference: with it, a backend could judge itself."""
        if len(references) > 1:
            told = " and ".join(
                f"{name!r} of {one.plugin!r} of {one.distribution}"
                for name, one in self.backends.items()
                if any(one.value is reference for reference in references)
            )
            raise PluginError(
                f"two backends say that they are the reference: {told}; only one judges the "
                "others, so uninstall one or take `reference` from it"
            )

    def _contain(self, source: _Source, error: BaseException) -> None:
        """Note that an installed plugin is broken; raise for a file, which the user named."""
        interrupts.pass_on(error)
        is_ours = isinstance(error, PluginError | UnknownNameError)
        reason = message_of(error) if is_ours else located(error, source.module)
        if source.file is None:
            self.broken.append(Broken(source.plugin, source.distribution, reason))
        else:
            raise PluginError(f"plugin file {str(source.file)!r}: {reason}") from error


@dataclass(frozen=True)
class _Source:
    """Where a plugin comes from.

    Attributes:
        plugin, distribution: as in `Provided`.
        label: what error messages call the plugin.
        file: the plugin's file; None for an entry point.
        module: the name of the plugin's module; empty where an entry point has none.
    """

    plugin: str
    distribution: str
    label: str
    file: Path | None = None
    module: str = ""

    @functools.cached_property
    def sources(self) -> Sources:
        return Sources.of_module(self.module) if self.file is None else Sources(self.file.resolve())
