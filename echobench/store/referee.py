"""The referee: check whether records from elsewhere can be true, and in their own division."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from echobench.core.backend import hidden
from echobench.core.outline import NativeProgram
from echobench.core.sequences import Integers, stream
from echobench.core.target import BLOCK
from echobench.core.task import Recipe, Task
from echobench.errors import NetworkError, PluginError, UnsupportedError
from echobench.plugin.manager import Plugins
from echobench.store.crosscheck import Crosscheck, Severity
from echobench.store.reading import Complaints, Damage, Line, canonical, decoded, read_numbered
from echobench.store.rules import (
    FRESH,
    RULES,
    doubts,
    trial_matches,
    updates_per_epoch,
    wrong_tokens,
)
from echobench.trial.cell import Cell, StoredRecipe, StoredTrial
from echobench.trial.record import Record
from echobench.trial.selectors import default_recipe, label, names_path, not_read, recorded_task
from echobench.trial.trial import DIVISIONS
from echobench.trial.variables import uncommon

FRAMEWORKS = ("equinox", "flax", "jax", "keras", "tensorflow", "torch")
"""What no task may import where records are checked."""
DRAWS = "expected a bound: the task has no test set"
CACHED = 10_000
"""Cells, and seeds of tasks, whose expectations are kept."""

Fault = tuple[Severity, str, str]
"""Severity, subject and message of what is wrong with a record, or unchecked."""


@dataclass(frozen=True)
class Finding:
    """A violation of a rule by a record, or a warning to its readers.

    Attributes:
        where: file and line.
        about: the field or the rule.
        message: what was expected and what was received.
        more: how many later records of the file have the same warning.
    """

    where: str
    severity: Severity
    about: str
    message: str
    more: int = 0


class Expectations(NamedTuple):
    """What a cell's task, as it is installed here, says of its records.

    Attributes:
        faults: of the cell.
        task: None if it is not installed, or in another version.
        flops: operations of an update; None where only a framework can count them.
    """

    faults: list[Fault]
    task: Task | None = None
    flops: int | None = None


def validate(
    paths: Iterable[Path], plugins: Plugins, complaints: Complaints | None = None
) -> tuple[list[Finding], int]:
    """Check all records in files; return the findings in order, and the number of non-empty lines.

    Each damaged line that `complaints` names is a finding too. What several records of a file
    are warned of is one finding.
    """
    found: list[Finding] = []
    damage = complaints or Complaints(say=lambda line: None)
    seen: dict[tuple[str, str, str], tuple[str, bytes]] = {}
    runs: Counter[tuple[str, str]] = Counter()
    together = Crosscheck()
    count = 0

    def complain(one: Damage) -> None:
        if damage(one):
            found.append(Finding(one.where, "error", one.kind, one.why))

    for path in paths:
        warned: dict[Fault, int] = {}
        for line, record in read_numbered(path, decoded, complain):
            count += 1
            where = f"{path}:{line.number}"
            of_this = [*faults(record, plugins), *_twice(line)]
            for fault in of_this:
                if fault[0] == "warning":
                    at = warned.setdefault(fault, len(found))
                    if at < len(found):
                        found[at] = replace(found[at], more=found[at].more + 1)
                        continue
                found.append(Finding(where, *fault))
            machine = record.machine_class
            identity = (record.key, machine, record.started_at)
            digest = hashlib.sha256(canonical(record)).digest()
            if identity in seen:
                first, other = seen[identity]
                message = f"the same trial, started at the same time, as {first}"
                if digest == other:
                    message = f"the same record as {first}"
                found.append(Finding(where, "error", "duplicate", message))
                continue
            seen[identity] = (where, digest)
            runs[record.key, machine] += 1
            if runs[record.key, machine] == 2:
                message = "the same trial was run before; the table takes the later one"
                found.append(Finding(where, "warning", "repeated", message))
            if not any(severity == "error" for severity, *_ in of_this):
                together.add(path, where, record)
    found += [Finding(*each) for each in together.findings()]
    found += [
        Finding(str(path), "error", "damaged", f"{more:,} more lines like these")
        for path, more in damage.unnamed()
    ]
    return found, count + damage.counts["damaged"] + damage.counts["newer"]


def faults(record: Record, plugins: Plugins) -> list[Fault]:
    """Return what is wrong with a record on its own, or unchecked."""
    unlike = list(trial_matches(record))
    if any(about == "trial" for about, _ in unlike):
        return [("error", *violation) for violation in unlike]  # the other rules read the trial
    broken = [*unlike, *(violation for rule in RULES for violation in rule(record))]
    return [
        *(("error", *violation) for violation in broken),
        *_by_task(record, plugins),
        *(("warning", *doubt) for doubt in doubts(record)),
    ]


def _twice(line: Line) -> list[Fault]:
    """Return the names that occur more than once in an object of a line."""
    found: list[Fault] = []

    def pairs(members: list[tuple[str, Any]]) -> None:
        if len(dict(members)) == len(members):
            return
        counts = Counter(name for name, _ in members)
        message = "is there twice in one object; readers differ"
        found.extend(("error", name, message) for name, count in counts.items() if count > 1)

    json.loads(line.raw or b"", object_pairs_hook=pairs)
    return found


def why_impossible(record: Record) -> str | None:
    """Return why a record that was just made cannot be true; None if it can."""
    found = next((violation for rule in FRESH for violation in rule(record)), None)
    return None if found is None else ": ".join(found)


def _by_task(record: Record, plugins: Plugins) -> Iterator[Fault]:
    """Check a record against its task: recipe, updates, operations, and what was asked."""
    if record.trial.task not in plugins.tasks:
        yield from _expectations(record.planned_cell, plugins).faults
        return
    try:
        yield from plugins.tasks[record.trial.task].call(
            lambda _: [*_by_installed_task(record, plugins)]
        )
    except PluginError as error:
        yield "warning", "task", f"unchecked: {error}"


def _by_installed_task(record: Record, plugins: Plugins) -> Iterator[Fault]:
    expected = _expectations(record.planned_cell, plugins)
    yield from expected.faults
    if expected.task is None:
        return
    batches, samples = updates_per_epoch(record), expected.task.framing.samples
    if batches and batches * record.trial.recipe.batch != samples:
        message = (
            f"expected {samples / record.trial.recipe.batch:g} an epoch; there are {batches:g}"
        )
        yield "error", "updates", message
    known = _labels(record.planned_cell, plugins)
    if record.trial.label not in known:
        yield "error", "label", f"expected {known[0]}, by its parameters and recipe"
    unlike = _unlike_test_set(record.trial, expected.task)
    if unlike is not None:
        yield "error", "test_set", unlike
    flops = record.flops_per_update
    if None not in (flops, expected.flops) and flops != expected.flops:
        yield "error", "flops_per_update", f"expected {expected.flops:,}; received {flops:,}"
    asked = [sample.expected for sample in record.samples]
    if asked and asked != _asked(record.planned_cell, record.seed, plugins):
        yield "error", "samples", f"are not those that seed {record.seed} asks for"
    elif any(map(wrong_tokens, record.samples)) and _shows_test_row(record, expected.task):
        message = "an answer is wrong, of a sequence that the certificate says came out right"
        yield "error", "samples", message


@functools.lru_cache(CACHED)
def _labels(cell: Cell, plugins: Plugins) -> list[str]:
    """Return how a plan calls the cell: with what differs from the division that was asked for."""
    task = _expectations(cell, plugins).task
    assert task is not None  # it is installed
    recipe = Recipe.model_validate(msgspec.to_builtins(cell.recipe))
    return [label(task, recipe, division) for division in (cell.division, *DIVISIONS)]


def _unlike_test_set(trial: StoredTrial, task: Task) -> str | None:
    """Return how a trial's test set is not the task's: one that makes rows up has none."""
    rows = task.test_rows
    if rows is None:
        return None  # one that a record claims all the same is a fault of its cell
    kind = "trained on" if task.is_test_trained_on else "held out"
    if (trial.test_set, trial.screen) == (kind, len(rows)):
        return None
    received = f"received {trial.screen:,}, {trial.test_set or 'drawn'}"
    return f"expected the task's {len(rows):,} sequences, {kind}; {received}"


@functools.lru_cache(CACHED)
def _expectations(cell: Cell, plugins: Plugins) -> Expectations:
    closed = cell.division == "closed"
    if cell.task not in plugins.tasks:
        unchecked = "its recipe is" if closed else "its operations are"
        broken = (b.reason for b in plugins.broken if b.plugin == cell.task)
        why = next((f"has a broken plugin ({reason})" for reason in broken), "is not installed")
        message = f"task {cell.task!r} {why}: {unchecked} unchecked"
        return Expectations([("warning", "division" if closed else "task", message)])
    try:
        task = recorded_task(plugins.tasks[cell.task].value, dict(cell.parameters))
    except ValidationError as error:
        lacking = not_read(error)
        if lacking is not None:
            return Expectations([("warning", "task", f"unchecked, without its data: {lacking}")])
        if names_path(error):
            message = "parameters: expected a file's name and its digest; a record names no path"
            return Expectations([("error", "trial", message)])
        message = f"its parameters are none of task {cell.task!r}"
        return Expectations([("error" if closed else "warning", "trial", message)])
    found: list[Fault] = []
    is_installed = is_task_installed(task, cell, plugins)
    if cell.test_set and task.test_rows is None:
        found.append(("error", "test_set", DRAWS))
    if not is_installed:
        found.append(("warning", "task source", "differs from the task that is installed here"))
    changed = _differences(cell.recipe, task) if closed else []
    if changed:
        found.append(("error", "division", f"is open, not closed: {'; '.join(changed)}"))
    return Expectations(found, task, _flops(cell, task)) if is_installed else Expectations(found)


def _flops(cell: Cell, task: Task) -> int | None:
    """Return the operations of an update, of a network that can be counted without a framework."""
    try:
        with hidden(*FRAMEWORKS):
            recipe = Recipe.model_validate(msgspec.to_builtins(cell.recipe))
            return NativeProgram(task, recipe).update_flops()
    except (NetworkError, UnsupportedError, ValidationError):
        return None


@functools.lru_cache(CACHED)
def _asked(cell: Cell, seed: int, plugins: Plugins) -> list[list[int | str | None]] | None:
    """Return what a trial's samples ask for, as its worker draws them."""
    task = _expectations(cell, plugins).task
    if task is None:
        return None
    rows = _displayed(task, seed)
    return [[task.spell(token) for token in sample] for sample in task.expected(rows)[0].tolist()]


