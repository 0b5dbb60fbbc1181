"""Check a task: its class and its data here, its network in workers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from echobench.core.backend import Backend
from echobench.core.experiment import updates_per_epoch
from echobench.core.task import Recipe, Task
from echobench.errors import UsageError
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from echobench.testing import checks, data
from echobench.testing.checks import CheckResult, FaultError, Say, SkipError
from echobench.testing.networks import WORKER_CHECKS, check_in_workers
from echobench.trial.selectors import (
    default_recipe,
    explained,
    parsed,
    required,
    why_incomplete,
)
from echobench.trial.trial import DIVISIONS

ORDER = (
    "imports", "recipes", "parameters", "data", "framing", "answers", "chunks", "fresh rows",
    "oracle", *WORKER_CHECKS,
)  # fmt: skip # in two lines it reads better
"""The checks, in the order in which they are listed."""
ADVICE = "give the recipe values that its fields and the framing allow"


def assert_task(
    selector: str, *, backends: Sequence[str] = (), plugins: Sequence[Path | str] = ()
) -> None:
    """Raise AssertionError with the checks that a task fails, if any; see `check_task`."""
    checks.assert_none_failed(selector, check_task(selector, backends=backends, plugins=plugins))


def check_task(
    selector: str,
    *,
    backends: Sequence[str] = (),
    plugins: Sequence[Path | str] = (),
    say: Say = checks.no_progress,
) -> list[CheckResult]:
    """Check a task; about half a minute, since each backend is started once.

    Args:
        selector: the task as `--task` takes it.
        backends: backends to draw the data on; the first that trains also trains the
            network. Default: all that are installed, the reference first.
        plugins: files of plugins that are not installed.
        say: takes a line of progress for whatever takes longer than a second.

    Returns:
        A result for each check; one is skipped if another that it needs failed.

    Raises:
        UsageError: unknown task, parameter or backend, or a named backend is not
            installed.
    """
    loaded = Plugins([Path(plugin) for plugin in plugins])
    name = selector.partition("[")[0].strip()
    provided = loaded.tasks[name]
    chosen = _chosen(backends, loaded)

    kind = provided.value
    _, values = parsed("check task", selector)
    incomplete = why_incomplete("echobench check task", name, kind, values)
    if incomplete is not None:
        raise UsageError(f"task {name} {incomplete}{provided.source.option}")
    results = checks.Results()
    say(f"{name}: loading it in a fresh process")
    results.run("imports", lambda: checks.check_imports(provided.plugin, loaded, name))
    results.run("recipes", lambda: _recipes(kind, values))
    task, recipe = _resolved(selector, loaded, is_usable=results.holds("recipes"))
    if task is None:
        for check in ORDER[2:]:
            results.run(check, str, needs=["recipes"])
        return results.listed(ORDER)
    results.run("parameters", lambda: _parameters(task))
    results.run("data", lambda: data.check_data(task))
    has_rows = results.holds("data")
    results.run("framing", lambda: data.check_framing(task, has_rows=has_rows))
    results.run("answers", lambda: data.check_answers(task), needs=["data", "framing"])
    results.run("chunks", lambda: data.check_chunks(task), needs=["data"])
    results.run("fresh rows", lambda: data.check_fresh_rows(task, recipe), needs=["data"])
    results.run(
        "oracle", lambda: data.check_oracle(task, recipe), needs=["data", "framing", "answers"]
    )
    opened = default_recipe(task, "open") if results.holds("recipes") else None
    recipes = {"closed": recipe, "open": opened}
    kept = {division: one for division, one in recipes.items() if one is not None}
    check_in_workers(results, selector, task, kept, chosen, loaded, say)
    return results.listed(ORDER)


def _resolved(
    selector: str, plugins: Plugins, *, is_usable: bool
) -> tuple[Task | None, Recipe | None]:
    """Return the task that a selector names, and its closed recipe.

    If the task is not usable as its plugin has it, that is its fault and not the selector's: then
    the task with its defaults, if there is one, so that all the rest is checked.

    Raises:
        UsageError: the task is usable, and the selector is wrong.
    """
    try:
        return resolve(selector, "closed", plugins)[1:]
    except UsageError:
        if is_usable:
            raise
    with contextlib.suppress(Exception):  # `recipes` reports it
        return plugins.tasks[selector.partition("[")[0].strip()].value(), None
    return None, None


def _chosen(names: Sequence[str], plugins: Plugins) -> list[Backend]:
    """Return the named backends, or all that are installed."""
    if not names:
        return checks.usable_backends(plugins, training=False)
    chosen = []
    for name in dict.fromkeys(names):
        provided = plugins.backends[name]
        missing = provided.ask("why_unavailable", str | None)
        if missing is not None:
            raise UsageError(f"--backend {name}: {missing}")
        chosen.append(provided.value)
    return chosen


def _recipes(kind: type[Task], values: Mapping[str, str]) -> str:
    """Check that there is a closed recipe, and that each recipe's batch divides the samples.

    They are those of the task's defaults; of `values` only what has no default counts.
    """
    task = kind.model_validate({name: values[name] for name in required(kind)})
    if task.recipe("closed") is None:
        raise FaultError(
            "there is no closed recipe",
            f"give {kind.__name__}.recipes a recipe under the key 'closed'",
        )
    unknown = sorted(set(kind.recipes) - set(DIVISIONS))
    if unknown:
        raise FaultError(
            f"there are recipes for {', '.join(unknown)}", f"name them {' or '.join(DIVISIONS)}"
        )
    try:
        samples = task.framing.samples
    except Exception as error:  # `framing` reports it
        raise SkipError("fix framing first") from error
    for division in DIVISIONS:
        recipe = task.recipe(division)
        if recipe is None:
            continue
        try:
            Recipe.model_validate(recipe.model_dump())
            updates_per_epoch(samples, recipe)
        except ValidationError as error:
            raise FaultError(f"the {division} recipe: {explained(error)}", ADVICE) from error
        except UsageError as error:
            raise FaultError(f"the {division} recipe: {error}", ADVICE) from error
    return f"{samples} samples a sequence; {', '.join(sorted(kind.recipes))}"


def _parameters(task: Task) -> str:
    """Check that integer fields refuse invalid values, and that unknown names are refused."""
    kind = type(task)
    whole_numbers = [
        name
        for name, field in kind.model_fields.items()
        if int in (field.annotation, *get_args(field.annotation))
    ]
    for name in whole_numbers:
        for value in ("x", "-1"):
            if _accepts(kind, {**task.parameters(), name: value}):
                raise FaultError(
                    f"{name}={value} is accepted",
                    f"bound it: {name}: int = Field(default=..., ge=1), from pydantic",
                )
    if _accepts(kind, {"no_such_parameter": "1"}):
        raise FaultError(
            "a parameter that does not exist is accepted",
            "leave model_config's extra='forbid' as it is",
        )
    return f"{', '.join(whole_numbers)} refuse 'x' and -1; unknown names are refused"


def _accepts(kind: type[Task], values: dict[str, Any]) -> bool:
    try:
        kind.model_validate(values)
    except ValidationError:
        return False
    return True
