"""Ask the plugins for all that a plan needs of them, once for all of its trials.

What a plugin's code raises, and what it answers that is of no use, is its fault: a line that names
the place. It ends the plan where the task or backend was named, and leaves it out where all are
meant.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.core.experiment import updates_per_epoch
from echobench.core.rows import check_test_rows
from echobench.core.sequences import Framing
from echobench.core.task import Recipe, Task
from echobench.errors import DataError, UnknownNameError, UsageError
from echobench.plugin.catalog import Provided
from echobench.plugin.failures import message_of, place_of
from echobench.plugin.manager import Plugins
from echobench.text import say
from echobench.trial.selectors import (
    default_recipe,
    division_of,
    explained,
    label,
    parsed,
    why_incomplete,
)
from echobench.trial.trial import DIVISIONS, ENGINES


@dataclass(frozen=True)
class AskedTask:
    """A task that is asked for, and all that its plugin's code says of it.

    Attributes:
        provided: the plugin's class.
        task, recipe: in the division that is asked for.
        division: the one in which the recipe counts.
        label: as `--task` takes it.
        source, task_source: the task's version, and the digest of its plugin.
        doubts: what speaks against its data.
        test_rows: how many rows its test set has; None where rows are drawn without end.
        test_set: `held out` or `trained on`; empty without one.
    """

    provided: Provided[type[Task]]
    task: Task
    recipe: Recipe
    division: str
    label: str
    source: str
    task_source: str
    doubts: Sequence[str]
    test_rows: int | None
    test_set: str

    @classmethod
    def of(cls, selector: str, division: str, plugins: Plugins) -> AskedTask:
        """Ask the plugin, once for all cells: versions and sources are read from files."""
        provided, task, recipe = resolve(selector, division, plugins)
        provided.ask("parameters", dict[str, Any], of=task)
        trained_on = provided.ask("is_test_trained_on", bool, of=task)
        test_rows = _number_of_test_rows(provided, task)
        return cls(
            provided,
            task,
            recipe,
            provided.call(lambda _: division_of(task, recipe, division)),
            provided.call(lambda _: label(task, recipe, division)),
            provided.ask("source_hash", str, of=task),
            provided.digest(),
            provided.ask("doubts", Sequence[str], of=task),
            test_rows,
            "" if test_rows is None else "trained on" if trained_on else "held out",
        )


def _number_of_test_rows(provided: Provided[type[Task]], task: Task) -> int | None:
    """Return how many rows a task's test set has; None without one.

    Raises:
        PluginError: they are none of which a certificate could speak.
    """
    try:
        if provided.call(lambda _: task.test_rows) is None:
            return None
        return provided.call(lambda _: check_test_rows(task))
    except DataError as error:
        place = place_of(task, "test_rows")
        raise provided.fault(f"{place}{error}: {error.advice}") from error


def asked_tasks(
    selectors: Sequence[str], divisions: Sequence[str], plugins: Plugins
) -> list[AskedTask]:
    """Return the tasks that are asked for; of all, those that can run, and say why others cannot.

    Raises:
        UsageError: one that is named cannot run, or none can.
    """
    if selectors:
        return [AskedTask.of(task, one, plugins) for task in selectors for one in divisions]
    tasks = []
    for name in sorted(plugins.tasks):
        for division in divisions:
            with left_out():
                tasks.append(AskedTask.of(name, division, plugins))
    if not tasks:
        raise UsageError("--task: expected a task that can run; received none")
    return tasks


@dataclass(frozen=True)
class AskedBackend:
    """A backend that is asked for, and all that its plugin's code says of it."""

    provided: Provided[Backend]
    engines: Sequence[str]
    versions: dict[str, str]
    variables: frozenset[str]
    source: str

    @classmethod
    def of(cls, provided: Provided[Backend], device: str, threads: int) -> AskedBackend:
        """Ask the plugin, once for all cells; what a run asks later, it answers now."""
        for flag in ("trains", "reference", "uses_keras", "custom_gradient"):
            provided.ask(flag, bool)
        provided.requires()
        provided.ask("extra", str | None)
        provided.ask("lstm_options", dict[str, Any])
        provided.ask("why_unavailable", str | None)
        provided.ask("why_no_training", str | None)
        provided.ask("keras_backend", str)
        engines = provided.ask("engines", Sequence[str])
        if not engines or not {*engines} <= {*ENGINES}:
            raise provided.refused("engines", f"some of {', '.join(ENGINES)}", engines)
        _variables(provided, "smoke_environment")
        return cls(
            provided,
            engines,
            provided.ask("versions", dict[str, str]),
            _variables(provided, "environment", device, threads)
            | _variables(provided, "cache_environment", "folder"),
            provided.digest(),
        )


def _variables(provided: Provided[Backend], method: str, *arguments: object) -> frozenset[str]:
    """Return the names of the variables that a method gives, which a process can be given."""
    environment: dict[str, str] = provided.ask(method, dict[str, str], *arguments)
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            expected = "variables that a process can have, without = in a name and without NUL"
            raise provided.refused(method, expected, {name: value})
    return frozenset(environment)


