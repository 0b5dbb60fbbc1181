"""Closed or open: whether a record's recipe is the one its division says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from echobench.core.task import Recipe, Task
from echobench.plugin.manager import Plugins
from echobench.trial.record import Record
from echobench.trial.selectors import default_recipe

if TYPE_CHECKING:
    pass

Severity = Literal["error", "warning"]


def check(record: Record, plugins: Plugins) -> Iterator[tuple[Severity, str, str]]:
    """Check a closed record against its task's closed recipe, field by field.

    Yields how bad it is, what it is about, and what differs.
    """
    if record.division != "closed":
        return
    name = record.trial.get("task", record.task)
    if name not in plugins.tasks:
        yield "warning", "division", f"task {name!r} is not installed: its recipe is unchecked"
        return
    task = _task(name, record.trial, plugins)
    if task is None:
        yield "error", "trial", f"its parameters are none of task {name!r}"
        return
    if task.source_hash() != record.trial.get("source"):
        yield "warning", "task source", "differs from the task that is installed here"
    changed = _differences(record.trial, task)
    if changed:
        yield "error", "division", f"is open, not closed: {'; '.join(changed)}"


def sorted_out(records: Iterable[Record], plugins: Plugins) -> tuple[list[Record], list[str]]:
    """Return records, those that say closed and are open moved there, and why each was.

    A task that is not installed here, or not in this version, is taken at its word.
    """
    found, said = [], []
    for record in records:
        why = why_open(record.task, record.division, record.trial, plugins)
        if why:
            said.append(moved(record, why))
            trial = {**record.trial, "division": "open"}
            record = record.model_copy(update={"division": "open", "trial": trial})
        found.append(record)
    return found, said


def moved(record: Any, why: Sequence[str]) -> str:
    """Return the sentence that says why a record counts as open."""
    name = f"{record.task} {record.backend} {record.engine} seed {record.seed}"
    return f"{name}, recorded as closed, counts as open: {'; '.join(why)}"


def why_open(label: str, division: str, trial: Mapping[str, Any], plugins: Plugins) -> list[str]:
    """Return in what a closed trial's recipe is open, as far as the task is known here."""
    task = _task(trial.get("task", label), trial, plugins) if division == "closed" else None
    if task is None or task.source_hash() != trial.get("source"):
        return []
    return _differences(trial, task)


def _task(name: str, trial: Mapping[str, Any], plugins: Plugins) -> Task | None:
    """Return the task of a trial as it is installed here, if it is."""
    if name not in plugins.tasks:
        return None
    try:
        return plugins.task(name).value(**trial.get("parameters", {}))
    except ValidationError:
        return None


def _differences(trial: Mapping[str, Any], task: Task) -> list[str]:
    """Return in which fields a trial's recipe is not the closed one of its task."""
    recipe = default_recipe(task, "closed")
    if recipe is None:
        return [f"task {task.name!r} has no closed recipe"]
    try:
        told = Recipe.model_validate(trial.get("recipe"))
    except ValidationError as error:
        return [f"its recipe is none ({error.errors()[0]['msg']})"]
    return [
        f"{name}={getattr(told, name)} instead of {value}"
        for name, value in recipe.model_dump().items()
        if getattr(told, name) != value
    ]
