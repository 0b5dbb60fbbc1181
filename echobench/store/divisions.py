"""Closed or open: whether a record's recipe is the one its division says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from echobench.core.task import Recipe, Task
from echobench.plugin.manager import Plugins
from echobench.trial.cell import Cell, StoredRecipe
from echobench.trial.record import Record
from echobench.trial.selectors import default_recipe

Severity = Literal["error", "warning"]


def check(record: Record, plugins: Plugins) -> Iterator[tuple[Severity, str, str]]:
    """Check a closed record against its task's closed recipe, field by field.

    Yields how bad it is, what it is about, and what differs.
    """
    trial = record.trial
    if record.division != "closed":
        return
    if trial.task not in plugins.tasks:
        message = f"task {trial.task!r} is not installed: its recipe is unchecked"
        yield "warning", "division", message
        return
    task = _task(trial.task, trial.parameters, plugins)
    if task is None:
        yield "error", "trial", f"its parameters are none of task {trial.task!r}"
        return
    if task.source_hash() != trial.source:
        yield "warning", "task source", "differs from the task that is installed here"
    changed = _differences(trial.recipe, task)
    if changed:
        yield "error", "division", f"is open, not closed: {'; '.join(changed)}"


def sorted_out(records: Iterable[Record], plugins: Plugins) -> tuple[list[Record], list[str]]:
    """Return records, those with an open recipe moved from closed to open, and the reasons.

    Records of a task that is not installed here, or in another version, stay as they are.
    """
    sorted_records, reasons = [], []
    for record in records:
        why = why_open(record.cell, record.division, plugins)
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
    """Return how the recipe of a closed cell differs from its task's, if the task is installed.

    Args:
        cell: of trials.
        division: the one in the records.
        plugins: tasks that are installed here.
    """
    if division != "closed":
        return []
    task = _task(cell.task, dict(cell.parameters), plugins)
    if task is None or task.source_hash() != cell.source:
        return []
    return _differences(cell.recipe, task)


def _task(name: str, parameters: Mapping[str, Any], plugins: Plugins) -> Task | None:
    """Return the task of a trial as it is installed here, if it is."""
    if name not in plugins.tasks:
        return None
    try:
        return plugins.task(name).value(**parameters)
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
