"""Turn what is asked for into trials, in the order in which they run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from pydantic import BaseModel, ValidationError

from echobench.core.backend import Backend
from echobench.core.experiment import updates_per_epoch
from echobench.core.sequences import Framing
from echobench.core.task import Recipe, Task
from echobench.core.versions import module_version
from echobench.errors import UnknownNameError, UsageError
from echobench.machine import privacy
from echobench.plugin.catalog import Provided
from echobench.plugin.failures import message_of, place_of
from echobench.plugin.manager import Plugins
from echobench.text import say
from echobench.trial.cell import StoredTrial
from echobench.trial.selectors import (
    default_recipe,
    division_of,
    explained,
    label,
    parsed,
    why_incomplete,
)
from echobench.trial.trial import (
    BOUND,
    BUDGET,
    DIVISIONS,
    ENGINES,
    FIRST_TUNING_SEED,
    QUICK_BOUND,
    QUICK_EPOCHS,
    SUSTAIN,
    Trial,
)
from echobench.trial.variables import COMMON, uncommon, why_refused

LEAST_BOUND, MOST_BOUND = 1e-6, 0.5
"""Of an error rate: the least needs four million sequences, the most says nothing."""


class Selection(BaseModel):
    """The trials that are asked for; empty lists mean all that are installed.

    Attributes:
        tasks: NAME or NAME[key=value,...], keys of the task's parameters and of its recipe.
        backends: names of backends.
        engines: names of engines; empty for each backend's usual one.
        divisions: `closed`, `open` or both.
        seeds: number of seeds of each cell, from `first_seed` on.
        first_seed: 0, or `FIRST_TUNING_SEED` in a search.
        repeats: runs of each cell and seed.
        device: `cpu` or `gpu`.
        threads: of a worker.
        smt: whether each hyperthread of a core takes one of them.
        max_epochs: budget of a trial; ten times its recipe's epochs.
        bound: of the sequence error rate that a certificate excludes; None for the usual one.
        timeout_s: limit of a trial, in seconds.
        cache: whether to keep and use compiled programs.
        replicates: seeds trained together in one program; 0 for one at a time.
        devices: over which each batch is split in equal parts.
        environment: variables that workers are handed, by name.
        quick: whether these are smoke runs, which are kept apart.
    """

    tasks: list[str] = []
    backends: list[str] = []
    engines: list[str] = []
    divisions: list[str] = ["closed"]
    seeds: int = 1
    first_seed: int = 0
    repeats: int = 1
    device: str = "cpu"
    threads: int = 1
    smt: bool = False
    max_epochs: int | None = None
    bound: float | None = None
    timeout_s: float = 600.0
    cache: bool = False
    replicates: int = 0
    devices: int = 1
    environment: dict[str, str] = {}
    quick: bool = False


def plan(selection: Selection, plugins: Plugins) -> list[Trial]:
    """Return the trials: seed by seed, the cells of each seed in seeded random order.

    Repeats of a cell are further cells, so that they lie between the others.

    Raises:
        UsageError: an unknown name, or a parameter or number out of range.
    """
    for engine in selection.engines:
        _among("engine", engine, ENGINES)
    for division in selection.divisions:
        _among("division", division, DIVISIONS)
    check_device(selection.device)
    for option in ("seeds", "repeats", "devices", "threads", "max_epochs"):
        number = getattr(selection, option)
        if number is not None and number < 1:
            name = option.replace("_", "-")
            raise UsageError(f"--{name}: expected 1 or more; received {number}")
    if selection.bound is not None and not LEAST_BOUND <= selection.bound <= MOST_BOUND:
        raise UsageError(
            f"--bound: expected an error rate from {LEAST_BOUND:g} to {MOST_BOUND:g}; received "
            f"{selection.bound:g}"
        )
    if not selection.first_seed and selection.seeds > FIRST_TUNING_SEED:
        raise UsageError(
            f"--seeds: expected at most {FIRST_TUNING_SEED:,}, the first seed of searches; "
            f"received {selection.seeds:,}"
        )
    check_variables(selection.environment)
    if selection.replicates < 0 or selection.replicates == 1:
        raise UsageError(f"--replicates: expected 2 or more; received {selection.replicates}")
    if selection.replicates and selection.cache:
        raise UsageError("--replicates and --cache: expected one of them")
    if selection.replicates and selection.devices > 1:
        raise UsageError("--devices and --replicates: expected one of them")
    tasks, backends = _tasks(selection, plugins), _backends(selection, plugins)
    cells = [
        (repeat, asked, backend, engine)
        for asked in tasks
        for backend in backends
        for engine in _engines(selection, backend)
        for repeat in range(selection.repeats)
    ]
    for _, asked, backend, _ in cells if selection.environment else ():
        _check_variables_of(selection, asked.division, backend)
    for asked in tasks:
        samples = asked.recipe.batch * asked.recipe.sequences
        if samples % selection.devices:
            raise UsageError(
                f"--devices {selection.devices}: expected a divisor of the {samples} samples in an "
                f"update of {asked.task.name}; see its batch and sequences"
            )
    for asked in tasks:
        for doubt in asked.doubts:
            _say_once(f"{asked.task.name}: {doubt}")
    firsts = [_trial(selection, 0, *cell) for cell in cells]
    keys = [trial.key for trial in firsts]
    trials = []
    for seed in range(selection.first_seed, selection.first_seed + selection.seeds):
        once: dict[str, Trial] = {}
        for number in np.random.default_rng(seed).permutation(len(firsts)):
            once.setdefault(keys[number], firsts[number])
        trials += [trial.model_copy(update={"seed": seed}) for trial in once.values()]
    return trials


@dataclass(frozen=True)
class _Asked:
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
    def of(cls, selector: str, division: str, plugins: Plugins) -> _Asked:
        """Ask the plugin, once for all cells: versions and sources are read from files."""
        provided, task, recipe = resolve(selector, division, plugins)
        provided.ask("parameters", dict[str, Any], of=task)
        rows = provided.ask("test_rows", np.ndarray | None, of=task)
        if rows is not None and not len(rows):
            raise provided.fault("expected `test_rows` to give a row at least; received none")
        trained_on = rows is not None and provided.ask("is_test_trained_on", bool, of=task)
        return cls(
            provided,
            task,
            recipe,
            provided.call(lambda _: division_of(task, recipe, division)),
            provided.call(lambda _: label(task, recipe, division)),
            provided.ask("source_hash", str, of=task),
            provided.digest(),
            provided.ask("doubts", Sequence[str], of=task),
            None if rows is None else len(rows),
            "" if rows is None else "trained on" if trained_on else "held out",
        )


def _tasks(selection: Selection, plugins: Plugins) -> list[_Asked]:
    """Return the tasks that are asked for; of all, those that can run, and say why others cannot.

    Raises:
        UsageError: one that is named cannot run, or none can.
    """
    divisions = _unique(selection.divisions)
    if selection.tasks:
        return [_Asked.of(task, one, plugins) for task in selection.tasks for one in divisions]
    tasks = []
    for name in sorted(plugins.tasks):
        for division in divisions:
            with _left_out():
                tasks.append(_Asked.of(name, division, plugins))
    if not tasks:
        raise UsageError("--task: expected a task that can run; received none")
    return tasks


@dataclass(frozen=True)
class _Trains:
    """A backend that is asked for, and all that its plugin's code says of it."""

    provided: Provided[Backend]
    engines: Sequence[str]
    versions: dict[str, str]
    variables: frozenset[str]
    source: str

    @classmethod
    def of(cls, provided: Provided[Backend], device: str, threads: int) -> _Trains:
        """Ask the plugin, once for all cells; what a run asks later, it answers now."""
        provided.ask("why_unavailable", str | None)
        provided.ask("why_no_training", str | None)
        provided.ask("keras_backend", str)
        engines = provided.ask("engines", Sequence[str])
        if not engines:
            raise provided.fault("expected `engines` to name one at least; received none")
        return cls(
            provided,
            engines,
            provided.ask("versions", dict[str, str]),
            frozenset(provided.ask("environment", dict[str, str], device, threads))
            | frozenset(provided.ask("cache_environment", dict[str, str], "folder")),
            provided.digest(),
        )


