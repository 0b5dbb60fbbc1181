"""The parity gate sees every field of a recipe: each mistake of a backend shows in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echobench.core.outline import NativeProgram
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from echobench.trial.job import PARITY_TOLERANCE, needs_rehearsal, squeezed
from echobench.worker import parity
from tests.plugins.test_backends import answer
from tests.probes.mistakes import MISTAKES, BySequence

ROOT = Path(__file__).parents[2]
MASKED = "masked[length=4,symbols=10,units=6,n_in=2,n_out=2,batch=2]"
"""Two batches, between which the state is carried, and targets that are missing."""
REVERSE = "reverse[symbols=8,shortest=2,longest=4,units=6]"
"""Of some sequences more targets are missing than of others."""


def differences(task: str, *names: str) -> dict[str, float]:
    """Return how far each backend is from the reference, measured in one process."""
    file = ROOT / "tests" / "probes" / "mistakes.py"
    return dict(answer("jax", "tests.probes.rehearsal", str(file), task, *names))


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    names = [mistake.name for mistake in MISTAKES if mistake is not BySequence]
    by_sequence = differences(REVERSE, BySequence.name)
    return {**differences(MASKED, "jax", *names), **by_sequence}


@pytest.mark.parametrize("name", [mistake.name for mistake in MISTAKES])
def test_a_mistake_is_well_above_the_tolerance(name: str, found: dict[str, float]) -> None:
    assert found[name] > 5 * PARITY_TOLERANCE


def test_rounding_is_well_below_the_tolerance(found: dict[str, float]) -> None:
    assert found["jax"] < PARITY_TOLERANCE / 5


def test_a_recipe_is_rehearsed_if_the_gate_sees_less_of_it(plugins: Plugins) -> None:
    _, _, closed = resolve("whole", "closed", plugins)
    _, _, scheduled = resolve("long-echo", "open", plugins)
    assert not needs_rehearsal(closed)
    assert squeezed(closed) == closed
    assert needs_rehearsal(scheduled)
    short = squeezed(scheduled)
    assert short.rate(1) < short.rate(5) == scheduled.learning_rate
    assert short.rate(14) == 0
    assert not needs_rehearsal(short)
    changed = {"warmup", "decay", "clip"}
    assert short.model_dump(exclude=changed) == scheduled.model_dump(exclude=changed)


@pytest.mark.parametrize(("batch", "epochs", "updates"), [(26, 20, 20), (13, 10, 20), (1, 2, 40)])
def test_the_gate_goes_beyond_the_first_reset_of_the_state(
    batch: int, epochs: int, updates: int, plugins: Plugins
) -> None:
    _, task, recipe = resolve(f"whole[length=30,batch={batch}]", "closed", plugins)
    program = NativeProgram(task, recipe)
    assert parity.epochs(program) == epochs
    losses = np.arange(epochs * program.batches, dtype=np.float32)
    compared = parity.compared(losses, program).tolist()
    assert len(compared) == updates
    assert compared[-1] >= program.batches  # the second epoch's
