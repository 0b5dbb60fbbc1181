"""Run a saved network: its answers, and the time of one call.

The network is plain Keras, as `--save-models` writes it: `predict_on_batch` maps
[samples, n_in, width] to [samples, n_out, width], with carried states as further inputs
and outputs.
"""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
from keras import ops

from echobench.core.sequences import Floats, Integers
from echobench.core.task import Recipe, Task
from echobench.trial.prediction import Latency

WARM_UP = 5
"""Calls before timing: backends compile in the first, some again in the second."""
FEWEST_CALLS, MOST_CALLS, ENOUGH_S = 20, 200, 1.0
"""Timed calls: as many as take a second, within these bounds."""


def answer(model: keras.Model, task: Task, recipe: Recipe, rows: Integers) -> Integers:
    """Answer rows [count, length] with tokens [count, samples, n_out].

    Carried states start at zero for each row.
    """
    framing = task.framing
    batches = framing.samples // recipe.batch if _state_units(model) else 1
    states = _zero_states(model, len(rows) * (framing.samples // batches))
    answers = []
    for positions in np.split(framing.inputs, batches):
        outputs, *states = _call(model, _encode(task, rows, positions), states)
        tokens = np.asarray(ops.convert_to_numpy(task.coding.decode(outputs)), np.int64)
        answers.append(tokens.reshape(len(rows), len(positions), -1))
    return np.concatenate(answers, axis=1)


def outputs_for(model: keras.Model, task: Task, tokens: Integers) -> Floats:
    """Return the network's outputs [n_out, width] for one sample [n_in].

    Carried states are zero, as at the start of a sequence.
    """
    outputs, *_ = _call(model, task.coding.encode(tokens[np.newaxis]), _zero_states(model, 1))
    flat: Floats = np.asarray(ops.convert_to_numpy(outputs)).reshape(-1, task.coding.width)
    return flat


def latency(model: keras.Model, task: Task, rng: np.random.Generator, batch: int) -> Latency:
    """Time single calls on one batch of fresh samples drawn from `rng`, with zero states.

    The samples are encoded before; the clock stops when the outputs are NumPy arrays.
    """
    rows = task.sample(rng, -(-batch // task.framing.samples))
    x = _encode(task, rows, task.framing.inputs)[:batch]
    states = _zero_states(model, batch)
    warm_up = [_time_call(model, x, states) for _ in range(WARM_UP)]
    seconds: list[float] = []
    while len(seconds) < FEWEST_CALLS or (sum(seconds) < ENOUGH_S and len(seconds) < MOST_CALLS):
        seconds.append(_time_call(model, x, states))
    low, median, high = (float(q) for q in np.percentile(seconds, [25, 50, 75]))
    return Latency(
        batch=batch,
        median_s=median,
        quartiles_s=(low, high),
        samples_per_s=batch / median,
        calls=len(seconds),
        first_call_s=warm_up[0],
    )


def _time_call(model: keras.Model, x: Floats, states: list[Floats]) -> float:
    start = time.perf_counter()
    _call(model, x, states)
    return time.perf_counter() - start


def _call(model: keras.Model, x: Floats, states: list[Floats]) -> list[Any]:
    """Return the outputs [y, *states], NumPy arrays on every backend."""
    outputs = model.predict_on_batch([x, *states] if states else x)
    return list(outputs) if states else [outputs]


def _encode(task: Task, rows: Integers, positions: Integers) -> Floats:
    """Encode rows [count, length] at positions [samples, n_in]."""
    return task.coding.encode(rows[:, positions].reshape(-1, positions.shape[1]))


def _state_units(model: keras.Model) -> list[int]:
    return [state.shape[-1] for state in model.inputs[1:]]


def _zero_states(model: keras.Model, samples: int) -> list[Floats]:
    return [np.zeros((samples, units), np.float32) for units in _state_units(model)]