def why_not_here(provided: Provided[Backend], *reasons: str) -> str | None:
    """Return why a backend cannot train on this machine, and how to install it; None if it can.

    Args:
        provided: the backend.
        reasons: its methods that say so, if it is not for training.
    """
    provided.requires()  # looked at first: what is none would be named as not installed
    for method in reasons or ("why_no_training", "why_unavailable"):
        if (why := provided.ask(method, str | None)) is not None:
            return str(why)
    return None


def check_backends(names: Iterable[str], plugins: Plugins, *reasons: str) -> None:
    """Raise UsageError where a backend that is named cannot run here; see `why_not_here`."""
    for name in names:
        why = why_not_here(plugins.backends[name], *reasons)
        if why is not None:
            raise UsageError(f"--backend {name}: it cannot run here: {why}")


def left_out_here(plugins: Plugins) -> dict[str, str]:
    """Return the installed backends that cannot train on this machine, each with the reason.

    Those that only predict are none of them: nobody expects them to train.

    Raises:
        UsageError: there is no other.
    """
    reasons: dict[str, str] = {}
    able = 0
    for name, provided in sorted(plugins.backends.items()):
        with contextlib.suppress(UsageError):  # its plugin is at fault: the plan says so
            if provided.ask("trains", bool):
                why = why_not_here(provided)
                able += why is None
                reasons |= {} if why is None else {name: why}
    if reasons and not able:
        raise UsageError(f"--backend: expected one that can run here; {in_one_line(reasons)}")
    return reasons


def in_one_line(reasons: Mapping[str, str]) -> str:
    """Return in words which backends cannot run here, and why."""
    return f"not run here: {'; '.join(f'{name} ({why})' for name, why in reasons.items())}"


def asked_backends(
    names: Sequence[str],
    device: str,
    threads: int,
    plugins: Plugins,
    without: Sequence[str] = (),
) -> list[AskedBackend]:
    """Return the backends that are asked for; of all, those that can plan; see `asked_tasks`.

    Args:
        names: of those that are asked for; none for all.
        device: of the trials.
        threads: of the trials.
        plugins: where they come from.
        without: those of all that are left out.
    """
    if names:
        return [AskedBackend.of(plugins.backends[name], device, threads) for name in names]
    backends = []
    for _, provided in sorted(plugins.backends.items()):
        with left_out():
            if provided.ask("trains", bool):
                asked = AskedBackend.of(provided, device, threads)  # or it says what is wrong
                if provided.value.name not in without:
                    backends.append(asked)
    return backends


@contextlib.contextmanager
def left_out() -> Iterator[None]:
    """Say that something is left out which nobody named and which cannot run."""
    try:
        yield
    except UsageError as error:
        say_once(f"left out: {message_of(error)}")


say_once = functools.cache(say)
"""A plan is made several times."""


def resolve(
    selector: str, division: str, plugins: Plugins
) -> tuple[Provided[type[Task]], Task, Recipe]:
    """Turn `name[key=value,...]` into a task and its recipe in that division.

    A key is a parameter of the task or a field of the recipe.

    Raises:
        UsageError: the selector is malformed, or a name or value in it is wrong.
    """
    name, values = parsed("--task", selector)
    provided = plugins.tasks[name]
    kind = provided.value
    for key in values:
        if key not in {*kind.model_fields, *Recipe.model_fields}:
            known = [*kind.model_fields, *Recipe.model_fields]
            raise UnknownNameError(f"parameter of {provided.what}:", key, known)
    parameters = {k: v for k, v in values.items() if k in kind.model_fields}
    changes = {k: v for k, v in values.items() if k in Recipe.model_fields}
    incomplete = why_incomplete("--task", name, kind, values)
    if incomplete is not None:
        raise UsageError(f"task {name} {incomplete}{provided.source.option}")
    try:
        task = provided.call(lambda kind: kind.model_validate(parameters))
    except ValidationError as error:
        if not parameters:
            raise provided.fault(f"{place_of(kind)}its defaults: {explained(error)}") from error
        raise UsageError(f"--task {selector}: {explained(error)}") from error
    provided.ask("framing", Framing, of=task)
    if provided.ask("recipe", Recipe | None, division, of=task) is None:
        others = [one for one in DIVISIONS if provided.ask("recipe", Recipe | None, one, of=task)]
        hint = f"; it has: --division {others[0]}" if others else ""
        raise UsageError(f"task {name} has no {division} recipe{hint}")
    default = provided.call(lambda _: default_recipe(task, division))
    assert default is not None  # it has a recipe
    try:
        recipe = Recipe.model_validate({**default.model_dump(), **changes})
    except ValidationError as error:
        raise UsageError(f"--task {selector}: {explained(error)}") from error
    samples = provided.call(lambda _: task.framing.samples)
    try:
        updates_per_epoch(samples, recipe)
    except UsageError as error:
        raise UsageError(f"--task {selector}: {error}") from error
    return provided, task, recipe
