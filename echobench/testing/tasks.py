"""Does a task keep the rules? First what NumPy can tell, then what takes workers."""

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
from echobench.testing.findings import (
    CheckResult,
    FaultError,
    all_well,
    assert_well,
    made,
    skipped,
)
from echobench.testing.networks import WORKER_CHECKS, check_in_workers
from echobench.testing.running import Say, no_framework, silent, usable
from echobench.trial.selectors import default_recipe
from echobench.trial.trial import DIVISIONS

DRAWN = 1000
TRAINED, EVALUATED = 10_000, 1000
"""Rows drawn of the training stream, and of each evaluation stream."""
EVALUATIONS = ("screen", "certify", "measure")


def assert_task(
    selector: str, *, backends: Sequence[str] = (), plugins: Sequence[Path | str] = ()
) -> None:
    """Raise AssertionError that lists what is wrong with a task, if anything; see `check_task`."""
    assert_well(selector, check_task(selector, backends=backends, plugins=plugins))


def check_task(
    selector: str,
    *,
    backends: Sequence[str] = (),
    plugins: Sequence[Path | str] = (),
    say: Say = silent,
) -> list[CheckResult]:
    """Check a task; about half a minute, since each backend is started once.

    Args:
        selector: the task as `--task` takes it.
        backends: on which its data is drawn; trained on the first that trains.
            All that are usable, the reference first, where none is named.
        plugins: files of plugins that are not installed.
        say: told what is being done, where that takes longer than a second.

    Returns:
        A finding for each check. Those that need workers are skipped where an
        earlier one failed, and would but repeat it.

    Raises:
        UsageError: no such task, parameter or backend, or a backend that was named
            cannot be used here.
    """
    loaded = Plugins([Path(plugin) for plugin in plugins])
    name = selector.partition("[")[0].strip()
    provided = loaded.task(name)
    chosen = _chosen(backends, loaded)

    say(f"{name}: loading it in a fresh process")
    findings = [made("imports", lambda: no_framework(provided.plugin, loaded, name))]
    findings.append(made("recipes", lambda: _recipes(provided.value)))
    if findings[-1].status == "failed":
        return findings
    # What was asked for, not the task, is at fault from here on: a usage error.
    _, task, recipe = resolve(selector, "closed", loaded)
    findings.append(made("parameters", lambda: _parameters(task)))
    data = [made("data", lambda: _data(task))]
    if all_well(data):
        data.append(made("framing", lambda: _framing(task)))
    if all_well(data):
        data += [
            made("answers", lambda: _answers(task)),
            made("chunks", lambda: _chunks(task)),
            made("fresh rows", lambda: _fresh_rows(task)),
            made("oracle", lambda: _oracle(task)),
        ]
    findings += data
    if not all_well(findings):
        return [*findings, *skipped(WORKER_CHECKS, "first mend what failed above")]
    recipes = {"closed": recipe}
    opened = default_recipe(task, "open")
    if opened is not None:
        recipes["open"] = opened
    return [*findings, *check_in_workers(selector, task, recipes, chosen, loaded, say)]


def _chosen(names: Sequence[str], plugins: Plugins) -> list[Backend]:
    """Return the backends that were asked for, or all that are usable."""
    if not names:
        return usable(plugins, training=False)
    chosen = [plugins.backend(name).value for name in dict.fromkeys(names)]
    for backend in chosen:
        missing = backend.why_unavailable()
        if missing is not None:
            raise UsageError(f"--backend {backend.name}: {missing}")
    return chosen


def _recipes(kind: type[Task]) -> str:
    """Check that there is a closed recipe, and that each batch divides the samples."""
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
    strange = sorted(set(kind.recipes) - set(DIVISIONS))
    if strange:
        raise FaultError(
            f"there are recipes for {', '.join(strange)}", f"name them {' or '.join(DIVISIONS)}"
        )
    return f"{samples} samples a sequence; {', '.join(sorted(kind.recipes))}"


def _parameters(task: Task) -> str:
    """Check that nonsense is refused by every integer field, and that no other name is taken."""
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
    """Check shape, type and range of what is drawn."""
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
    """Check that the framing's places lie in a row."""
    length = task.sample(stream(0, "train"), 1).shape[1]
    inputs, targets = task.framing.inputs, task.framing.targets
    for name, places in (("inputs", inputs), ("targets", targets)):
        if places.ndim != 2 or not np.issubdtype(places.dtype, np.integer) or not places.size:
            raise FaultError(
                f"framing.{name} is {places.dtype} of shape {places.shape}",
                "give integers of shape [samples, n]",
            )
        if places.min() < 0 or places.max() >= length:
            raise FaultError(
                f"framing.{name} points to places {places.min()} to {places.max()} of a row of "
                f"{length}",
                f"rows have places 0 to {length - 1}: make framing and sample agree",
            )
    if len(inputs) != len(targets):
        raise FaultError(
            f"{len(inputs)} samples are seen, {len(targets)} are asked for",
            "framing.inputs and framing.targets need as many rows",
        )
    return (
        f"{len(inputs)} samples, {inputs.shape[1]} tokens seen and {targets.shape[1]} asked for "
        "in each"
    )


def _answers(task: Task) -> str:
    """Check that host framing, framing tables and answers agree."""
    rows = task.sample(stream(0, "train"), 20)
    expected = task.expected(rows)
    for row, answers in zip(rows, expected, strict=True):
        seen, asked = task.supervised(row)
        if not np.array_equal(seen, row[task.framing.inputs]):
            raise FaultError(
                "supervised frames other inputs than `framing` does",
                "leave supervised out, or make it agree with the framing's tables",
            )
        if not np.array_equal(asked, row[task.framing.targets]) or not np.array_equal(
            asked, answers
        ):
            raise FaultError(
                "expected, supervised and `framing` do not give the same answers",
                "leave expected and supervised out, or make them agree with the framing's tables",
            )
    return "expected, supervised and framing agree"


def _chunks(task: Task) -> str:
    """Check that rows do not depend on how many are drawn at once."""
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
    """Check that evaluation does not draw what training drew."""
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
    """Check that the right answers score 100%, and the wrong ones do not."""
    asked = task.expected(task.sample(stream(0, "screen"), DRAWN)) != MISSING
    if not asked.any(axis=(1, 2)).all():
        raise FaultError(
            "there are rows of which nothing is asked",
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
