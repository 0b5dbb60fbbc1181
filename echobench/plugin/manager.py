"""The plugin manager: load plugins, collect what they provide, contain what they raise."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pluggy

from echobench import interrupts
from echobench.core.backend import Backend
from echobench.core.task import Task
from echobench.errors import EchobenchError, PluginError, UnknownNameError
from echobench.plugin import hookspecs
from echobench.plugin.catalog import Broken, Catalog, Source
from echobench.plugin.failures import kept_streams, located, message_of, place_of
from echobench.plugin.files import FILE_PREFIX, file_of, import_file, module_name
from echobench.plugin.interfaces import Executor, Observer, Study
from echobench.plugin.sources import Sources
from echobench.text import say
from echobench.trial.trial import Trial

HERE = "here than the trial was planned with: another machine's, or edited meanwhile"
UNKNOWN = "unknown distribution"


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
        self._loaded: dict[str, tuple[Source, Sources]] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        wanted = None if only is None else set(only)
        for entry_point in importlib.metadata.entry_points(group=hookspecs.PROJECT):
            if wanted is None or entry_point.name in wanted:
                self._load_installed(entry_point)
        # A file that is given twice, or is installed, is one plugin.
        loaded = {sources.module for _, sources in self._loaded.values()}
        for file, path in {path.resolve(): path for path in files}.items():
            if file not in loaded:
                source = Source(f"{FILE_PREFIX}{file}", str(path), module_name(file))
                sources = Sources(file)
                self._load(source, functools.partial(import_file, path, sources), sources)
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
        return next(own for source, own in self._loaded.values() if source.plugin == plugin)

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
            distribution = (entry_point.dist and _name(entry_point.dist)) or UNKNOWN
            module = entry_point.module
        except (AttributeError, TypeError, ValueError):
            # Its METADATA, or the entry point's value, is not what the library takes it for.
            if distribution != UNKNOWN:
                reason = f"expected an entry point of the form MODULE; received {entry_point.value}"
                self.broken.append(Broken(name, distribution, reason))
                return
        self._load(Source(name, distribution, module), load)

    def _load(
        self, source: Source, load: Callable[[], Any], sources: Sources | None = None
    ) -> None:
        """Import a plugin and register it."""
        key = f"{len(self._loaded)}: {source.plugin}"  # two distributions may share a name
        try:
            with kept_streams():
                plugin = load()
                # It raises where the module says nonsense of itself.
                own = sources or Sources.of_module(source.module)
                self._check_hooks(plugin)
                self._manager.register(plugin, name=key)
        except BaseException as error:
            # A stranger's module may raise anything.
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            self._contain(source, error)
        else:
            self._loaded[key] = source, own

    def _check_hooks(self, plugin: Any) -> None:
        """Raise unless every hook of a plugin is one of ours, and takes no argument."""
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            if options is None:
                continue
            hook, function = options.get("specname") or name, getattr(plugin, name)
            if hook not in self._catalogs and not options.get("optionalhook"):
                unknown = UnknownNameError("hook", hook, self._catalogs)
                raise PluginError(f"{place_of(function)}{unknown}")
            signature = inspect.signature(function)
            if any(one.default is one.empty for one in signature.parameters.values()):
                raise PluginError(
                    f"{place_of(function)}expected `def {name}()`, without arguments; received "
                    f"`def {name}{signature}`"
                )

    def _collect(self) -> None:
        """Call every hook of every plugin, and add the values to the catalogs."""
        values: dict[str, list[tuple[Catalog[Any], str, Any]]] = {key: [] for key in self._loaded}
        references: dict[str, list[Backend]] = {}
        for hook, catalog in self._catalogs.items():
            # Not hook(): there, one plugin's exception would lose the values of all others.
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                key = implementation.plugin_name
                if key not in values:
                    continue  # another hook of this plugin raised
                try:
                    with kept_streams():
                        found = catalog.check(implementation.function, hook)
                        if catalog is self.backends:
                            references[key] = [value for _, value in found if value.reference]
                except BaseException as error:
                    self._contain(self._loaded[key][0], error)
                    del values[key]
                else:
                    values[key] += [(catalog, name, value) for name, value in found]
        for key, provided in values.items():
            source, sources = self._loaded[key]
            if not provided:
                hooks = ", ".join(self._catalogs)
                nothing = (
                    "it provides nothing: expected a function marked with @hookimpl that returns a "
                    f"list, one of {hooks}"
                )
                self._contain(source, PluginError(nothing))
            for catalog, name, value in provided:
                catalog.add(name, value, source, sources)
        self._check_reference(
            [value for key, backends in references.items() if key in values for value in backends]
        )

    def _check_reference(self, references: Sequence[Backend]) -> None:
        """Refuse a second reference: with it, a backend could judge itself."""
        if len(references) > 1:
            claims = " and ".join(
                f"{name!r} of {one.plugin!r} of {one.distribution}"
                for name, one in self.backends.items()
                if any(one.value is reference for reference in references)
            )
            raise PluginError(
                f"two backends say that they are the reference: {claims}; only one judges the "
                "others, so uninstall one or take `reference` from it"
            )

    def _contain(self, source: Source, error: BaseException) -> None:
        """Note that an installed plugin is broken; raise for a file, which the user named."""
        interrupts.pass_on(error)
        is_ours = isinstance(error, PluginError | UnknownNameError)
        reason = message_of(error) if is_ours else located(error, source.module)
        if source.file is None:
            self.broken.append(Broken(source.plugin, source.distribution, reason))
        else:
            raise PluginError(f"{source.origin}: {reason}") from error


@functools.cache
def _name(distribution: importlib.metadata.Distribution) -> str:
    """Return a distribution's name: each reading of it reads all of its METADATA."""
    return distribution.name
