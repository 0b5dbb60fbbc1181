"""What plugins provide, by kind and name: each value checked, its code's faults named."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from echobench import interrupts
from echobench.core.backend import why_missing
from echobench.core.task import EchoTask, Recipe, Task
from echobench.errors import EchobenchError, PluginError, UnknownNameError
from echobench.plugin.failures import described, located, place_of
from echobench.plugin.files import FILE_PREFIX, file_of, option_of
from echobench.plugin.sources import Sources
from echobench.trial.trial import DIVISIONS

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Names of tasks, backends, executors, observers and studies."""
T = TypeVar("T")
R = TypeVar("R")


def why_no_name(name: object) -> str | None:
    """Return why this names no task, backend, executor, observer or study; None if it may."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return None
    return (
        "expected a name of lower-case letters, digits and single hyphens, a letter first, such "
        f"as my-echo; received {described(name)}"
    )


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from.

    Attributes:
        plugin: the entry point's name, or `file:PATH`: all that a worker needs in order to
            load this plugin and no other.
        distribution: the installed distribution, or the file's path as it was given.
        module: the name of the plugin's module; empty where an entry point has none.
    """

    plugin: str
    distribution: str
    module: str

    @property
    def file(self) -> Path | None:
        """The plugin's file; None for an entry point."""
        return file_of(self.plugin)

    @property
    def origin(self) -> str:
        """What messages call the plugin."""
        if self.file is not None:
            return f"plugin file {self.distribution!r}"
        return f"plugin {self.plugin!r} of {self.distribution}"

    @property
    def option(self) -> str:
        """What a command needs to load the plugin, after a space; empty for an entry point."""
        return "" if self.file is None else option_of([f"{FILE_PREFIX}{self.distribution}"])


@dataclass(frozen=True)
class Provided(Generic[T]):
    """A value that a plugin provides, and where it comes from.

    Attributes:
        value: the task class, backend, ...
        what: what messages call it: `task 'whole'`.
        source: the plugin.
        sources: the plugin's source files.
    """

    value: T
    what: str
    source: Source
    sources: Sources

    @property
    def plugin(self) -> str:
        """The plugin's name (`Source.plugin`)."""
        return self.source.plugin

    @property
    def distribution(self) -> str:
        """The plugin's distribution (`Source.distribution`)."""
        return self.source.distribution

    def fault(self, reason: str) -> PluginError:
        """Return the error that names plugin, value and reason."""
        return PluginError(f"{self.source.origin}: {self.what}: {reason}")

    def call(self, function: Callable[[T], R]) -> R:
        """Return what a function of the value returns, which runs the plugin's code.

        Raises:
            PluginError: the code raised something, and be it SystemExit.
        """
        try:
            with interrupts.not_swallowed():
                return function(self.value)
        except BaseException as error:
            interrupts.pass_on(error)
            if isinstance(error, (EchobenchError, ValidationError)):
                raise  # what it raises on purpose, or of the user's input
            raise self.fault(located(error, self.source.module, self.value)) from error

    def ask(self, name: str, kind: Any, *arguments: object, of: object = None) -> Any:
        """Return an attribute of the value, or what its method of this name returns.

        Args:
            name: of the attribute or method.
            kind: the type that it is expected to have or to return.
            arguments: of the method.
            of: what is asked in place of the value, such as an instance of its class.

        Raises:
            PluginError: the code raised something, or the answer is of another type.
        """
        owner = self.value if of is None else of

        def asked(_: T) -> Any:
            member = getattr(owner, name)
            return member(*arguments) if callable(member) else member

        answer = self.call(asked)
        if _is(answer, kind):
            return answer
        raise self.fault(
            f"{place_of(owner, name)}expected `{name}` to give {_words(kind)}; received "
            f"{described(answer)}"
        )

    def refused(self, name: str, expected: str, answer: object) -> PluginError:
        """Return the error for an attribute, or what a method of the value returns."""
        return self.fault(
            f"{place_of(self.value, name)}expected `{name}` to give {expected}; received "
            f"{described(answer)}"
        )

    def requires(self) -> Sequence[str]:
        """Return the modules that must be installed.

        Raises:
            PluginError: these are no names of modules.
        """
        names: Sequence[str] = self.ask("requires", Sequence[str])
        if not all(part.isidentifier() for name in names for part in name.split(".")):
            raise self.refused("requires", "names of modules, such as ('jax',)", names)
        return names

    def why_missing(self) -> str | None:
        """Return which of the modules that it requires are not installed; None if all are."""
        return why_missing(self.requires(), self.ask("extra", str | None))

    def digest(self) -> str:
        """Return the digest of the plugin's sources.

        Raises:
            PluginError: one of them cannot be read.
        """
        return self.call(lambda _: self.sources.digest)


