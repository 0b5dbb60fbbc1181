"""Replicates: many seeds of one cell, trained in one program, each certified by itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from echobench.core.backend import Backend, ReplicatedTrainer
from echobench.core.clock import Ledger
from echobench.core.replicates import Lockstep
from echobench.core.sequences import Floats, stream
from echobench.core.target import BLOCK
from echobench.core.task import Task
from echobench.core.training import fresh_rows, train
from echobench.errors import TrainingError, UnsupportedError
from echobench.machine import facts
from echobench.trial.job import Job
from echobench.trial.messages import Progress
from echobench.worker import parity
from echobench.worker.trial import (
    LONGEST_DISPATCH,
    limits_of,
    looks_to,
    outcome_fields,
    path_of,
    progress_to,
    samples,
)


def learn_together(
    job: Job, task: Task, backend: Backend, ledger: Ledger, tell: Callable[[Progress], None]
) -> list[dict[str, Any]]:
    """Train the job's trials side by side; return the fields of a record for each.

    Times belong to all of them together, so that a record keeps none of its own but
    `seconds_per_update`, its share of an update of all; the phases are in its path.

    Args:
        job: the replicates, and the reference losses.
        task: the trial's.
        backend: the trial's, configured.
        ledger: of this process.
        tell: called with each step of progress.

    Raises:
        UnsupportedError: the engine or the backend trains one seed at a time.
    """
    trial, count = job.trial, len(job.trials)
    seeds = [trial.seed for trial in job.trials]
    if trial.engine != "fused":
        raise UnsupportedError(f"engine {trial.engine!r} trains one seed at a time")
    dispatch = min(trial.recipe.evaluate_every, LONGEST_DISPATCH)
    tell(Progress(phase="build"))
    with ledger.phase("build"):
        program = backend.program(task, trial.recipe)
        trainer = backend.replicated_trainer(program, dispatch, count)
        predictor = backend.predictor(program)
        weights = [program.initial_weights(stream(seed, "weights")) for seed in seeds]
    tell(Progress(phase="compile"))
    with ledger.phase("compile"):
        predictor(weights[0], task.sample(stream(parity.SEED, "parity"), BLOCK))
        losses = _first_losses(trainer, program, count, dispatch)
    verdict = parity.verdict(losses, job.reference)
    trainer.reset(weights)
    lockstep = Lockstep(trainer, count)
    limits, progress = limits_of(trial, ledger, dispatch), progress_to(tell)

    def one(place: int) -> dict[str, Any]:
        seed, told = seeds[place], progress if place == 0 else lambda *_: None
        watched = job.watch and place == 0
        looked = looks_to(tell, task, predictor, seed, program.batches) if watched else None
        own = Ledger(ledger.started)  # its times are those of all, and not kept
        try:
            outcome = train(
                task,
                trial.recipe,
                seed,
                lockstep.trainer(place),
                predictor,
                limits,
                own,
                told,
                looked,
            )
        except TrainingError as error:
            return {"status": "failed", "reason": str(error)}
        finally:
            lockstep.leave(place)
        fields = outcome_fields(outcome, program.batches, task, trial)
        fields["samples"] = samples(task, predictor, outcome.weights, seed)
        return fields

    with ledger.phase("train"), ThreadPoolExecutor(count) as pool:
        found = list(pool.map(one, range(count)))
    steady = [seconds / epochs for epochs, seconds in lockstep.dispatches[2:]]
    share = float(np.median(steady)) / program.batches / count if steady else None
    shared = {
        "flops_per_update": program.update_flops(),
        "parity": verdict,
        "peak_memory_bytes": facts.peak_memory_bytes(),
        "path": {
            **path_of(trial, trainer, backend),
            "replicates": count,
            "seconds": ledger.close(),
        },
    }
    return [{**_without_times(fields), **shared, "seconds_per_update": share} for fields in found]


def _first_losses(trainer: ReplicatedTrainer, program: Any, count: int, dispatch: int) -> Floats:
    """Compile, and return the first losses of a replicate on the parity gate's rows."""
    weights = program.initial_weights(stream(parity.SEED, "weights"))
    epochs = -(-parity.UPDATES // program.batches)
    rows = fresh_rows(program.task, program.recipe, stream(parity.SEED, "parity"), epochs)
    trainer.reset([weights] * count)
    together = np.broadcast_to(rows, (count, *rows.shape))
    chunks = [
        trainer.train(together[:, at : at + dispatch])[0][-1].reshape(-1)
        for at in range(0, epochs, dispatch)
    ]
    losses: Floats = np.concatenate(chunks)[: parity.UPDATES]
    return losses


def _without_times(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a replicate's fields without the times, which were spent on all of them."""
    timed = ("_s", "_per_update", "_per_update_quartiles")
    kept = {name: value for name, value in fields.items() if not name.endswith(timed)}
    return {
        **kept,
        **{
            name: [{**point, "train_s": None} for point in kept[name]]
            for name in ("evaluations", "after_hit")
            if name in kept
        },
    }
