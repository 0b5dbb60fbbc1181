"""A saved network, loaded in plain Keras: it answers and is timed, or echoes one sample."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from echobench.core.backend import Backend
from echobench.core.clock import Ledger
from echobench.core.sequences import MISSING, stream
from echobench.core.target import BLOCK
from echobench.core.task import Task
from echobench.errors import RefusedError, UnsupportedError
from echobench.machine import facts
from echobench.trial.job import Heard, Inference
from echobench.trial.trial import Trial
from echobench.worker.inference import answer, latency, outputs_for


def predict(
    asked: Inference, trial: Trial, task: Task, backend: Backend, ledger: Ledger
) -> dict[str, Any]:
    """Load a saved network, have it answer, and time it; return a prediction's fields."""
    rng = stream(trial.seed, "predict")
    answers, expected = [], []
    with _supported(backend):
        with ledger.phase("build"):
            model = _loaded(asked.model)
        for _ in range(0, trial.certify, BLOCK):
            rows = task.sample(rng, BLOCK)
            expected.append(task.expected(rows))
            answers.append(answer(model, task, trial.recipe, rows))
        latencies = [latency(model, task, rng, batch).model_dump() for batch in asked.batches]
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
        "peak_memory_bytes": facts.peak_memory_bytes(),
        "path": {
            **backend.facts(),
            "jit": model.jit_compile,
            "affinity": facts.affinity(),
            "device": backend.devices(),
        },
    }


def echo(heard: Heard, task: Task, backend: Backend) -> dict[str, Any]:
    """Have a saved network echo one sample.

    Returns:
        What it `echoed`, [n_out], and its `certainty`, if any, as the coding calls it; or
        why it was `refused`: it is no network that Keras reads safely, or none for this task.
    """
    with _supported(backend):
        try:
            model = _loaded(heard.model)
        except RefusedError as error:
            return {"refused": str(error)}
        width = task.coding.width
        wanted = [task.framing.inputs.shape[1] * width, task.framing.targets.shape[1] * width]
        found = [
            math.prod(tensor.shape[1:]) if None not in tensor.shape[1:] else None
            for tensor in (model.inputs[0], model.outputs[0])
        ]
        if found != wanted:
            told = "{} numbers in and {} out".format
            return {
                "refused": f"expected a network of {task.name!r}, {told(*wanted)}; "
                f"received one with {told(*found)}"
            }
        outputs = outputs_for(model, task, np.array(heard.tokens, np.int64))
    decoded = keras.ops.convert_to_numpy(task.coding.decode(keras.ops.convert_to_tensor(outputs)))
    certainty = task.coding.certainty(outputs)
    return {
        "echoed": [int(token) for token in decoded],
        "certainty": None
        if certainty is None
        else {"called": certainty[0], "values": [float(value) for value in certainty[1]]},
    }


def _loaded(path: str) -> Any:
    """Return the network in a file, of which the parent has seen that its parts are known.

    Raises:
        RefusedError: Keras does not read it in its safe mode, which runs no code.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except NotImplementedError:
        raise
    except Exception as error:
        # A stranger's file: Keras raises whatever it trips over.
        why = " ".join(str(error).split())[:200]
        raise RefusedError(f"expected a network that Keras reads in safe mode; {why}") from error


@contextmanager
def _supported(backend: Backend) -> Iterator[None]:
    """Have what Keras lacks on a backend end as unsupported."""
    try:
        yield
    except NotImplementedError as error:
        reason = " ".join(str(error).split()) or "some layer of the network"
        raise UnsupportedError(f"not implemented in Keras on {backend.name}: {reason}") from error
