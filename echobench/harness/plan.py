"""From selectors to cells to trials, in the order in which they run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from echobench.core.backend import Backend
from echobench.core.task import Recipe, Task
from echobench.errors import UnknownNameError, UsageError
from echobench.plugins import Plugins, Provided

ENGINES = ("fused", "fit", "native")
DIVISIONS = ("closed", "open")
SCREEN, CERTIFY = 50, 1000
SUSTAIN = 3
BUDGET = 10
"""Times the recipe's epochs that a trial may take."""
QUICK_EPOCHS, QUICK_CERTIFY = 20, 50
ADDED_LATER = {"repeat": 0, "sustain": 0, "cache": False, "replicates": 0, "devices": 1}
"""Fields of a trial that older records lack, and what they were then: no part of its key."""
FIRST_TUNING_SEED = 1_000_000
"""From here on seeds are those of `echobench tune`, and no other command reaches them: a
recipe must not be chosen by the seeds that it is then reported on."""


class Trial(BaseModel):
    """A cell with one seed: all that a worker is told.

    Attributes:
        task, parameters: the task and the parameters that differ from its defaults.
        label: both, as `--task` takes them.
        plugins: where task and backend come from (`Provided.plugin`).
        max_epochs: budget in epochs.
        timeout_s: limit of the worker's wall time.
        screen, certify: fresh sequences of an evaluation and of a certificate.
        sustain: evaluations after the hit, to see whether it lasts.
        quick: a smoke run, never mixed with real records.
        repeat: 0, or which further run of the same cell and seed it is.
        cache: whether compiled programs may come from an earlier worker's.
        replicates: how many seeds train in one program; 0 for one seed alone.
        devices: over how many of the machine's devices it is trained, each batch in equal parts.
        versions: of echobench, Keras and the framework.
        source: digest of the task's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    parameters: dict[str, Any]
    label: str
    plugins: list[str]
    backend: str
    engine: str
    division: str
    device: str
    threads: int
    seed: int
    recipe: Recipe
    max_epochs: int
    timeout_s: float
    screen: int = SCREEN
    certify: int = CERTIFY
    sustain: int = 0
    quick: bool = False
    repeat: int = 0
    cache: bool = False
    replicates: int = 0
    devices: int = 1
    versions: dict[str, str]
    source: str

    @property
    def key(self) -> str:
        """Return what makes this trial the same as another: a digest of all it is told.

        The time limit is left out: a trial that ended within one limit would
        have ended within a longer one.
        """
        return trial_key(self.model_dump(mode="json"))

    @property
    def name(self) -> str:
        """Return a short name for people."""
        again = f" repeat {self.repeat}" if self.repeat else ""
        spread = f" on {self.devices} devices" if self.devices > 1 else ""
        cell = f"{self.label} {self.backend} {self.engine} {self.division}"
        return f"{cell} seed {self.seed}{again}{spread}"


def trial_key(told: Mapping[str, Any]) -> str:
    """Return the digest of a trial, as JSON has it; older ones have fewer fields."""
    kept = {
        name: value
        for name, value in told.items()
        if name not in {"timeout_s", "plugins"} and not is_usual(name, value)
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def is_usual(name: str, value: Any) -> bool:
    """Return whether a trial's field says what those said that had no such field."""
    return name in ADDED_LATER and (value or ADDED_LATER[name]) == ADDED_LATER[name]


