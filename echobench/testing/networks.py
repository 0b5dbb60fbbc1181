"""The checks of a task that need a framework, each in a worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from echobench.core.backend import Backend
from echobench.core.task import Recipe, Task
from echobench.plugin.manager import Plugins
from echobench.testing import checks
from echobench.testing.checks import CheckResult, FaultError, Say, SkipError
from echobench.worker import probes

WORKER_CHECKS = ("same data", "network", "loss", "shuffled answers", "parity", "cost")


def check_in_workers(
    selector: str,
    task: Task,
    recipes: dict[str, Recipe],
    backends: Sequence[Backend],
    plugins: Plugins,
    say: Say,
) -> list[CheckResult]:
    """Run the checks of a task that need a framework.

    The data are drawn on all backends; the first that trains trains every recipe.
    """
    training = next((backend for backend in backends if backend.trains), None)
    measured: dict[str, Any] = {}

    def network() -> str:
        if training is None:
            raise SkipError("no backend that trains was chosen or is installed")
        say(f"{task.name}: building, timing and shuffling on {training.name}")
        trial = checks.quick_trial(selector, training.name, plugins)
        measured.update(checks.run_probe("network", trial, plugins, recipes))
        return _network(measured)

    def same_data() -> str:
        digests = [("this process", probes.digest(task))]
        if training is not None and "digest" in measured:
            digests.append((training.name, measured["digest"]))
        others = [backend.name for backend in backends if backend is not training]
        if others:
            say(f"{task.name}: drawing its data on {', '.join(others)}")
        with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
            trials = [checks.quick_trial(selector, name, plugins) for name in others]
            probed = pool.map(
                lambda trial: checks.run_probe("data", trial, plugins)["digest"], trials
            )
            return _same_data([*digests, *zip(others, probed, strict=True)])

    built = checks.run_check("network", network)
    same = checks.run_check("same data", same_data)
    if "recipes" not in measured:
        why = built.found if built.status == "skipped" else "fix the network first"
        return [same, built, *checks.skip_checks(WORKER_CHECKS[2:], why)]
    assert training is not None  # the measurements are from it
    results = [
        same,
        built,
        checks.run_check("loss", lambda: _loss(measured)),
        checks.run_check("shuffled answers", lambda: _shuffled(measured)),
    ]
    if checks.none_failed(results):
        say(f"{task.name}: comparing the engines in a quick trial on {training.name}")
        trial = checks.quick_trial(selector, training.name, plugins)
        results.append(checks.run_check("parity", lambda: checks.check_parity(trial, plugins)))
    else:
        results += checks.skip_checks(["parity"])
    return [*results, checks.run_check("cost", lambda: _cost(measured, recipes, training.name))]


def _same_data(digests: Sequence[tuple[str, Any]]) -> str:
    """Check that a seed gives the same rows here and in each backend's worker."""
    other = checks.differing(digests)
    if other:
        raise FaultError(
            f"seed 0 gives other rows on {', '.join(other)} than in this process",
            "draw only from the `rng` given to sample; do not use hash(), sets, the clock, "
            "np.random or a framework",
        )
    return f"seed 0 gives the same rows in {', '.join(name for name, _ in digests)}"


def _network(measured: dict[str, Any]) -> str:
    """Check the output's shape, and that all forms have the same weights."""
    for form, shape in measured["shapes"].items():
        if shape != measured["expected"]:
            raise FaultError(
                f"{form}: the output is [samples, {', '.join(map(str, shape))}]; expected "
                f"[samples, {', '.join(map(str, measured['expected']))}]",
                "it must answer n_out tokens (framing.targets.shape[1]), coding.width wide each",
            )
    other = checks.differing(measured["weights"].items())
    if other:
        raise FaultError(
            f"{', '.join(other)} has other weights than FusedForm",
            "build the same layers in the same order, whatever the form",
        )
    count, width = measured["expected"]
    return f"{_count(measured):,} weights, {count} tokens of {width} out, in every form"


def _count(measured: dict[str, Any]) -> int:
    return sum(int(np.prod(shape)) for shape in measured["weights"]["FusedForm"])


def _loss(measured: dict[str, Any]) -> str:
    firsts = []
    for division, seen in measured["recipes"].items():
        if not np.isfinite(seen["losses"]).all():
            raise FaultError(
                f"the {division} recipe's first loss is {seen['losses'][0]}",
                "look for a logarithm or a division in the network, and for inputs out of range",
            )
        firsts.append(f"{seen['losses'][0]:.4g} ({division})")
    return f"finite; at the first update {', '.join(firsts)}"


def _shuffled(measured: dict[str, Any]) -> str:
    """Check that the network does not learn the answers to other sequences."""
    shuffled = measured["shuffled"]
    if shuffled["status"] == "reached":
        raise FaultError(
            f"the network learns the answers of other sequences within {shuffled['updates']} "
            "updates: they do not depend on its input",
            "choose targets that follow from the input: are targets or rows always the same?",
        )
    return (
        f"the answers of other sequences are not learnt: {shuffled['accuracy']:.0%} of tokens "
        f"right after {shuffled['updates']} updates"
    )


def _cost(measured: dict[str, Any], recipes: dict[str, Recipe], backend: str) -> str:
    """Report the time of each recipe; never fails."""
    costs = []
    for division, seen in measured["recipes"].items():
        seconds = seen["seconds_per_update"]
        epochs = recipes[division].epochs
        costs.append(
            f"{division} {seconds * 1e3:.3g} ms an update, "
            f"{seconds * seen['batches'] * epochs:.3g} s for {epochs:,} epochs"
        )
    return f"on {backend}: {_count(measured):,} weights; {'; '.join(costs)}"
