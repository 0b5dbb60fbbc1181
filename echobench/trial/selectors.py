"""Parse and write the selectors of tasks and executors: NAME[key=value,...]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from echobench.core.experiment import updates_per_epoch
from echobench.core.files import NO_IDENTITY, NOT_READ, RECORDED
from echobench.core.task import Recipe, Task
from echobench.errors import UsageError


def default_recipe(task: Task, division: str) -> Recipe | None:
    """Return the task's recipe, its batch scaled with the number of samples.

    A recipe of 3 batches of 7 samples becomes 3 batches of 8 if the framing gives 24 samples,
    and one batch of all samples if 3 does not divide their number. It is
    meant for the samples of the task's defaults, beside the parameters that have none.

    Raises:
        UsageError: the recipe's batch does not divide the samples of the task's usual framing.
    """
    recipe = task.recipe(division)
    if recipe is None:
        return None
    samples, usual = task.framing.samples, _usual(task).framing.samples
    try:
        batches = updates_per_epoch(usual, recipe)
    except UsageError as error:
        raise UsageError(f"task {task.name!r}, {division} recipe: {error}") from error
    batch = samples // batches if samples % batches == 0 else samples
    return recipe.model_copy(update={"batch": batch})


def _usual(task: Task) -> Task:
    """Return the task with its defaults; itself where those do not fit what has none."""
    kind = type(task)
    try:
        return kind(**{name: getattr(task, name) for name in required(kind)})
    except ValidationError:
        return task


def required(kind: type[BaseModel]) -> list[str]:
    """Return the parameters without a default, such as a file."""
    return [name for name, field in kind.model_fields.items() if field.is_required()]


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


def parsed(option: str, selector: str) -> tuple[str, dict[str, str]]:
    """Return the name and the values of `name[key=value,...]`, or raise UsageError."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", selector.strip())
    if not match:
        raise UsageError(f"{option}: expected NAME or NAME[key=value,...]; received {selector!r}")
    parts = filter(None, (match[2] or "").split(","))
    return match[1], pairs(f"{option} {selector}", parts, "key=value")


def pairs(where: str, parts: Iterable[str], expected: str) -> dict[str, str]:
    """Return the values of `key=value` pairs, by key.

    `where` begins an error message, and `expected` is the form of a pair in it.

    Raises:
        UsageError: a pair has another form, or a key is given twice.
    """
    values: dict[str, str] = {}
    for pair in parts:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"{where}: expected {expected}; received {pair!r}")
        if key in values:
            raise UsageError(f"{where}: {key!r} is given twice")
        values[key] = value
    return values


def recorded_task(kind: type[Task], parameters: Mapping[str, Any]) -> Task:
    """Return the task of parameters that a record holds: it may name no path of a file.

    Raises:
        ValidationError: they are none of the task, or its file cannot be read here; see `not_read`.
    """
    return kind.model_validate(dict(parameters), context=RECORDED)


def names_path(error: ValidationError) -> bool:
    """Return whether a record's parameters name a file otherwise than by its identity."""
    return any(problem["type"] == NO_IDENTITY for problem in error.errors())


def not_read(error: ValidationError) -> str | None:
    """Return why a task's file cannot be read here, if that is what is wrong."""
    messages = (problem["msg"] for problem in error.errors() if problem["type"] == NOT_READ)
    return next(messages, None)


def why_incomplete(
    option: str, name: str, kind: type[BaseModel], values: Mapping[str, str]
) -> str | None:
    """Return which parameters without a default have no value, and how to give one; None if none.

    Args:
        option: that takes the selector, such as `--task`.
        name: of the task or executor.
        kind: its class.
        values: of the selector.
    """
    needed = [field for field in required(kind) if field not in values]
    if not needed:
        return None
    pairs = [*(f"{k}={v}" for k, v in values.items()), *(f"{field}=..." for field in needed)]
    return f"needs {' and '.join(needed)}; write {option} '{name}[{','.join(pairs)}]'"


def explained(error: ValidationError) -> str:
    """Return pydantic's error messages in one line, as what is expected and what was received."""
    parts = []
    for problem in error.errors():
        # A message about a file names it already.
        where = "" if problem["type"] == NOT_READ else ".".join(map(str, problem["loc"]))
        what = re.sub(r"^(Value error|Assertion failed), ", "", problem["msg"])
        what, is_named = re.subn(r"^Input should (be|have) ", rf"expected {where} to \1 ", what)
        received = (
            f"; received {'' if is_named else f'{where}='}{problem['input']}" if where else ""
        )
        parts.append(f"needs {where}" if problem["type"] == "missing" else f"{what}{received}")
    return "; ".join(parts)
