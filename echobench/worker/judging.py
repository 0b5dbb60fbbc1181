"""Judge a certificate: answer again in plain Keras, with the weights that were certified."""

from __future__ import annotations

import hashlib
import zipfile
from typing import Any

import numpy as np
from keras import ops

from echobench.core.experiment import assign, untrained_model
from echobench.core.rows import answers
from echobench.core.sequences import MISSING, Floats, Integers, Stream, stream
from echobench.core.target import blocks
from echobench.core.task import Recipe, Task
from echobench.trial.job import UNSEEN, Job, Judged
from echobench.trial.trial import Trial
from echobench.worker.prediction import outputs

AT_ONCE = 100
"""Sequences of one call: more do not fit a cache once encoded, and take half as long again."""
NUDGE = 1e-4
"""A wrong answer is one of rounding if it is right once each output is moved this far towards the
right one, of the way from it to there. Two backends' outputs differ by 1e-6."""


def judge(job: Job, task: Task) -> dict[str, Any]:
    """Return the judgement of each of a job's certificates, as `judgements`.

    They are of one cell: its network is built, and compiled, once.
    """
    model = untrained_model(task, job.trial.recipe)
    pairs = zip(job.judged, job.trials, strict=True)
    return {"judgements": [_judge(judged, trial, task, model) for judged, trial in pairs]}


def _judge(judged: Judged, trial: Trial, task: Task, model: Any) -> dict[str, Any]:
    try:
        with np.load(judged.weights, allow_pickle=False) as arrays:
            weights = [arrays[name] for name in arrays]
        assign(model, weights)
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        why = " ".join(str(error).split())[:200]
        return {"refuted": f"the weights are not those of the network: {why}"}
    digest = hashlib.sha256(b"".join(w.astype("<f4").tobytes() for w in weights)).hexdigest()
    certificate = stream(trial.seed, "certify", judged.attempt)
    again, by_rounding = _wrong(model, task, trial.recipe, certificate, judged.sequences)
    counted = {"certificate_wrong": again - by_rounding, "certificate_rounding": by_rounding}
    if task.test_rows is not None:  # there are no other sequences to estimate a rate on
        return {
            **counted,
            "sequences": len(task.test_rows),
            "wrong": again,
            "weights_sha256": digest,
        }
    # A stream that is known once the weights are: nobody can have trained on it.
    unseen = stream(int(digest, 16), "judge")
    wrong, _ = _wrong(model, task, trial.recipe, unseen, UNSEEN)
    return {**counted, "sequences": UNSEEN, "wrong": wrong, "weights_sha256": digest}


def _wrong(model: Any, task: Task, recipe: Recipe, rng: Stream, count: int) -> tuple[int, int]:
    """Return how many of `count` sequences are answered wrong, and how many of them by rounding.

    Of a task with a test set they are all of it.
    """
    wrong = by_rounding = 0
    for rows, kept in blocks(task, rng, count, AT_ONCE):  # a single shape: compiled once
        expected = answers(task, rows)
        given = outputs(model, task, recipe, rows)
        missed = np.flatnonzero(_misses(task, given, expected)[:kept])
        wrong += len(missed)
        if len(missed):
            near = given[missed]
            near += NUDGE * (task.coding.encode(expected[missed]) - near)
            by_rounding += int((~_misses(task, near, expected[missed])).sum())
    return wrong, by_rounding


def _misses(task: Task, given: Floats, expected: Integers) -> Any:
    """Return which sequences have a wrong token, from outputs [count, samples, n_out, width]."""
    predicted = ops.convert_to_numpy(task.coding.decode(ops.convert_to_tensor(given)))
    return ((predicted != expected) & (expected != MISSING)).any(axis=(1, 2))
