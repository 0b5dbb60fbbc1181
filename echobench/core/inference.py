"""A saved network in use: what it answers, and how long one call of it takes.

Plain Keras throughout: `predict_on_batch` of a model as `--save-models` writes it,
[samples, n_in, width] to [samples, n_out, width], with its states as further inputs
and outputs where it carries them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from echobench.core.sequences import Floats, Integers
from echobench.core.task import Recipe, Task

WARM_UP = 5
"""Calls that are not timed: backends compile in the first, some again in the second."""
FEWEST_CALLS, MOST_CALLS, ENOUGH_S = 20, 200, 1.0
"""Calls that are timed: as many as a second takes, within these bounds."""


@dataclass(frozen=True)
class Latency:
    """How long one call takes; seconds.

    Attributes:
        batch: samples of a call.
        median_s, quartiles_s: over the timed calls.
        samples_per_s: batch / median_s.
        calls: how many were timed.
        first_call_s: the very first one, compiling included; not among them.
    """

    batch: int
    median_s: float
    quartiles_s: tuple[float, float]
    samples_per_s: float
    calls: int
    first_call_s: float


def answer(model: keras.Model, task: Task, recipe: Recipe, rows: Integers) -> Integers:
    """Echo rows [count, length] as the task says; the state starts at zero for each.

    Returns:
        Integers [count, samples, n_out].
    """
    framing = task.framing
    batches = framing.samples // recipe.batch if _state_units(model) else 1
    states = _zero_states(model, len(rows) * (framing.samples // batches))
    answers = []
    for places in np.split(framing.inputs, batches):
        outputs, *states = _called(model, _encoded(task, rows, places), states)
        tokens = np.asarray(ops.convert_to_numpy(task.coding.decode(outputs)), np.int64)
        answers.append(tokens.reshape(len(rows), len(places), -1))
    return np.concatenate(answers, axis=1)


def outputs_for(model: keras.Model, task: Task, tokens: Integers) -> Floats:
    """Return what the network puts out for one sample [n_in]: [n_out, width].

    Where it carries states they are zero, as at the start of a sequence.
    """
    outputs, *_ = _called(model, task.coding.encode(tokens[np.newaxis]), _zero_states(model, 1))
    flat: Floats = np.asarray(ops.convert_to_numpy(outputs)).reshape(-1, task.coding.width)
    return flat


def latency(model: keras.Model, task: Task, rng: np.random.Generator, batch: int) -> Latency:
    """Time single calls on one batch of fresh samples, their states zero.

    The samples are encoded before; the clock stops when the outputs are NumPy arrays.

    Args:
        model: the network.
        task: what it echoes.
        rng: draws the samples.
        batch: samples of a call.
    """
    rows = task.sample(rng, -(-batch // task.framing.samples))
    x = _encoded(task, rows, task.framing.inputs)[:batch]
    states = _zero_states(model, batch)
    warm_up = [_seconds(model, x, states) for _ in range(WARM_UP)]
    seconds: list[float] = []
    while len(seconds) < FEWEST_CALLS or (sum(seconds) < ENOUGH_S and len(seconds) < MOST_CALLS):
        seconds.append(_seconds(model, x, states))
    low, median, high = (float(q) for q in np.percentile(seconds, [25, 50, 75]))
    return Latency(batch, median, (low, high), batch / median, len(seconds), warm_up[0])


def _seconds(model: keras.Model, x: Floats, states: list[Floats]) -> float:
    start = time.perf_counter()
    _called(model, x, states)
    return time.perf_counter() - start


def _called(model: keras.Model, x: Floats, states: list[Floats]) -> list[Any]:
    """Return the outputs [y, *states], NumPy arrays on every backend."""
    outputs = model.predict_on_batch([x, *states] if states else x)
    return list(outputs) if states else [outputs]


def _encoded(task: Task, rows: Integers, places: Integers) -> Floats:
    """Return what the network sees of rows [count, length] at places [samples, n_in]."""
    return task.coding.encode(rows[:, places].reshape(-1, places.shape[1]))


def _state_units(model: keras.Model) -> list[int]:
    return [state.shape[-1] for state in model.inputs[1:]]


def _zero_states(model: keras.Model, samples: int) -> list[Floats]:
    return [np.zeros((samples, units), np.float32) for units in _state_units(model)]
