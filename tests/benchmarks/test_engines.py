"""A training chunk and an evaluation, timed by pytest-benchmark on one backend a process.

`make bench BACKEND=jax`, then with another backend, then
`.venv/bin/pytest-benchmark compare --group-by=name`.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from echobench.core.sequences import stream
from echobench.plugin.manager import Plugins

BACKEND = os.environ.get("ECHOBENCH_BENCH_BACKEND")
EPOCHS = 100
pytestmark = pytest.mark.skipif(BACKEND is None, reason="run by `make bench BACKEND=...`")


@pytest.fixture(scope="module", params=["whole", "partial"])
def cell(request: pytest.FixtureRequest) -> Any:
    plugins = Plugins()
    backend = plugins.backends[str(BACKEND)].value
    backend.configure("cpu", os.cpu_count() or 1)
    from echobench.core.program import Program

    task = plugins.tasks[request.param].value()
    program = Program(task, task.recipes["closed"])
    return backend, program, program.initial_weights(stream(0, "weights"))


def test_training(cell: Any, benchmark: Any) -> None:
    from echobench.core.training import fresh_rows

    backend, program, weights = cell
    trainer = backend.trainer(program, EPOCHS)
    trainer.reset(weights)
    rows = fresh_rows(program.task, program.recipe, stream(0, "train"), EPOCHS)
    benchmark.extra_info.update(epochs=EPOCHS, updates=EPOCHS * program.batches)
    losses, _ = benchmark.pedantic(trainer.train, (rows,), rounds=10, warmup_rounds=2)
    assert losses.shape == (EPOCHS, program.batches)


def test_evaluation(cell: Any, benchmark: Any) -> None:
    from echobench.core.target import BLOCK

    backend, program, weights = cell
    predict = backend.predictor(program)
    rows = program.task.sample(stream(0, "screen"), BLOCK)
    benchmark.extra_info.update(sequences=BLOCK)
    answers = benchmark.pedantic(predict, (weights, rows), rounds=10, warmup_rounds=2)
    assert answers.shape == program.task.expected(rows).shape
