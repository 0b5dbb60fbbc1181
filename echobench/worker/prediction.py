"""To predict: a saved network, loaded in plain Keras, answers and is timed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from echobench.core.backend import Backend
from echobench.core.clock import Ledger
from echobench.core.inference import answer, latency
from echobench.core.sequences import MISSING, stream
from echobench.core.target import BLOCK
from echobench.core.task import Task
from echobench.errors import UnsupportedError
from echobench.harness import machine
from echobench.harness.plan import Trial
from echobench.harness.protocol import Inference


def predict(
    asked: Inference, trial: Trial, task: Task, backend: Backend, ledger: Ledger
) -> dict[str, Any]:
    """Load a saved network, have it answer, and time it; return a prediction's fields."""
    rng = stream(trial.seed, "predict")
    answers, expected = [], []
    try:
        with ledger.phase("build"):
            model = keras.saving.load_model(asked.model, compile=False, safe_mode=True)
        for _ in range(0, trial.certify, BLOCK):
            rows = task.sample(rng, BLOCK)
            expected.append(task.expected(rows))
            answers.append(answer(model, task, trial.recipe, rows))
        latencies = [asdict(latency(model, task, rng, batch)) for batch in asked.batches]
    except NotImplementedError as error:
        reason = " ".join(str(error).split()) or "some layer of the network"
        raise UnsupportedError(f"not implemented in Keras on {backend.name}: {reason}") from error
    right = np.concatenate(expected)
    given = np.where(right == MISSING, MISSING, np.concatenate(answers))
    np.save(asked.answers, given)
    tokens = int((right != MISSING).sum())
    seconds = ledger.close()
    return {
        "status": "measured",
        "tokens": tokens,
        "accuracy": 1.0 - int((given != right).sum()) / tokens,
        "answers_sha256": hashlib.sha256(given.astype("<i4").tobytes()).hexdigest(),
        "latencies": latencies,
        "import_s": seconds["import"],
        "load_s": seconds["build"],
        "wall_s": seconds["wall"],
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "path": {
            **backend.facts(),
            "jit": model.jit_compile,
            "affinity": machine.affinity(),
            "device": backend.devices(),
        },
    }
