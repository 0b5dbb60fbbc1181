"""Train replicates: many seeds of one cell in one program, each certified by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from echobench.core.backend import Backend, ReplicatedTrainer
from echobench.core.replicates import Lockstep, ReplicateTrainer
from echobench.core.rows import draw
from echobench.core.sequences import Floats, stream
from echobench.core.target import BLOCK
from echobench.core.task import Task
from echobench.core.training import Ledger, fresh_rows, train
from echobench.errors import TrainingError, UnsupportedError
from echobench.machine import facts
from echobench.machine.control_groups import ThrottleMeter
from echobench.trial.job import Job, Progress, Report
from echobench.worker import parity
from echobench.worker.reasons import reason_of
from echobench.worker.trial import (
    LONGEST_DISPATCH,
    execution,
    limits_of,
    look_reporter,
    outcome_fields,
    progress_reporter,
    samples,
    save_network,
    save_weights,
    uncounted,
)


def learn_together(
    job: Job, task: Task, backend: Backend, ledger: Ledger, report: Report
) -> list[dict[str, Any]]:
    """Train the job's trials side by side; return the fields of a record for each.

    Times belong to all of them together. A record keeps only `seconds_per_update`, its share
    of an update of all, and the phases of the process in its execution.

    Args:
        job: the replicates, and the reference losses.
        task: their task.
        backend: their backend, configured.
        ledger: of this process.
        report: called with progress.

    Raises:
        UnsupportedError: the engine or the backend trains one seed at a time.
    """
    trial, count = job.trial, len(job.trials)
    seeds = [trial.seed for trial in job.trials]
    if trial.engine != "fused":
        raise UnsupportedError(f"engine {trial.engine!r} trains one seed at a time")
    dispatch = min(trial.recipe.evaluate_every, LONGEST_DISPATCH)
    report(Progress(phase="build"))
    with ledger.phase("build"):
        program = backend.program(task, trial.recipe)
        trainer = backend.replicated_trainer(program, dispatch, count)
        predictor = backend.predictor(program)
        weights = [program.initial_weights(stream(seed, "weights")) for seed in seeds]
    report(Progress(phase="compile"))
    with ledger.phase("compile"):
        predictor(weights[0], draw(task, stream(parity.SEED, "parity"), BLOCK))
        losses = _first_losses(trainer, program, count, dispatch)
    verdict = parity.verdict(losses, job.reference(trial))
    trainer.reset(weights)
    lockstep = Lockstep(trainer, count)
    limits, progress = limits_of(trial, ledger, dispatch), progress_reporter(report)
    networks: dict[int, list[Floats]] = {}

    def learn(index: int) -> dict[str, Any]:
        seed, is_first = seeds[index], index == 0  # the first one's progress stands for all
        watched = job.watch and is_first
        looked = look_reporter(report, task, predictor, seed, program.batches) if watched else None
        own = Ledger(ledger.started)  # not kept: its times are those of all
        try:
            outcome = train(
                task,
                trial.recipe,
                seed,
                ReplicateTrainer(lockstep, index),
                predictor,
                limits,
                own,
                progress if is_first else lambda *_: None,
                looked,
            )
        except TrainingError as error:
            return {"status": "failed", "reason": reason_of(error, trial)}
        finally:
            lockstep.leave(index)
        save_weights(job, job.trials[index], outcome)
        networks[index] = outcome.weights
        fields = outcome_fields(outcome, program.batches, task, trial)
        fields["samples"] = samples(task, predictor, outcome.weights, seed)
        return fields

    throttled = ThrottleMeter()
    with ledger.phase("train"), ThreadPoolExecutor(count) as pool:
        trained = list(pool.map(learn, range(count)))
    for index, learnt in sorted(networks.items()):  # Keras builds one network at a time
        save_network(job, job.trials[index], program, learnt)
    steady = [seconds / epochs for epochs, seconds in lockstep.dispatches[2:]]
    share = float(np.median(steady)) / program.batches / count if steady else None
    shared = {
        "flops_per_update": program.update_flops(),
        "parity": verdict,
        "peak_memory_bytes": facts.peak_memory_bytes(),
        "path": {
            **execution(trial, trainer, backend),
            **uncounted(program),
            "replicates": count,
            "throttled_share": throttled.share(trial.threads),
            "seconds": ledger.close(),
        },
    }
    return [{**_without_times(fields), **shared, "seconds_per_update": share} for fields in trained]


def rehearse_together(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Return the first `losses` of the job's replicates, whose recipe is squeezed."""
    trial = job.trial
    program = backend.program(task, trial.recipe)
    dispatch = min(trial.recipe.evaluate_every, LONGEST_DISPATCH)
    trainer = backend.replicated_trainer(program, dispatch, trial.replicates)
    losses = _first_losses(trainer, program, trial.replicates, dispatch)
    parity.check_finite(losses)
    return {"losses": losses.tolist()}


def _first_losses(trainer: ReplicatedTrainer, program: Any, count: int, dispatch: int) -> Floats:
    """Compile, and return the last replicate's first losses on the parity gate's rows."""
    weights = program.initial_weights(stream(parity.SEED, "weights"))
    epochs = parity.epochs(program)
    rows = fresh_rows(program.task, program.recipe, stream(parity.SEED, "parity"), epochs)
    trainer.reset([weights] * count)
    together = np.broadcast_to(rows, (count, *rows.shape))
    chunks = [
        trainer.train(together[:, at : at + dispatch])[0][-1].reshape(-1)
        for at in range(0, epochs, dispatch)
    ]
    return parity.compared(np.concatenate(chunks), program)


def _without_times(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a replicate's fields without times, which belong to all replicates."""
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
