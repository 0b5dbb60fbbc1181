"""Run a saved network in plain Keras: answer and time it, or echo one sample.

A model is called by `predict_on_batch` as `--save-models` writes it: [samples, n_in, width], or
integers [samples, n_in] where it takes tokens, to [samples, n_out, width], with its states, if any,
as further inputs and outputs.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import msgspec
import numpy as np
from keras import ops

from echobench.core.backend import Backend
from echobench.core.forms import takes_tokens
from echobench.core.rows import answers as right_answers
from echobench.core.rows import draw
from echobench.core.sequences import MISSING, Floats, Integers, Stream, stream
from echobench.core.target import blocks
from echobench.core.task import Recipe, Task
from echobench.core.training import Ledger
from echobench.errors import RefusedError, UnsupportedError
from echobench.machine import facts
from echobench.trial.job import Heard, Inference
from echobench.trial.record import Latency
from echobench.trial.trial import Trial

WARM_UP = 5
"""Calls that are not timed: backends compile in the first, some again in the second."""
MIN_CALLS, MAX_CALLS, ENOUGH_S = 20, 200, 1.0
"""Calls are timed for a second, within these bounds."""


def predict(
    asked: Inference, trial: Trial, task: Task, backend: Backend, ledger: Ledger
) -> dict[str, Any]:
    """Load a saved network, have it answer, and time it; return a prediction's fields."""
    rng = stream(trial.seed, "predict")
    answers, expected = [], []
    with _missing_layers_unsupported(backend):
        with ledger.phase("build"):
            model = _load_network(asked.model)
        for rows, count in blocks(task, rng, trial.measure):
            expected.append(right_answers(task, rows)[:count])
            answers.append(_answer(model, task, trial.recipe, rows)[:count])
        latencies = [_time_calls(model, task, rng, batch) for batch in asked.batches]
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
        "latencies": msgspec.to_builtins(latencies),
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


def echo_sample(heard: Heard, task: Task, backend: Backend) -> dict[str, Any]:
    """Have a saved network echo one sample.

    Returns:
        The tokens `echoed`, [n_out], and their `certainty`, if any, as the coding calls it; or
        why the network was `refused`: Keras does not load it safely, or it is not for this task.
    """
    with _missing_layers_unsupported(backend):
        try:
            model = _load_network(heard.model)
        except RefusedError as error:
            return {"refused": str(error)}
        width = task.coding.width
        n_in, n_out = task.framing.inputs.shape[1], task.framing.targets.shape[1]
        expected = [n_in * (1 if takes_tokens(model) else width), n_out * width]
        received = [
            math.prod(tensor.shape[1:]) if None not in tensor.shape[1:] else None
            for tensor in (model.inputs[0], model.outputs[0])
        ]
        if received != expected:
            sizes = "{} numbers in and {} out".format
            return {
                "refused": f"expected a network of {task.name!r}, {sizes(*expected)}; "
                f"received one with {sizes(*received)}"
            }
        x = _entered(model, task, np.array(heard.tokens, np.int64)[np.newaxis])
        y, *_ = _call(model, x, _zero_states(model, 1))
        outputs: Floats = np.asarray(ops.convert_to_numpy(y)).reshape(-1, width)
    decoded = ops.convert_to_numpy(task.coding.decode(ops.convert_to_tensor(outputs)))
    certainty = task.coding.certainty(outputs)
    return {
        "echoed": [int(token) for token in decoded],
        "certainty": None
        if certainty is None
        else {"called": certainty[0], "values": [float(value) for value in certainty[1]]},
    }


def _load_network(path: str) -> keras.Model:
    """Load a network whose configuration the parent process has checked.

    Raises:
        RefusedError: Keras does not load it in its safe mode, which runs no code.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except NotImplementedError:
        raise
    except Exception as error:
        # The file may hold anything, so Keras may raise anything.
        why = " ".join(str(error).split())[:200]
        raise RefusedError(f"expected a network that Keras reads in safe mode; {why}") from error


@contextmanager
def _missing_layers_unsupported(backend: Backend) -> Iterator[None]:
    """Report what Keras does not implement on a backend as unsupported."""
    try:
        yield
    except NotImplementedError as error:
        reason = " ".join(str(error).split()) or "some layer of the network"
        raise UnsupportedError(f"not implemented in Keras on {backend.name}: {reason}") from error


def _answer(model: keras.Model, task: Task, recipe: Recipe, rows: Integers) -> Integers:
    """Echo rows [count, length]; return integers [count, samples, n_out]."""
    given = ops.convert_to_tensor(outputs(model, task, recipe, rows))
    return np.asarray(ops.convert_to_numpy(task.coding.decode(given)), np.int64)


def outputs(model: keras.Model, task: Task, recipe: Recipe, rows: Integers) -> Floats:
    """Run rows [count, length] through a network, each from a zero state.

    Returns:
        Outputs [count, samples, n_out, width].
    """
    framing = task.framing
    batches = framing.samples // recipe.batch if _state_units(model) else 1
    states = _zero_states(model, len(rows) * (framing.samples // batches))
    parts = []
    for inputs in np.split(framing.inputs, batches):
        y, *states = _call(model, _inputs(model, task, rows, inputs), states)
        parts.append(y.reshape(len(rows), len(inputs), framing.targets.shape[1], -1))
    return np.concatenate(parts, axis=1)


def _time_calls(model: keras.Model, task: Task, rng: Stream, batch: int) -> Latency:
    """Time single calls on one batch of fresh samples, from zero states.

    Encoding the samples is not timed; converting the outputs to NumPy arrays is.
    """
    rows = draw(task, rng, -(-batch // task.framing.samples))
    x = _inputs(model, task, rows, task.framing.inputs)[:batch]
    states = _zero_states(model, batch)
    warm_up = [_seconds_per_call(model, x, states) for _ in range(WARM_UP)]
    seconds: list[float] = []
    while len(seconds) < MIN_CALLS or (sum(seconds) < ENOUGH_S and len(seconds) < MAX_CALLS):
        seconds.append(_seconds_per_call(model, x, states))
    low, median, high = (float(q) for q in np.percentile(seconds, [25, 50, 75]))
    return Latency(
        batch=batch,
        median_s=median,
        quartiles_s=(low, high),
        samples_per_s=batch / median,
        calls=len(seconds),
        first_call_s=warm_up[0],
    )


def _seconds_per_call(model: keras.Model, x: Any, states: list[Floats]) -> float:
    start = time.perf_counter()
    _call(model, x, states)
    return time.perf_counter() - start


def _call(model: keras.Model, x: Any, states: list[Floats]) -> list[Any]:
    """Return the outputs [y, *states], NumPy arrays on every backend."""
    outputs = model.predict_on_batch([x, *states] if states else x)
    return list(outputs) if states else [outputs]


def _inputs(model: keras.Model, task: Task, rows: Integers, inputs: Integers) -> Any:
    """Return a network's input: the tokens of rows [count, length] at positions [samples, n_in]."""
    return _entered(model, task, rows[:, inputs].reshape(-1, inputs.shape[1]))


def _entered(model: keras.Model, task: Task, tokens: Integers) -> Any:
    """Return tokens [samples, n_in] as the network takes them: as int32, or encoded."""
    return tokens.astype(np.int32) if takes_tokens(model) else task.coding.encode(tokens)


def _state_units(model: keras.Model) -> list[int]:
    return [state.shape[-1] for state in model.inputs[1:]]


def _zero_states(model: keras.Model, samples: int) -> list[Floats]:
    return [np.zeros((samples, units), np.float32) for units in _state_units(model)]
