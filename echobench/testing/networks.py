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
from echobench.testing.checks import CautionError, FaultError, Say, SkipError
from echobench.worker import probes

WORKER_CHECKS = ("same data", "network", "loss", "shuffled answers", "learning", "parity", "cost")


def check_in_workers(
    results: checks.Results,
    selector: str,
    task: Task,
    recipes: dict[str, Recipe],
    backends: Sequence[Backend],
    plugins: Plugins,
    say: Say,
) -> None:
    """Make the checks of a task that need a framework.

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
        measured["backend"] = training.name
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

    def parity() -> str:
        assert training is not None  # the network was trained on it
        say(f"{task.name}: comparing the engines in a quick trial on {training.name}")
        return checks.check_parity(checks.quick_trial(selector, training.name, plugins), plugins)

    needed = ["recipes", "data", "framing"]
    results.run("network", network, needs=needed)
    results.run("same data", same_data, needs=needed)
    results.run("loss", lambda: _loss(measured), needs=["network"])
    results.run("shuffled answers", lambda: _shuffled(measured), needs=["network"])
    results.run("learning", lambda: _learning(measured, recipes), needs=["network", "loss"])
    results.run("parity", parity, needs=["answers", "network", "loss"])
    results.run("cost", lambda: _cost(measured, recipes), needs=["network"])


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


def _learning(measured: dict[str, Any], recipes: dict[str, Recipe]) -> str:
    """Warn if a part of the task's own recipe does not lift accuracy above chance."""
    learning = measured["learning"]
    found = (
        f"after {learning['epochs']:,} epochs of the {learning['division']} recipe "
        f"({learning['updates']:,} updates) {learning['accuracy']:.1%} of tokens are right"
    )
    if learning["accuracy"] > learning["chance"] + learning["margin"]:
        return found
    epochs = recipes[learning["division"]].epochs
    raise CautionError(
        f"{found}: no more than by always giving the most frequent answer, "
        f"{learning['chance']:.1%} ± {learning['margin']:.1%}; the recipe has {epochs:,} epochs",
        "either the recipe is slow, or the answers do not follow from the inputs: train it with "
        "echobench run, and see whether the accuracy rises",
    )


def _cost(measured: dict[str, Any], recipes: dict[str, Recipe]) -> str:
    """Report the time of each recipe; never fails."""
    costs = []
    for division, seen in measured["recipes"].items():
        seconds = seen["seconds_per_update"]
        epochs = recipes[division].epochs
        costs.append(
            f"{division} {seconds * 1e3:.3g} ms an update, "
            f"{seconds * seen['batches'] * epochs:.3g} s for {epochs:,} epochs"
        )
    return f"on {measured['backend']}: {_count(measured):,} weights; {'; '.join(costs)}"
