"""The child: one job in a fresh process, the only place where Keras is imported.

Run as `python -m echobench.harness.worker FD`, with a `Job` on standard input;
events go to the file descriptor FD.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from echobench.core.backend import Backend, Predictor, Trainer
from echobench.core.clock import Ledger
from echobench.core.sequences import MISSING, Floats, stream
from echobench.core.task import Task
from echobench.errors import EchobenchError, TrainingError, UnavailableError, UnsupportedError
from echobench.harness import machine
from echobench.harness.plan import Trial
from echobench.harness.protocol import Failure, Inference, Job, Progress, Reference, Result
from echobench.plugins import FILE_PREFIX, Plugins

PARITY_UPDATES = 20
PARITY_TOLERANCE = 1e-5
"""Largest relative difference of a loss. Float32 rounding was measured at up to
1.4e-6 over all first-party cells; an error in the mathematics shows at 1e-4 and more."""
PARITY_SEED = 0
LONGEST_DISPATCH = 100
FIT_DISPATCH = 10
"""Epochs in one dispatch: of the fused engines, and between looks at the clock of `fit`."""


def main() -> int:
    """Run the job on standard input; return the exit code."""
    process = psutil.Process()
    started = time.monotonic() - (time.time() - process.create_time())
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as events:
        job = Job.model_validate_json(sys.stdin.read())
        try:
            fields = _run(job, Ledger(started), started, events)
        except UnavailableError as error:
            _emit(events, Failure(status="unavailable", reason=str(error)))
            return 0
        except UnsupportedError as error:
            _emit(events, Failure(status="unsupported", reason=str(error)))
            return 0
        except EchobenchError as error:
            _emit(events, Failure(status="failed", reason=str(error)))
            return 1
        except Exception as error:
            traceback.print_exc()  # a bug keeps its traceback, in the trial's log
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            _emit(events, Failure(status="failed", reason=reason))
            return 1
        _emit(events, Result(fields=fields))
    return 0


def _emit(events: IO[str], event: Progress | Result | Failure) -> None:
    events.write(event.model_dump_json() + "\n")


def _run(job: Job, ledger: Ledger, started: float, events: IO[str]) -> dict[str, Any]:
    trial = job.trial
    _pin(trial.threads)
    _emit(events, Progress(phase="import"))
    task, backend = _load(trial)
    with ledger.phase("import"):
        _import_keras(backend, trial)
    if job.probe is not None:
        from echobench.testing.probes import PROBES

        return PROBES[job.probe](job, task, backend)
    if job.inference is not None:
        return _predict(job.inference, trial, task, backend, ledger)
    # From here on Keras is there, and so is all that is written in it.
    from echobench.core.program import Program
    from echobench.core.training import Limits, train

    _emit(events, Progress(phase="build"))
    with ledger.phase("build"):
        program = Program(task, trial.recipe)
        weights = program.initial_weights(stream(trial.seed, "weights"))
        if trial.engine == "fit":
            from echobench.core.fit import FitTrainer

            dispatch = FIT_DISPATCH
            trainer: Trainer = FitTrainer(program, backend.lstm_options)
        else:
            dispatch = min(trial.recipe.evaluate_every, LONGEST_DISPATCH)
            trainer = backend.trainer(program, dispatch)
        predictor = backend.predictor(program)

    _emit(events, Progress(phase="compile"))
    losses = _first_losses(program, trainer, predictor, trial, ledger, dispatch)
    if job.kind == "reference":
        return {"losses": [float(loss) for loss in losses]}
    parity = _parity(losses, job.reference)

    trainer.reset(weights)
    limits = Limits(
        max_epochs=trial.max_epochs,
        deadline=started + trial.timeout_s,
        dispatch=dispatch,
        screen=trial.screen,
        certify=trial.certify,
    )

    def progress(accuracy: float, epoch: int, seconds: float) -> None:
        _emit(
            events,
            Progress(phase="train", epoch=epoch, accuracy=accuracy, seconds_per_epoch=seconds),
        )

    outcome = train(task, trial.recipe, trial.seed, trainer, predictor, limits, ledger, progress)
    if job.save_model is not None:
        Path(job.save_model).parent.mkdir(parents=True, exist_ok=True)
        program.plain_model(trainer.weights()).save(job.save_model)
        # What `echobench predict` needs to know of it.
        Path(job.save_model).with_suffix(".json").write_text(trial.model_dump_json(indent=2) + "\n")
    return {
        **_outcome_fields(outcome, program.batches, task, trial),
        "samples": _samples(task, predictor, trainer.weights(), trial.seed),
        "parity": parity,
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "path": {
            **(backend.facts() if trial.engine == "fused" else _fit_facts(backend)),
            "affinity": _affinity(),
            "device": backend.devices(),
            "evaluate_every": trial.recipe.evaluate_every,
            "screen": trial.screen,
        },
        # Last, so that it holds all that came before.
        **{f"{phase}_s": seconds for phase, seconds in ledger.close().items()},
    }


def _predict(
    asked: Inference, trial: Trial, task: Task, backend: Backend, ledger: Ledger
) -> dict[str, Any]:
    """Load a saved network, have it answer, and time it; return a prediction's fields."""
    import keras

    from echobench.core.inference import answer, latency
    from echobench.core.target import BLOCK

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
            # The facts of a backend that trains are those of its fused engine.
            **({"jit_compile": model.jit_compile} if backend.trains else backend.facts()),
            "affinity": _affinity(),
            "device": backend.devices(),
        },
    }


