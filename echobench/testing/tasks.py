"""Check a task: its data here, with NumPy; its network in workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from echobench.core import target
from echobench.core.backend import Backend
from echobench.core.sequences import MISSING, Integers, stream
from echobench.core.task import Task
from echobench.errors import UsageError
from echobench.harness.plan import resolve
from echobench.plugin.manager import Plugins
from echobench.testing import checks
from echobench.testing.checks import CheckResult, FaultError, Say
from echobench.testing.networks import WORKER_CHECKS, check_in_workers
from echobench.trial.selectors import default_recipe
from echobench.trial.trial import DIVISIONS

DRAWN = 1000
"""Rows drawn by a check."""
TRAINED, EVALUATED = 10_000, 1000
"""Rows drawn from the training stream, and from each evaluation stream."""
EVALUATIONS = ("screen", "certify", "measure")


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
        A result for each check. Checks that need workers are skipped if an earlier
        one failed.

    Raises:
        UsageError: unknown task, parameter or backend, or a named backend is not
            installed.
    """
    loaded = Plugins([Path(plugin) for plugin in plugins])
    name = selector.partition("[")[0].strip()
    provided = loaded.tasks[name]
    chosen = _chosen(backends, loaded)

    say(f"{name}: loading it in a fresh process")
    results = [
        checks.run_check("imports", lambda: checks.check_imports(provided.plugin, loaded, name))
    ]
    results.append(checks.run_check("recipes", lambda: _recipes(provided.value)))
    if results[-1].status == "failed":
        return results
    # A selector that does not resolve is a usage error, not a fault of the task.
    _, task, recipe = resolve(selector, "closed", loaded)
    results.append(checks.run_check("parameters", lambda: _parameters(task)))
    data = [checks.run_check("data", lambda: _data(task))]
    if checks.none_failed(data):
        data.append(checks.run_check("framing", lambda: _framing(task)))
    if checks.none_failed(data):
        data += [
            checks.run_check("answers", lambda: _answers(task)),
            checks.run_check("chunks", lambda: _chunks(task)),
            checks.run_check("fresh rows", lambda: _fresh_rows(task)),
            checks.run_check("oracle", lambda: _oracle(task)),
        ]
    results += data
    if not checks.none_failed(results):
        return [*results, *checks.skip_checks(WORKER_CHECKS)]
    recipes = {"closed": recipe}
    opened = default_recipe(task, "open")
    if opened is not None:
        recipes["open"] = opened
    return [*results, *check_in_workers(selector, task, recipes, chosen, loaded, say)]


def _chosen(names: Sequence[str], plugins: Plugins) -> list[Backend]:
    """Return the named backends, or all that are installed."""
    if not names:
        return checks.usable_backends(plugins, training=False)
    chosen = [plugins.backends[name].value for name in dict.fromkeys(names)]
    for backend in chosen:
        missing = backend.why_unavailable()
        if missing is not None:
            raise UsageError(f"--backend {backend.name}: {missing}")
    return chosen


def _recipes(kind: type[Task]) -> str:
    """Check that there is a closed recipe, and that each recipe's batch divides the samples."""
    task = kind()
    samples = task.framing.samples
    if task.recipe("closed") is None:
        raise FaultError(
            "there is no closed recipe",
            f"give {kind.__name__}.recipes a recipe under the key 'closed'",
        )
    for division in DIVISIONS:
        recipe = task.recipe(division)
        if recipe is not None and samples % recipe.batch:
            divisors = [str(n) for n in range(1, samples + 1) if samples % n == 0]
            raise FaultError(
                f"the {division} recipe's batch={recipe.batch} does not divide the {samples} "
                "samples of a sequence",
                f"choose one of {', '.join(divisors)}",
            )
    unknown = sorted(set(kind.recipes) - set(DIVISIONS))
    if unknown:
        raise FaultError(
            f"there are recipes for {', '.join(unknown)}", f"name them {' or '.join(DIVISIONS)}"
        )
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


def _data(task: Task) -> str:
    """Check shape, type and range of the drawn rows."""
    rows: Any = task.sample(stream(0, "train"), DRAWN)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.int64:
        kind = rows.dtype if isinstance(rows, np.ndarray) else type(rows).__name__
        raise FaultError(
            f"sample gives {kind}; expected an array of int64",
            "return integers: rng.integers(..., dtype=np.int64), or .astype(np.int64)",
        )
    if rows.ndim != 2 or len(rows) != DRAWN or not rows.shape[1]:
        raise FaultError(
            f"sample(rng, {DRAWN}) has shape {rows.shape}; expected [{DRAWN}, length]",
            "return one row for each of `count`, all of one length",
        )
    low, high, most = int(rows.min()), int(rows.max()), task.vocabulary - 1
    least = MISSING if task.has_missing else 0
    if low < least or high > most:
        raise FaultError(
            f"sample gives tokens from {low} to {high}; expected {least} to {most}",
            "draw 0..symbols-1; override `vocabulary` where there are more tokens than symbols, "
            "and set has_missing = True where rows hold MISSING (-1)",
        )
    return f"int64 [count, {rows.shape[1]}], tokens {low} to {high} of {task.vocabulary}"