def _backends(selection: Selection, plugins: Plugins) -> list[_Trains]:
    """Return the backends that are asked for; of all, those that can plan, as `_tasks` does."""
    how = selection.device, selection.threads
    if selection.backends:
        return [_Trains.of(plugins.backends[name], *how) for name in selection.backends]
    backends = []
    for _, provided in sorted(plugins.backends.items()):
        with _left_out():
            if provided.ask("trains", bool):
                backends.append(_Trains.of(provided, *how))
    return backends


@contextmanager
def _left_out() -> Iterator[None]:
    """Say that something is left out which nobody named and which cannot run."""
    try:
        yield
    except UsageError as error:
        _say_once(f"left out: {message_of(error)}")


_say_once = functools.cache(say)
"""A plan is made several times."""


def _engines(selection: Selection, backend: _Trains) -> list[str]:
    """Return the engines asked for that a backend has; its usual one where none is named."""
    name = backend.provided.value.name
    wanted = _unique(selection.engines or backend.engines[:1])
    engines = [engine for engine in wanted if engine in backend.engines]
    if not engines and name in selection.backends:
        raise UsageError(
            f"backend {name!r} has no engine {' or '.join(map(repr, wanted))}; "
            f"it has {', '.join(backend.engines)}"
        )
    return engines


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