def _pin(threads: int) -> None:
    """Keep to as many cores as threads were asked for; XLA counts its threads so."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity(process.cpu_affinity()[:threads])


def _affinity() -> list[int] | None:
    """Return the cores this process may run on, as observed; None where nobody knows."""
    process = psutil.Process()
    return sorted(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else None


def _load(trial: Trial) -> tuple[Task, Backend]:
    """Load the plugins that the trial names, and no other."""
    files = [Path(p.removeprefix(FILE_PREFIX)) for p in trial.plugins if p.startswith(FILE_PREFIX)]
    plugins = Plugins(files, only=trial.plugins)
    task = plugins.task(trial.task).value(**trial.parameters)
    return task, plugins.backend(trial.backend).value


def _import_keras(backend: Backend, trial: Trial) -> None:
    backend.configure(trial.device, trial.threads)
    import keras

    if keras.backend.backend() != backend.keras_backend:
        raise TrainingError(
            f"expected Keras on {backend.keras_backend}; received {keras.backend.backend()}"
        )
    devices = backend.devices()
    if trial.device not in devices:
        raise UnavailableError(
            f"expected a {trial.device}; {backend.name} sees {', '.join(devices) or 'none'}"
        )


def _first_losses(
    program: Any,
    trainer: Trainer,
    predictor: Predictor,
    trial: Trial,
    ledger: Ledger,
    dispatch: int,
) -> Floats:
    """Compile both programs by calling them once, and return the first losses.

    The weights and rows are those of the parity gate, the same for all seeds;
    nothing of this stays in the trainer.
    """
    from echobench.core.target import BLOCK
    from echobench.core.training import fresh_rows

    rng = stream(PARITY_SEED, "parity")
    epochs = -(-PARITY_UPDATES // program.batches)
    rows = fresh_rows(program.task, trial.recipe, rng, epochs)
    weights = program.initial_weights(stream(PARITY_SEED, "weights"))
    with ledger.phase("compile"):
        trainer.reset(weights)
        trainer.train(rows[:1])
        predictor(weights, program.task.sample(rng, BLOCK))
    trainer.reset(weights)
    step = min(dispatch, epochs)
    chunks = [trainer.first_losses(rows[at : at + step]) for at in range(0, epochs, step)]
    losses: Floats = np.concatenate(chunks)[:PARITY_UPDATES]
    bad = ~np.isfinite(losses)
    if bad.any():
        raise TrainingError(f"the loss is not a finite number in update {int(bad.argmax()) + 1}")
    return losses


def _parity(losses: Floats, reference: Reference | None) -> dict[str, Any]:
    if reference is None:
        return {"passed": None}
    difference = float(np.max(np.abs(losses / np.array(reference.losses) - 1.0)))
    return {
        "passed": bool(difference <= PARITY_TOLERANCE),
        "reference": reference.name,
        "updates": len(losses),
        "tolerance": PARITY_TOLERANCE,
        "largest_difference": difference,
    }


def _outcome_fields(outcome: Any, batches: int, task: Task, trial: Trial) -> dict[str, Any]:
    """Return the record's fields for what training gave."""
    final, hit = outcome.final, outcome.hit_epoch
    fields: dict[str, Any] = {
        "status": outcome.status,
        "epochs": outcome.epochs,
        "time_to_target_s": outcome.hit_s,
        "last_miss_s": outcome.last_miss_s,
        "epochs_to_target": hit,
        "updates_to_target": None if hit is None else hit * batches,
        "accuracy": final.accuracy,
        "exact_match": final.exact_match,
        "certified_sequences": final.sequences if outcome.status == "reached" else None,
        "error_bound": final.error_bound if outcome.status == "reached" else None,
        "first_lucky_epoch": outcome.first_lucky_epoch,
        "failed_certifications": outcome.failed_certifications,
        "evaluations": [
            {
                **{k: v for k, v in asdict(e).items() if k != "score"},
                "accuracy": e.score.accuracy,
                "exact_match": e.score.exact_match,
            }
            for e in outcome.evaluations
        ],
    }
    if outcome.at_tutorial is not None:
        fields["accuracy_at_tutorial_epochs"] = outcome.at_tutorial.accuracy
    if outcome.status == "timeout":
        fields["reason"] = (
            f"not reached within {trial.timeout_s:g} s, after {outcome.epochs} epochs"
        )
    if outcome.seconds_per_epoch:
        low, median, high = np.percentile(outcome.seconds_per_epoch, [25, 50, 75])
        tokens = task.framing.targets.size
        fields["seconds_per_update"] = median / batches
        fields["seconds_per_update_quartiles"] = [low / batches, high / batches]
        fields["sequences_per_s"] = trial.recipe.sequences / median
        fields["tokens_per_s"] = trial.recipe.sequences * tokens / median
    return fields


def _samples(
    task: Task, predictor: Predictor, weights: list[Floats], seed: int
) -> list[dict[str, list[Any]]]:
    """Echo one new sequence, sample by sample, as the tutorial does at its end."""
    from echobench.core.target import BLOCK

    rows = task.shown(stream(seed, "samples"), BLOCK)  # the shape that is compiled
    pairs = zip(task.expected(rows)[0].tolist(), predictor(weights, rows)[0].tolist(), strict=True)
    return [
        {"expected": [*map(task.spell, e)], "predicted": [*map(task.spell, p)]} for e, p in pairs
    ]


def _fit_facts(backend: Backend) -> dict[str, Any]:
    return {
        "fused": "no: one model.fit an epoch, framing with pandas",
        "lstm_options": backend.lstm_options,
    }


if __name__ == "__main__":
    sys.exit(main())
