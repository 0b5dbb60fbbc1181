"""A cell whose rehearsal does not agree with the reference passes no gate, whatever went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echobench.core.backend import Backend
from echobench.harness.plan import Selection, plan
from echobench.harness.rehearsing import add, rehearse
from echobench.plugin.manager import Plugins
from echobench.trial.job import PARITY_TOLERANCE, SQUEEZED, Job, Rehearsal
from echobench.trial.record import Parity, Record
from tests.records import changed, reached

LOSSES = [4.0, 2.0]


def rehearsed(
    plugins: Plugins, rehearsal: Rehearsal | None, answer: dict[str, Any] | OSError
) -> Record:
    """Return a record that has passed the gate's first part, after a rehearsal."""
    selection = Selection(tasks=["long-echo"], backends=["jax"], divisions=["open"], threads=1)
    job = Job(trials=plan(selection, plugins), rehearsal=rehearsal)
    parity = Parity(
        passed=True, reference="jax fit", updates=20, tolerance=PARITY_TOLERANCE,
        largest_difference=1e-7, squeezed=0.0,
    )  # fmt: skip # it reads better
    record = changed(reached(0, 1.0), parity=parity)

    def run(asked: Job, backend: Backend, log: Path) -> list[dict[str, Any]]:
        assert asked.kind == "rehearsal"
        recipe = asked.trial.recipe
        assert {name: getattr(recipe, name) for name in SQUEEZED} == SQUEEZED
        if isinstance(answer, OSError):
            raise answer
        return [answer]

    backend = plugins.backends["jax"].value
    add(rehearse(job, backend, Path("log"), run, lambda _: None), job, [record])
    return record


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"losses": [4.0, 2.001]}, "by 5.0e-04, more than 1e-05, with warm-up, decay and clipping"),
        ({"status": "failed", "reason": "killed"}, "gave no losses: killed"),
        ({"losses": [4.0]}, "gave no losses: no answer"),
        ({"losses": [4.0, float("nan")]}, "no finite numbers"),
        ({"losses": [4.0, "2.0"]}, "no finite numbers"),
    ],
)
def test_a_rehearsal_that_does_not_agree_refuses_the_trial(
    answer: dict[str, Any], why: str, plugins: Plugins
) -> None:
    record = rehearsed(plugins, Rehearsal(losses=LOSSES), answer)
    assert record.parity is not None
    assert record.parity.passed is False
    assert why in (record.contradiction or "")


@pytest.mark.parametrize(
    ("rehearsal", "passed", "squeezed"),
    [
        (Rehearsal(losses=LOSSES), True, 0.0),
        (Rehearsal(losses=LOSSES, passed=3e-7), True, 3e-7),  # by an earlier trial
        (Rehearsal(), None, None),  # the reference has no losses
        (None, True, None),  # what the worker claimed is not believed
    ],
)
def test_a_rehearsal_is_in_the_record(
    rehearsal: Rehearsal | None, passed: bool | None, squeezed: float | None, plugins: Plugins
) -> None:
    parity = rehearsed(plugins, rehearsal, {"losses": LOSSES}).parity
    assert parity is not None
    assert (parity.passed, parity.squeezed) == (passed, squeezed)


def test_a_rehearsal_that_cannot_be_run_leaves_the_trial_unchecked(plugins: Plugins) -> None:
    parity = rehearsed(plugins, Rehearsal(losses=LOSSES), OSError("no space left")).parity
    assert parity is not None
    assert parity.passed is None