class Selection(BaseModel):
    """What the user asked for; empty lists mean all.

    Seeds count from `first_seed`: 0, or `FIRST_TUNING_SEED` in a search.
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
    max_epochs: int | None = None
    timeout_s: float = 600.0
    cache: bool = False
    replicates: int = 0
    devices: int = 1
    quick: bool = False


def plan(selection: Selection, plugins: Plugins) -> list[Trial]:
    """Return the trials: seed by seed, the cells of each seed in seeded random order.

    Repeats of a cell are further cells, so that they lie between the others.

    Raises:
        UsageError: a name, parameter or number that cannot be.
    """
    for engine in selection.engines:
        _among("engine", engine, ENGINES)
    for division in selection.divisions:
        _among("division", division, DIVISIONS)
    if selection.seeds < 1:
        raise UsageError(f"--seeds: expected 1 or more; received {selection.seeds}")
    if not selection.first_seed and selection.seeds > FIRST_TUNING_SEED:
        raise UsageError(
            f"--seeds: expected at most {FIRST_TUNING_SEED:,}, the first seed of searches; "
            f"received {selection.seeds:,}"
        )
    if selection.repeats < 1:
        raise UsageError(f"--repeats: expected 1 or more; received {selection.repeats}")
    if selection.replicates < 0 or selection.replicates == 1:
        raise UsageError(f"--replicates: expected 2 or more; received {selection.replicates}")
    if selection.replicates and selection.cache:
        raise UsageError("--replicates and --cache: expected one of them")
    if selection.devices < 1:
        raise UsageError(f"--devices: expected 1 or more; received {selection.devices}")
    if selection.devices > 1 and selection.replicates:
        raise UsageError("--devices and --replicates: expected one of them")
    if selection.threads < 1:
        raise UsageError(f"--threads: expected 1 or more; received {selection.threads}")
    if selection.max_epochs is not None and selection.max_epochs < 1:
        raise UsageError(f"--max-epochs: expected 1 or more; received {selection.max_epochs}")
    training = sorted(name for name, found in plugins.backends.items() if found.value.trains)
    backends = [plugins.backend(name) for name in selection.backends or training]
    selectors = selection.tasks or sorted(plugins.tasks)
    tasks = [
        (division, *resolve(selector, division, plugins))
        for selector in selectors
        for division in _unique(selection.divisions)
    ]
    cells = [
        (repeat, division, provided, task, recipe, backend, engine)
        for division, provided, task, recipe in tasks
        for backend in backends
        for engine in _engines(selection, backend.value)
        for repeat in range(selection.repeats)
    ]
    for _, _, task, recipe in tasks:
        samples = recipe.batch * recipe.sequences
        if samples % selection.devices:
            raise UsageError(
                f"--devices {selection.devices}: expected a divisor of the {samples} samples in an "
                f"update of {task.name}; see its batch and sequences"
            )
    # All but the seed is found out once a cell: versions and sources are read from files.
    firsts = [_trial(selection, 0, *cell) for cell in cells]
    keys = [trial.key for trial in firsts]
    trials = []
    for seed in range(selection.first_seed, selection.first_seed + selection.seeds):
        once: dict[str, Trial] = {}
        for place in np.random.default_rng(seed).permutation(len(firsts)):
            once.setdefault(keys[place], firsts[place])
        trials += [trial.model_copy(update={"seed": seed}) for trial in once.values()]
    return trials


def _engines(selection: Selection, backend: Backend) -> list[str]:
    """Return the engines asked for that a backend has; without a wish its usual one."""
    wanted = _unique(selection.engines or backend.engines[:1])
    found = [engine for engine in wanted if engine in backend.engines]
    if not found and backend.name in selection.backends:
        raise UsageError(
            f"backend {backend.name!r} has no engine {' or '.join(map(repr, wanted))}; "
            f"it has {', '.join(backend.engines)}"
        )
    return found


def resolve(
    selector: str, division: str, plugins: Plugins
) -> tuple[Provided[type[Task]], Task, Recipe]:
    """Turn `name[key=value,...]` into a task and its recipe in that division.

    A key is a parameter of the task or a field of the recipe.

    Raises:
        UsageError: the selector is malformed, or names what is not or cannot be.
    """
    name, values = parsed("--task", selector)
    provided = plugins.task(name)
    kind = provided.value
    for key in values:
        if key not in {*kind.model_fields, *Recipe.model_fields}:
            known = [*kind.model_fields, *Recipe.model_fields]
            raise UnknownNameError(f"parameter of task {kind.name!r}:", key, known)
    try:
        parameters = {k: v for k, v in values.items() if k in kind.model_fields}
        task = kind.model_validate(parameters)
        changes = {k: v for k, v in values.items() if k in Recipe.model_fields}
        default = default_recipe(task, division)
        if default is None:
            raise UsageError(f"task {kind.name!r} has no {division} recipe")
        recipe = Recipe.model_validate({**default.model_dump(), **changes})
    except ValidationError as error:
        raise UsageError(f"--task {selector}: {explained(error)}") from error
    samples = task.framing.samples
    if samples % recipe.batch:
        raise UsageError(
            f"--task {selector}: expected a batch that divides the {samples} samples of a "
            f"sequence; received batch={recipe.batch}"
        )
    return provided, task, recipe


def default_recipe(task: Task, division: str) -> Recipe | None:
    """Return the task's recipe, its batch scaled with the number of samples.

    A recipe for 3 batches of 7 samples means 3 batches of 8 where the framing
    gives 24, and one batch of all where they cannot be divided so.
    """
    recipe = task.recipe(division)
    if recipe is None:
        return None
    samples, batches = task.framing.samples, type(task)().framing.samples // recipe.batch
    batch = samples // batches if samples % batches == 0 else samples
    return recipe.model_copy(update={"batch": batch})


def _trial(
    selection: Selection,
    seed: int,
    repeat: int,
    division: str,
    provided: Provided[type[Task]],
    task: Task,
    recipe: Recipe,
    backend: Provided[Backend],
    engine: str,
) -> Trial:
    quick = selection.quick
    return Trial(
        task=task.name,
        parameters=task.parameters(),
        label=label(task, recipe, division),
        plugins=sorted({provided.plugin, backend.plugin}),
        backend=backend.value.name,
        engine=engine,
        division=division_of(task, recipe, division),
        device=selection.device,
        threads=selection.threads,
        seed=seed,
        recipe=recipe,
        max_epochs=selection.max_epochs or (QUICK_EPOCHS if quick else BUDGET * recipe.epochs),
        timeout_s=selection.timeout_s,
        certify=QUICK_CERTIFY if quick else CERTIFY,
        sustain=0 if quick or selection.replicates else SUSTAIN,
        quick=quick,
        repeat=repeat,
        cache=selection.cache,
        replicates=selection.replicates,
        devices=selection.devices,
        versions={"echobench": version("echobench"), **backend.value.versions()},
        source=task.source_hash(),
    )


def label(task: Task, recipe: Recipe, division: str) -> str:
    """Return the task as `--task` takes it, with all that differs from its defaults."""
    default = default_recipe(task, division)
    usual = {} if default is None else default.model_dump()
    changed = {k: v for k, v in recipe.model_dump().items() if v != usual.get(k)}
    pairs = ",".join(f"{k}={v}" for k, v in {**task.parameters(), **changed}.items())
    return f"{task.name}[{pairs}]" if pairs else task.name


def division_of(task: Task, recipe: Recipe, division: str) -> str:
    """Return the division a recipe belongs to: closed only if it is the task's closed recipe."""
    return division if division != "closed" or recipe == default_recipe(task, "closed") else "open"


