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
from echobench.testing.findings import CheckResult, FaultError, SkipError, all_well, made, skipped
from echobench.testing.running import Say, differing, parity, probed, quick_trial
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
    """Make the checks that need a framework, each in a worker."""
    training = next((backend for backend in backends if backend.trains), None)
    found: dict[str, Any] = {}

    def network() -> str:
        if training is None:
            raise SkipError("no backend that trains was chosen or is installed")
        say(f"{task.name}: building, timing and shuffling on {training.name}")
        trial = quick_trial(selector, training.name, plugins)
        found.update(probed("network", trial, plugins, recipes))
        return _network(found)

    def same_data() -> str:
        others = [backend for backend in backends if backend is not training]
        if others:
            say(f"{task.name}: drawing its data on {', '.join(b.name for b in others)}")
        return _same_data(selector, task, found.get("digest"), training, others, plugins)

    built = made("network", network)
    drawn = made("same data", same_data)
    if "recipes" not in found:
        why = built.found if built.status == "skipped" else "first mend the network"
        return [drawn, built, *skipped(WORKER_CHECKS[2:], why)]
    assert training is not None  # it gave what was found
    findings = [
        drawn,
        built,
        made("loss", lambda: _loss(found)),
        made("shuffled answers", lambda: _shuffled(found)),
    ]
    if all_well(findings):
        say(f"{task.name}: comparing the engines in a quick trial on {training.name}")
        trial = quick_trial(selector, training.name, plugins)
        findings.append(made("parity", lambda: parity(trial, plugins)))
    else:
        findings += skipped(["parity"], "first mend what failed above")
    return [*findings, made("cost", lambda: _cost(found, recipes, training.name))]


def _same_data(
    selector: str,
    task: Task,
    known: str | None,
    training: Backend | None,
    others: Sequence[Backend],
    plugins: Plugins,
) -> str:
    """Check that a seed gives the same rows in this process and in each backend's worker."""

    def drawn(backend: Backend) -> tuple[str, Any]:
        trial = quick_trial(selector, backend.name, plugins)
        return backend.name, probed("data", trial, plugins)["digest"]

    digests: list[tuple[str, Any]] = [("this process", probes.digest(task))]
    if known is not None and training is not None:
        digests.append((training.name, known))
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        digests += pool.map(drawn, others)
    other = differing(digests)
    if other:
        raise FaultError(
            f"seed 0 gives other rows on {', '.join(other)} than in this process",
            "draw only from the `rng` given to sample; keep off hash(), sets, the clock, "
            "np.random and the frameworks",
        )
    return f"seed 0 gives the same rows in {', '.join(name for name, _ in digests)}"


def _network(found: dict[str, Any]) -> str:
    """Check the output's shape, and that all forms have the same weights."""
    for form, shape in found["shapes"].items():
        if shape != found["expected"]:
            raise FaultError(
                f"{form}: the output is [samples, {', '.join(map(str, shape))}]; expected "
                f"[samples, {', '.join(map(str, found['expected']))}]",
                "it must answer n_out tokens (framing.targets.shape[1]), coding.width wide each",
            )
    other = differing(found["weights"].items())
    if other:
        raise FaultError(
            f"{', '.join(other)} has other weights than FusedForm",
            "build the same layers in the same order, whatever the form",
        )
    count, width = found["expected"]
    return f"{_count(found):,} weights, {count} tokens of {width} out, in every form"


def _count(found: dict[str, Any]) -> int:
    return sum(int(np.prod(shape)) for shape in found["weights"]["FusedForm"])


def _loss(found: dict[str, Any]) -> str:
    """Check that the first losses are finite."""
    firsts = []
    for division, seen in found["recipes"].items():
        if not np.isfinite(seen["losses"]).all():
            raise FaultError(
                f"the {division} recipe's first loss is {seen['losses'][0]}",
                "look for a logarithm or a division in the network, and for inputs out of range",
            )
        firsts.append(f"{seen['losses'][0]:.4g} ({division})")
    return f"finite; at the first update {', '.join(firsts)}"


def _shuffled(found: dict[str, Any]) -> str:
    """Check that the answers of other sequences are not learnt."""
    came = found["shuffled"]
    if came["status"] == "reached":
        raise FaultError(
            f"the network learns the answers of other sequences in {came['updates']} updates at "
            "most: they do not depend on its input",
            "ask for what only the input tells: are the answers always the same, or is the row?",
        )
    return (
        f"the answers of other sequences are not learnt: {came['accuracy']:.0%} of tokens right "
        f"after {came['updates']} updates"
    )


def _cost(found: dict[str, Any], recipes: dict[str, Recipe], backend: str) -> str:
    """Say what the recipes cost."""
    costs = []
    for division, seen in found["recipes"].items():
        seconds = seen["seconds_per_update"]
        epochs = recipes[division].epochs
        costs.append(
            f"{division} {seconds * 1e3:.3g} ms an update, "
            f"{seconds * seen['batches'] * epochs:.3g} s for {epochs:,} epochs"
        )
    return f"on {backend}: {_count(found):,} weights; {'; '.join(costs)}"
