"""Closed or open: whether a record's recipe is the one its division says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import ValidationError

from echobench.core.task import Recipe, Task
from echobench.harness.plan import default_recipe
from echobench.plugins import Plugins
from echobench.results.record import Record

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
    task = _task(record, plugins)
    if task is None:
        yield "error", "trial", f"its parameters are none of task {name!r}"
        return
    if task.source_hash() != record.trial.get("source"):
        yield "warning", "task source", "differs from the task that is installed here"
    changed = _differences(record, task)
    if changed:
        yield "error", "division", f"is open, not closed: {'; '.join(changed)}"


def sorted_out(records: Iterable[Record], plugins: Plugins) -> tuple[list[Record], list[str]]:
    """Return records, those that say closed and are open moved there, and why each was.

    A task that is not installed here, or not in this version, is taken at its word.
    """
    found, moved = [], []
    for record in records:
        task = _task(record, plugins) if record.division == "closed" else None
        same_version = task is not None and task.source_hash() == record.trial.get("source")
        changed = _differences(record, task) if task is not None and same_version else []
        if changed:
            name = f"{record.task} {record.backend} {record.engine} seed {record.seed}"
            moved.append(f"{name}, recorded as closed, counts as open: {'; '.join(changed)}")
            trial = {**record.trial, "division": "open"}
            record = record.model_copy(update={"division": "open", "trial": trial})
        found.append(record)
    return found, moved


def _task(record: Record, plugins: Plugins) -> Task | None:
    """Return the task of a record as it is installed here, if it is."""
    name = record.trial.get("task", record.task)
    if name not in plugins.tasks:
        return None
    try:
        return plugins.task(name).value(**record.trial.get("parameters", {}))
    except ValidationError:
        return None


def _differences(record: Record, task: Task) -> list[str]:
    """Return in which fields a record's recipe is not the closed one of its task."""
    recipe = default_recipe(task, "closed")
    if recipe is None:
        return [f"task {task.name!r} has no closed recipe"]
    try:
        told = Recipe.model_validate(record.trial.get("recipe"))
    except ValidationError as error:
        return [f"its recipe is none ({error.errors()[0]['msg']})"]
    return [
        f"{name}={getattr(told, name)} instead of {value}"
        for name, value in recipe.model_dump().items()
        if getattr(told, name) != value
    ]