def _displayed(task: Task, seed: int) -> Integers:
    return task.sample_for_display(stream(seed, "samples"), BLOCK)


def _shows_test_row(record: Record, task: Task) -> bool:
    """Return whether a certified trial shows answers to a row of its task's test set."""
    rows = task.test_rows
    if record.status != "reached" or not record.trial.test_set or rows is None:
        return False
    return bool((rows == _displayed(task, record.seed)[0]).all(axis=1).any())


def sorted_out(records: Iterable[Record], plugins: Plugins) -> tuple[list[Record], list[str]]:
    """Return records, those with an open recipe moved from closed to open, and the reasons.

    Records of a task that is not installed here, or in another version, stay as they are.
    """
    sorted_records, reasons = [], []
    for record in records:
        why = why_open(record.planned_cell, record.division, plugins)
        if why:
            reasons.append(moved(record, why))
            trial = msgspec.structs.replace(record.trial, division="open")
            record = msgspec.structs.replace(record, division="open", trial=trial)
        sorted_records.append(record)
    return sorted_records, reasons


def moved(record: Any, why: Sequence[str]) -> str:
    """Return the sentence that says why a record counts as open."""
    name = f"{record.task} {record.backend} {record.engine} seed {record.seed}"
    return f"{name}, recorded as closed, counts as open: {'; '.join(why)}"


