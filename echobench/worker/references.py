"""The reference's side of the parity gate: first losses, fingerprints, a rehearsal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from echobench.core.backend import Backend
from echobench.core.sequences import stream
from echobench.core.target import BLOCK
from echobench.core.task import Task
from echobench.core.training import Ledger, fingerprint_epoch, train
from echobench.trial.job import Job, needs_rehearsal, squeezed
from echobench.trial.trial import Trial
from echobench.worker import parity
from echobench.worker.reasons import failure_of
from echobench.worker.trial import build, limits_of


def references(job: Job, task: Task, backend: Backend, ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Yield the `losses` of each cell that the parity gate compares with, and its fingerprints.

    Of a cell of several that fails, each of its results is the `reason`.

    Args:
        job: the cells' trials. If it has a rehearsal, the losses of each recipe that needs one are
            followed by those of the `squeezed` recipe: none where one is not finite.
        task: of the first trial; the others differ in its parameters.
        backend: the reference.
        ledger: takes the time of compiling.

    Raises:
        TrainingError: a loss of the only cell is not finite.
    """
    for trials in job.cells:
        own = type(task)(**trials[0].parameters)
        rehearses = job.rehearsal is not None and needs_rehearsal(trials[0].recipe)
        results = _references(trials, own, backend, ledger, rehearses=rehearses)
        if len(job.cells) == 1:
            yield from results
            return
        given = 0
        try:
            for result in results:
                given += 1
                yield result
        except Exception as error:  # a plugin's code may raise anything; the other cells go on
            reason = failure_of(error, trials[0]).reason
            yield from [{"reason": reason}] * (1 + len(trials) - given)


def _references(
    trials: Sequence[Trial], task: Task, backend: Backend, ledger: Ledger, *, rehearses: bool
) -> Iterator[dict[str, Any]]:
    """Yield the `losses` of a cell, then the `fingerprint` of each of its trials."""
    built = build(trials[0], task, backend)
    losses = built.first_losses(ledger)
    parity.check_finite(losses)
    found = {"losses": losses.tolist()}
    if rehearses:
        trial = trials[0].model_copy(update={"recipe": squeezed(trials[0].recipe)})
        losses = build(trial, task, backend).first_losses(ledger, rehearses=True)
        found["squeezed"] = losses.tolist() if np.isfinite(losses).all() else []
    yield found
    for trial in trials:
        weights = built.program.initial_weights(stream(trial.seed, "weights"))
        built.trainer.reset(weights)
        every, batches = trial.recipe.evaluate_every, built.program.batches
        last = fingerprint_epoch(every, trial.max_epochs, batches)
        limits = replace(
            limits_of(trial, ledger, built.dispatch),
            max_epochs=last,
            measure=BLOCK,
            deadline=math.inf,
        )
        outcome = train(
            task, trial.recipe, trial.seed, built.trainer, built.predictor, limits, ledger,
            lambda *_: None,
        )  # fmt: skip # one line reads better
        taken = outcome.fingerprint
        yield {"fingerprint": None if taken is None else asdict(taken)}


def rehearse(job: Job, task: Task, backend: Backend, ledger: Ledger) -> dict[str, Any]:
    """Return the first `losses` of the job's trial, whose recipe is squeezed."""
    losses = build(job.trial, task, backend).first_losses(ledger, rehearses=True)
    parity.check_finite(losses)
    return {"losses": losses.tolist()}