def _trial(
    selection: Selection, seed: int, repeat: int, asked: _Asked, backend: _Trains, engine: str
) -> Trial:
    quick, recipe = selection.quick, asked.recipe
    trial = Trial(
        task=asked.task.name,
        parameters=asked.task.parameters(),
        label=asked.label,
        plugins=sorted({asked.provided.plugin, backend.provided.plugin}),
        backend=backend.provided.value.name,
        engine=engine,
        division=asked.division,
        device=selection.device,
        threads=selection.threads,
        seed=seed,
        recipe=recipe,
        max_epochs=selection.max_epochs or (QUICK_EPOCHS if quick else BUDGET * recipe.epochs),
        timeout_s=selection.timeout_s,
        **_evaluated_on(selection, asked),
        sustain=0 if quick or selection.replicates else SUSTAIN,
        quick=quick,
        repeat=repeat,
        cache=selection.cache,
        replicates=selection.replicates,
        devices=selection.devices,
        smt=selection.smt,
        environment=dict(sorted(selection.environment.items())),
        versions={"echobench": module_version("echobench"), **backend.versions},
        source=asked.source,
        task_source=asked.task_source,
        backend_source=backend.source,
    )
    try:
        StoredTrial.of(trial)
    except (msgspec.ValidationError, OverflowError) as error:
        raise UsageError(
            f"{trial.name}: expected numbers that a record can hold, of at most 64 bits; {error}"
        ) from error
    return trial


def _evaluated_on(selection: Selection, asked: _Asked) -> dict[str, Any]:
    """Return the fields that say on how many sequences a trial is evaluated and certified."""
    if asked.test_rows is None:
        return {"bound": selection.bound or (QUICK_BOUND if selection.quick else BOUND)}
    if selection.bound is not None:
        raise UsageError(
            f"--bound: expected none for task {asked.task.name!r}, whose certificate says that "
            f"all {asked.test_rows:,} sequences of its test set came out right"
        )
    return {"bound": 0.0, "screen": asked.test_rows, "test_set": asked.test_set}


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise UsageError unless a user may hand these variables to workers, and records hold them."""
    for name, value in variables.items():
        refused = why_refused(name, value)
        if refused is not None:
            raise UsageError(f"--env {name}: {refused}")
        published = privacy.redact(value)
        if published != value:
            raise UsageError(
                f"--env {name}: expected a value that a record can publish, without names of this "
                f"machine, its users and their folders; of the one received it would keep "
                f"{published!r}"
            )


def _check_variables_of(selection: Selection, division: str, backend: _Trains) -> None:
    """Raise UsageError where a backend sets a variable itself, or the closed division has none."""
    for name in selection.environment:
        if name in backend.variables:
            backend_name = backend.provided.value.name
            raise UsageError(f"--env {name}: backend {backend_name!r} sets it itself")
    refused = uncommon(selection.environment) if division == "closed" else []
    if refused:
        raise UsageError(
            f"--env {refused[0]}: expected a variable that acts on every backend alike "
            f"({', '.join(COMMON)}); others may speed up one backend alone, and only --division "
            "open takes them"
        )


def check_device(device: str) -> None:
    """Raise UsageError unless it is `cpu` or `gpu`."""
    if device not in {"cpu", "gpu"}:
        raise UsageError(f"--device: expected cpu or gpu; received {device!r}")


def _among(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
