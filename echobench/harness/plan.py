"""Turn what is asked for into trials, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from pydantic import BaseModel

from echobench.core.versions import module_version
from echobench.errors import UnknownNameError, UsageError
from echobench.harness.asking import AskedBackend, AskedTask, asked_backends, asked_tasks, say_once
from echobench.machine import privacy
from echobench.plugin.manager import Plugins
from echobench.trial.cell import StoredTrial
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
        without: names of backends that are left out where all are meant.
        engines: names of engines; empty for each backend's usual one.
        divisions: `closed`, `open` or both.
        seeds: number of seeds of each cell, from `first_seed` on.
        first_seed: 0, or `FIRST_TUNING_SEED` in a search.
        repeats: runs of each cell and seed.
        forks: processes over which the seeds of a cell are dealt; None for the usual number.
        device: `cpu` or `gpu`.
        threads: of a worker.
        smt: whether each hyperthread of a core takes one of them.
        side_by_side: jobs under way at once on this machine; a session sets it to what its executor
            does (`Options.jobs`).
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
    without: list[str] = []
    engines: list[str] = []
    divisions: list[str] = ["closed"]
    seeds: int = 1
    first_seed: int = 0
    repeats: int = 1
    forks: int | None = None
    device: str = "cpu"
    threads: int = 1
    smt: bool = False
    side_by_side: int = 1
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
    for option in ("seeds", "repeats", "forks", "devices", "threads", "max_epochs"):
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
    if selection.replicates and selection.forks is not None:
        raise UsageError("--replicates and --forks: expected one of them")
    if selection.replicates and selection.cache:
        raise UsageError("--replicates and --cache: expected one of them")
    if selection.replicates and selection.devices > 1:
        raise UsageError("--devices and --replicates: expected one of them")
    backends = asked_backends(
        _unique(selection.backends),
        selection.device,
        selection.threads,
        plugins,
        selection.without,
    )
    tasks = asked_tasks(selection.tasks, _unique(selection.divisions), plugins)
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
            say_once(f"{asked.task.name}: {doubt}")
    firsts = [_trial(selection, 0, *cell) for cell in cells]
    keys = [trial.key for trial in firsts]
    trials = []
    for seed in range(selection.first_seed, selection.first_seed + selection.seeds):
        once: dict[str, Trial] = {}
        for number in np.random.default_rng(seed).permutation(len(firsts)):
            once.setdefault(keys[number], firsts[number])
        trials += [trial.model_copy(update={"seed": seed}) for trial in once.values()]
    return trials


def _engines(selection: Selection, backend: AskedBackend) -> list[str]:
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


def _trial(
    selection: Selection,
    seed: int,
    repeat: int,
    asked: AskedTask,
    backend: AskedBackend,
    engine: str,
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
        side_by_side=selection.side_by_side,
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


def _evaluated_on(selection: Selection, asked: AskedTask) -> dict[str, Any]:
    """Return the fields that say on how many sequences a trial is evaluated and certified."""
    if asked.test_rows is None:
        return {"bound": selection.bound or (QUICK_BOUND if selection.quick else BOUND)}
    if selection.bound is not None:
        raise UsageError(
            f"--bound: expected none for task {asked.task.name!r}, whose certificate says that "
            "its whole test set came out right"
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


def _check_variables_of(selection: Selection, division: str, backend: AskedBackend) -> None:
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