def why_open(cell: Cell, division: str, plugins: Plugins) -> list[str]:
    """Return what is open in a closed cell: variables; its recipe, if the task is installed."""
    if division != "closed":
        return []
    variables = [f"workers were given {name}" for name in uncommon(dict(cell.environment))]
    if cell.task not in plugins.tasks:
        return variables

    def differences(_: type[Task]) -> list[str]:
        task = _task(cell.task, dict(cell.parameters), plugins)
        if task is None or not is_task_installed(task, cell, plugins):
            return []
        return _differences(cell.recipe, task)

    try:
        return variables + plugins.tasks[cell.task].call(differences)
    except PluginError:  # the referee warns of it
        return variables


def is_task_installed(task: Task, cell: Cell, plugins: Plugins) -> bool:
    """Return whether a cell's task is the one that is installed here."""
    ours = plugins.tasks[cell.task].digest() if cell.task_source else ""
    return (task.source_hash(), ours) == (cell.source, cell.task_source)


def _task(name: str, parameters: Mapping[str, Any], plugins: Plugins) -> Task | None:
    """Return the task of a trial as it is installed here, if it is."""
    if name not in plugins.tasks:
        return None
    try:
        return recorded_task(plugins.tasks[name].value, parameters)
    except ValidationError:
        return None


def _differences(stored: StoredRecipe, task: Task) -> list[str]:
    """Return in which fields a trial's recipe is not the closed one of its task."""
    recipe = default_recipe(task, "closed")
    if recipe is None:
        return [f"task {task.name!r} has no closed recipe"]
    try:
        recorded = Recipe.model_validate(msgspec.to_builtins(stored))
    except ValidationError as error:
        return [f"its recipe is none ({error.errors()[0]['msg']})"]
    return [
        f"{name}={getattr(recorded, name)} instead of {value}"
        for name, value in recipe.model_dump().items()
        if getattr(recorded, name) != value
    ]