def _is(value: object, kind: Any) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # a type with parameters, such as dict[str, str]
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError:
            return False
        return True


def _words(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    return re.sub(r"\b\w+\.(?=\w)", "", text)


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and the reason in one line."""

    plugin: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        """Return the plugin and the reason."""
        return f"the plugin {self.plugin!r} of {self.distribution} is broken: {self.reason}"


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

    def check(self, hook: Callable[[], Any], name: str) -> list[tuple[str, T]]:
        """Call a plugin's hook; return each value with its name, which is the plugin's code.

        Raises:
            PluginError: the hook returns no list, or a value is of another type, lacks what its
                base class asks for, or has no name of its own.
        """
        returned = hook()
        place = place_of(hook)
        expected = f"{name}: expected a list of {self._base.__name__} " + (
            "classes" if self._classes else "instances"
        )
        if isinstance(returned, str | bytes) or not isinstance(returned, Sequence | Set | Iterator):
            forgotten = "; end the function with `return [...]`" if returned is None else ""
            raise PluginError(f"{place}{expected}; received {described(returned)}{forgotten}")
        values = []
        for value in returned:
            if not self._accepts(value):
                raise PluginError(f"{place}{expected}; received one with {described(value)} in it")
            self._check_whole(value)
            values.append((_name_of(value), value))
        for taken, count in Counter(own for own, _ in values).items():
            if count > 1:
                raise PluginError(
                    f"{place}{name}: expected names that differ; received {taken!r} twice"
                )
        return values

    def add(self, name: str, value: T, source: Source, sources: Sources) -> None:
        """Add a value under its name.

        Raises:
            PluginError: the name is taken.
        """
        if name in self:
            raise PluginError(
                f"two plugins provide the {self._kind} {name!r}: {self[name].source.origin} and "
                f"{source.origin}; uninstall or rename one"
            )
        self[name] = Provided(value, f"{self._kind} {name!r}", source, sources)

    def _accepts(self, value: Any) -> bool:
        if self._classes:
            return isinstance(value, type) and issubclass(value, self._base)
        return isinstance(value, self._base)

    def _check_whole(self, value: Any) -> None:
        """Raise PluginError for a class without what its base class asks for."""
        lacking = sorted(getattr(value, "__abstractmethods__", ())) if self._classes else []
        if lacking:
            raise PluginError(
                f"{place_of(value)}expected {described(value)} to define {', '.join(lacking)}, as "
                f"{self._base.__name__} asks; received a class without"
            )
        if not self._classes or not issubclass(value, Task):
            return
        recipes = inspect.getattr_static(value, "recipes", None)
        if hasattr(recipes, "__get__") or value.recipe not in {Task.recipe, EchoTask.recipe}:
            return  # it makes its recipes itself
        is_whole = isinstance(recipes, Mapping) and recipes and {*recipes} <= {*DIVISIONS}
        if not is_whole or not all(isinstance(one, Recipe) for one in recipes.values()):
            raise PluginError(
                f"{place_of(value)}expected {described(value)} to define `recipes`, a Recipe for "
                f"{' or '.join(DIVISIONS)}; received {described(recipes)}"
            )

    def __missing__(self, name: str) -> NoReturn:
        for broken in self._broken:
            if broken.plugin == name:
                raise PluginError(f"{self._kind} {name!r}: {broken}")
        error = UnknownNameError(self._kind, name, self)
        for broken in self._broken:  # a plugin's name need not be that of what it provides
            error.add_note(str(broken))
        raise error


def _name_of(value: Any) -> str:
    name = getattr(value, "name", None)
    refused = why_no_name(name)
    if refused is not None:
        raise PluginError(f"{place_of(value)}{described(value)}: {refused}")
    return str(name)