def _framing(task: Task) -> str:
    """Check that the framing's positions lie within a row."""
    length = task.sample(stream(0, "train"), 1).shape[1]
    inputs, targets = task.framing.inputs, task.framing.targets
    for name, positions in (("inputs", inputs), ("targets", targets)):
        if (
            positions.ndim != 2
            or not np.issubdtype(positions.dtype, np.integer)
            or not positions.size
        ):
            raise FaultError(
                f"framing.{name} is {positions.dtype} of shape {positions.shape}",
                "give integers of shape [samples, n]",
            )
        if positions.min() < 0 or positions.max() >= length:
            raise FaultError(
                f"framing.{name} points to positions {positions.min()} to {positions.max()} of a "
                f"row of {length}",
                f"rows have positions 0 to {length - 1}: make framing and sample agree",
            )
    if len(inputs) != len(targets):
        raise FaultError(
            f"there are {len(inputs)} samples of inputs and {len(targets)} of targets",
            "give framing.inputs and framing.targets the same number of rows",
        )
    return (
        f"{len(inputs)} samples, each of {inputs.shape[1]} input tokens and {targets.shape[1]} "
        "target tokens"
    )


def _answers(task: Task) -> str:
    """Check that `supervised`, `expected` and the framing agree."""
    rows = task.sample(stream(0, "train"), 20)
    expected = task.expected(rows)
    for row, answers in zip(rows, expected, strict=True):
        x, y = task.supervised(row)
        if not np.array_equal(x, row[task.framing.inputs]):
            raise FaultError(
                "supervised gives other inputs than `framing`",
                "leave supervised out, or make it agree with the framing's tables",
            )
        if not np.array_equal(y, row[task.framing.targets]) or not np.array_equal(y, answers):
            raise FaultError(
                "expected, supervised and `framing` do not give the same answers",
                "leave expected and supervised out, or make them agree with the framing's tables",
            )
    return "expected, supervised and framing agree"


def _chunks(task: Task) -> str:
    """Check that drawing rows in parts gives the same rows as drawing them at once."""
    at_once = task.sample(stream(0, "train"), 10)
    rng = stream(0, "train")
    in_parts = np.concatenate([task.sample(rng, count) for count in (1, 7, 2)])
    if not np.array_equal(at_once, in_parts):
        raise FaultError(
            "drawing 1, 7 and 2 rows does not give the same rows as drawing 10",
            "make a single draw of shape [count, numbers of a row], and compute all from it",
        )
    return "drawing in parts gives the same rows as drawing at once"


def _fresh_rows(task: Task) -> str:
    """Check that no evaluation row was a training row."""
    trained = _distinct(task.sample(stream(0, "train"), TRAINED))
    for name in EVALUATIONS:
        evaluated = _distinct(task.sample(stream(0, name), EVALUATED))
        both = len(trained & evaluated)
        if both:
            raise FaultError(
                f"{both} of {len(evaluated)} evaluation rows are among {TRAINED:,} training rows "
                f"({len(trained):,} different ones)",
                "draw everything from the `rng` given to sample; if it is, make the task larger, "
                "so that no network can learn it by heart",
            )
    return f"no evaluation row is among {len(trained):,} training rows"


def _distinct(rows: Integers) -> set[bytes]:
    return {row.tobytes() for row in np.ascontiguousarray(rows)}


def _oracle(task: Task) -> str:
    """Check that the right answers score 100%."""
    has_target = task.expected(task.sample(stream(0, "screen"), DRAWN)) != MISSING
    if not has_target.any(axis=(1, 2)).all():
        raise FaultError(
            "there are rows without a target",
            "every row needs a target that is not MISSING",
        )
    right = target.score(task, task.expected, stream(0, "screen"), DRAWN)
    if right.wrong_tokens:
        raise FaultError(
            f"the right answers score {right.accuracy:.2%}",
            "expected(rows) must give the same answers each time it is called",
        )
    wrong = target.score(task, lambda rows: task.expected(rows) + 1, stream(0, "screen"), DRAWN)
    return f"the right answers score {right.accuracy:.0%}, wrong ones {wrong.accuracy:.0%}"
