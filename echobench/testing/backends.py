"""Does a backend keep the rules? Its own parts one by one, then the parity gate task by task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echobench.core.backend import Backend
from echobench.errors import UsageError
from echobench.harness.plan import resolve
from echobench.plugin.manager import Plugins
from echobench.testing.findings import (
    CheckResult,
    FaultError,
    SkipError,
    all_well,
    assert_well,
    made,
    skipped,
)
from echobench.testing.running import (
    Say,
    no_framework,
    parity,
    probed,
    quick_trial,
    silent,
    usable,
)
from echobench.trial.trial import QUICK_EPOCHS
from echobench.worker.parity import TOLERANCE as PARITY_TOLERANCE
from echobench.worker.probes import ENGINE_EPOCHS, SHORT_EPOCHS

MOST_WORK = 5e9
"""Multiplications of a quick run up to which a task is part of the check."""
AGREEING = 0.99
"""Share of answers of an untrained network on which backends agree; the rest is rounding."""
ENGINE_CHECKS = ("devices", "facts", "reset", "dispatch", "predictor", "agreement")


def assert_backend(
    name: str, *, tasks: Sequence[str] = (), plugins: Sequence[Path | str] = ()
) -> None:
    """Raise AssertionError that lists what is wrong with a backend; see `check_backend`."""
    assert_well(name, check_backend(name, tasks=tasks, plugins=plugins))


def check_backend(
    name: str,
    *,
    tasks: Sequence[str] = (),
    plugins: Sequence[Path | str] = (),
    say: Say = silent,
) -> list[CheckResult]:
    """Check a backend; some ten seconds for each task.

    Args:
        name: as `--backend` takes it.
        tasks: as `--task` takes them, for the parity gate; all those whose quick
            run is little work, where none is named.
        plugins: files of plugins that are not installed.
        say: told what is being done, where that takes longer than a second.

    Returns:
        A finding for each check, and for the parity gate of each task.

    Raises:
        UsageError: no such backend or task.
    """
    loaded = Plugins([Path(plugin) for plugin in plugins])
    provided = loaded.backend(name)
    backend = provided.value
    selectors = list(tasks) or _cheap(loaded, say)
    if not selectors:
        raise UsageError("no installed task is small enough to check with; name one with --task")
    for selector in tasks:
        resolve(selector, "closed", loaded)  # a wrong one is the user's, before anything runs
    say(f"{name}: loading it in a fresh process")
    findings = [
        made("imports", lambda: no_framework(provided.plugin, loaded)),
        made("available", lambda: _available(backend)),
        made("environment", lambda: _environment(backend)),
    ]
    if not all_well(findings):
        return [*findings, *skipped(ENGINE_CHECKS, "first mend what failed above")]
    findings += _engine(backend, selectors[0], loaded, say)
    if not backend.trains:
        return findings
    if not all_well(findings):
        return [*findings, *skipped(["parity"], "first mend what failed above")]
    for selector in selectors:
        say(f"{name}: parity of {selector}")
        check = functools.partial(parity, quick_trial(selector, name, loaded), loaded)
        findings.append(made(f"parity {selector}", check))
    return findings


def _cheap(plugins: Plugins, say: Say) -> list[str]:
    """Return the tasks whose quick run is little work, the least work first."""
    work: dict[str, float] = {}
    for name in plugins.tasks:
        try:
            work[name] = _work(name, plugins)
        except Exception as error:  # somebody's task that is broken is no fault of this backend
            say(f"task {name!r} is left out: {type(error).__name__}: {error}")
    return sorted((name for name in work if work[name] <= MOST_WORK), key=lambda name: work[name])


def _work(name: str, plugins: Plugins) -> float:
    """Return about how many multiplications a quick run of the closed recipe takes."""
    _, task, recipe = resolve(name, "closed", plugins)
    samples, seen = task.framing.inputs.shape
    steps = QUICK_EPOCHS * recipe.sequences * samples * (seen + task.framing.targets.shape[1])
    return float(8 * steps * recipe.units * (recipe.units + task.coding.width))


def _available(backend: Backend) -> str:
    """Check that the backend can be used here."""
    missing = backend.why_unavailable()
    if missing is not None:
        raise FaultError(missing, "install what it requires; nothing else can be checked without")
    versions = backend.versions()
    if not versions or not all(isinstance(text, str) for text in versions.values()):
        raise FaultError(f"versions gives {versions!r}", "return version strings by module name")
    return ", ".join(f"{name} {text}" for name, text in versions.items())


def _environment(backend: Backend) -> str:
    """Check that the environment consists of strings."""
    names: set[str] = set()
    for device in ("cpu", "gpu"):
        for threads in (1, 2):
            variables: Any = backend.environment(device, threads)
            if not isinstance(variables, dict) or not all(
                isinstance(text, str) for pair in variables.items() for text in pair
            ):
                raise FaultError(
                    f"environment({device!r}, {threads}) gives {variables!r}",
                    "return a dictionary of strings: str(threads), not threads",
                )
            names.update(variables)
    if "KERAS_BACKEND" in names:
        raise FaultError(
            "environment sets KERAS_BACKEND", "leave it to the attribute `keras_backend`"
        )
    return f"sets {', '.join(sorted(names)) or 'nothing'}"


def _engine(backend: Backend, selector: str, plugins: Plugins, say: Say) -> list[CheckResult]:
    """Drive trainer and predictor in a worker, and look at what they returned."""
    found: dict[str, Any] = {}

    def devices() -> str:
        say(f"{backend.name}: driving trainer and predictor on {selector}")
        found.update(probed("engine", quick_trial(selector, backend.name, plugins), plugins))
        if not set(found["devices"]) & {"cpu", "gpu"}:
            raise FaultError(
                f"devices gives {found['devices']}", "return the kinds of device: 'cpu', 'gpu'"
            )
        return ", ".join(found["devices"])

    first = made("devices", devices)
    if not found:
        return [first, *skipped(ENGINE_CHECKS[1:], "first mend what failed above")]
    findings = [first, made("facts", lambda: _facts(found))]
    if not backend.trains:
        why = backend.why_no_training() or "it trains nothing"
        return [*findings, *skipped([*ENGINE_CHECKS[2:], "parity"], why)]
    return [
        *findings,
        made("reset", lambda: _reset(found)),
        made("dispatch", lambda: _dispatch(found)),
        made("predictor", lambda: _predictor(found)),
        made("agreement", lambda: _agreement(found, backend, selector, plugins, say)),
    ]


def _facts(found: dict[str, Any]) -> str:
    """Check that the facts fit into a record."""
    facts = found["facts"]
    if "error" in facts:
        raise FaultError(
            f"facts cannot be written as JSON: {facts['error']}",
            "return strings, numbers, lists and dictionaries of them: str(dtype), not dtype",
        )
    return ", ".join(f"{name}: {value}" for name, value in facts["json"].items()) or "none"


def _reset(found: dict[str, Any]) -> str:
    """Check that reset forgets all, and that losses are numbers."""
    first, second = (np.array(losses) for losses in found["losses"][:2])
    if not np.isfinite(first).all():
        raise FaultError("losses are not finite", "compare the first loss with another backend's")
    if not found["same_weights_shapes"]:
        raise FaultError(
            "weights() gives other shapes than reset was given",
            "return the trainable variables in the model's order",
        )
    difference = _difference(first, second)
    if difference > PARITY_TOLERANCE:
        raise FaultError(
            f"after reset, the same weights and rows give losses that differ by {difference:.1e}",
            "have reset forget Adam's moments, the step and the recurrent state, and copy the "
            "weights that it is given",
        )
    return f"the same weights and rows give the same losses again (to {difference:.0e})"


def _dispatch(found: dict[str, Any]) -> str:
    """Check shapes, and a dispatch of fewer epochs than the trainer was made for."""
    full, short = np.array(found["losses"][0]), np.array(found["losses"][2])
    batches = found["batches"]
    for epochs, shapes in zip(
        (ENGINE_EPOCHS, ENGINE_EPOCHS, SHORT_EPOCHS), found["shapes"], strict=True
    ):
        for what, shape in zip(("losses", "accuracies"), shapes, strict=True):
            if list(shape) not in ([epochs, batches], [epochs, 1]):
                raise FaultError(
                    f"train of {epochs} epochs, {batches} batches each, gives {what} of shape "
                    f"{shape}",
                    f"return [{epochs}, {batches}], or [{epochs}, 1] with their means; a dispatch "
                    "may have fewer epochs than the trainer's chunk",
                )
    difference = _difference(full[:SHORT_EPOCHS], short)
    if difference > PARITY_TOLERANCE:
        raise FaultError(
            f"{SHORT_EPOCHS} epochs of a chunk of {ENGINE_EPOCHS} give other losses than the first "
            f"{SHORT_EPOCHS} of a full one: {difference:.1e}",
            "train only on the rows that are given: padding must not be trained on",
        )
    return f"{SHORT_EPOCHS} epochs of a chunk of {ENGINE_EPOCHS} train as a full dispatch does"


def _predictor(found: dict[str, Any]) -> str:
    """Check that answers are integers of the right shape, the same again."""
    shape, dtype = found["answers_shape"], found["answers_dtype"]
    if shape != found["expected_shape"] or not np.issubdtype(np.dtype(dtype), np.integer):
        raise FaultError(
            f"the predictor gives {dtype} of shape {shape}; expected integers of shape "
            f"{found['expected_shape']}",
            "return what program.predict gives: [count, samples, n_out]",
        )
    if not found["answers_repeat"]:
        raise FaultError(
            "the predictor gives other answers when it is called again",
            "keep no state from call to call, and do not change the weights that are given",
        )
    return f"integers {shape}, the same again"


def _agreement(
    found: dict[str, Any], backend: Backend, selector: str, plugins: Plugins, say: Say
) -> str:
    """Check that an untrained network answers as on the reference backend."""
    reference = next((b for b in usable(plugins) if b.reference and b is not backend), None)
    if reference is None:
        raise SkipError("this is the reference, or none is installed")
    say(f"{backend.name}: the same on {reference.name}")
    other = probed("answers", quick_trial(selector, reference.name, plugins), plugins)
    same = float(np.mean(np.array(found["answers"]) == np.array(other["answers"])))
    if same < AGREEING:
        raise FaultError(
            f"{same:.1%} of answers with the same weights are those of {reference.name}",
            "predict with the weights that are given, in their order, from a zero state",
        )
    return f"{same:.1%} of answers with the same weights are those of {reference.name}"


def _difference(one: Any, other: Any) -> float:
    """Return the largest relative difference; infinite where shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.max(np.abs(one / other - 1.0)))