def _among(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def parsed(option: str, selector: str) -> tuple[str, dict[str, str]]:
    """Return the name and the values of `name[key=value,...]`.

    Raises:
        UsageError: it is not written so; the option is named.
    """
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", selector.strip())
    if not match:
        raise UsageError(f"{option}: expected NAME or NAME[key=value,...]; received {selector!r}")
    told = filter(None, (match[2] or "").split(","))
    return match[1], pairs(f"{option} {selector}", told, "key=value")


def pairs(where: str, told: Iterable[str], expected: str) -> dict[str, str]:
    """Return the values of `key=value` pairs, by key.

    Args:
        where: what a complaint begins with.
        told: the pairs.
        expected: how one is written.

    Raises:
        UsageError: one is not written so, or a key is given twice.
    """
    values: dict[str, str] = {}
    for pair in told:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"{where}: expected {expected}; received {pair!r}")
        if key in values:
            raise UsageError(f"{where}: {key!r} is given twice")
        values[key] = value
    return values


def explained(error: ValidationError) -> str:
    """Return pydantic's complaint in one line."""
    parts = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        what = problem["msg"].removeprefix("Value error, ")
        received = f"; received {where}={problem['input']}" if where else ""
        parts.append(f"{what}{received}")
    return "; ".join(parts)
