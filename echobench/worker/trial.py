"""Make a trial: build, compile, pass the parity gate, train to the target, report."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple
from typing import Any, NamedTuple

import numpy as np

from echobench.core.backend import Backend, Predictor, ReplicatedTrainer, Trainer
from echobench.core.experiment import Experiment
from echobench.core.rows import answers, draw
from echobench.core.sequences import Floats, stream
from echobench.core.target import BLOCK
from echobench.core.task import Task
from echobench.core.training import (
    ONCE,
    Dispatch,
    Evaluation,
    Ledger,
    Limits,
    TrainingOutcome,
    fresh_rows,
    train,
)
from echobench.machine import facts, privacy
from echobench.machine.calibration import WaitMeter
from echobench.machine.control_groups import ThrottleMeter
from echobench.store.folder import replace_file
from echobench.trial.job import RESULT, Job, Look, Progress, Report
from echobench.trial.record import LEAST_CLOCK_SHARE, Sample
from echobench.trial.trial import Trial
from echobench.worker import parity
from echobench.worker.recompiling import recompilations

LONGEST_DISPATCH = 100
FIT_DISPATCH = 10
"""Most epochs in one dispatch, of the fused engines and of `fit`."""
COUNTED_S = 0.05
"""Seconds in which the system has counted the processor time of all threads: of one that runs on
beside the thread that asks, it counts some milliseconds later."""
ECHOES = 20
"""Evaluations of which a record keeps an echo."""
WATCHED = 8
"""Samples in a report to who watches a trial."""
NOT_IN_TURN = (*(f"{phase}_s" for phase in ONCE), "wall_to_target_s")
"""Times that the first trial of a process has, and those after it have not."""


class Built(NamedTuple):
    """A trial's program, and the engine that runs it."""

    program: Experiment
    trainer: Trainer
    predictor: Predictor
    dispatch: int

    @property
    def traces(self) -> int:
        """How often Python traced the network; a compiled program traces once."""
        return self.program.traces + getattr(self.trainer, "traces", 0)

    def first_losses(
        self, ledger: Ledger, drawn: list[Floats] | None = None, *, rehearses: bool = False
    ) -> Floats:
        """Compile both programs by calling them once, and return the first losses.

        The weights and rows are those of the parity gate, the same for all seeds; `reset`
        makes the trainer forget them.

        Args:
            ledger: takes the time of compiling.
            drawn: the gate's weights, if they are drawn already: for a large network,
                drawing takes longer than the rest.
            rehearses: whether the losses are all that is wanted; no answers are asked for.
        """
        program, trainer, predictor, dispatch = self
        rng = stream(parity.SEED, "parity")
        epochs = parity.epochs(program)
        rows = fresh_rows(program.task, program.recipe, rng, epochs)
        weights = drawn or program.initial_weights(stream(parity.SEED, "weights"))
        questions = draw(program.task, rng, BLOCK)
        answers(program.task, questions)
        with ledger.phase("compile"):
            trainer.reset(weights)
            trainer.train(rows[:1])
            if not rehearses:
                predictor(weights, questions)
        trainer.reset(weights)
        step = min(dispatch, epochs)
        chunks = [trainer.first_losses(rows[at : at + step]) for at in range(0, epochs, step)]
        return parity.compared(np.concatenate(chunks), program)


class Turns:
    """Trains the trials of a cell one after the other, with one program, compiled for the first.

    Args:
        job: the reference losses, and where to save networks.
        task: the trials' task.
        backend: their backend, configured.
    """

    def __init__(self, job: Job, task: Task, backend: Backend) -> None:
        self._job = job
        self._task = task
        self._backend = backend
        self._program: tuple[Built, dict[str, Any]] | None = None
        """Compiled, and the verdict of the parity gate on it."""

    def learn(self, trial: Trial, ledger: Ledger, report: Report) -> dict[str, Any]:
        """Train to the target or to the end of the budget; return the record's fields.

        Args:
            trial: one of the job's.
            ledger: takes the trial's times.
            report: called with progress.
        """
        kept = self._program
        if kept is None:
            report(Progress(phase="build"))
            with ledger.phase("build"):
                built = build(trial, self._task, self._backend)
                weights = built.program.initial_weights(stream(trial.seed, "weights"))
            report(Progress(phase="compile"))
            gate = weights if trial.seed == parity.SEED else None
            losses = built.first_losses(ledger, gate)
            self._program = built, parity.verdict(losses, self._job.reference(trial))
            return _learn(self._job, trial, self._backend, *self._program, weights, ledger, report)
        gc.collect()
        facts.forget_peak_memory()
        weights = kept[0].program.initial_weights(stream(trial.seed, "weights"))
        fields = _learn(self._job, trial, self._backend, *kept, weights, ledger, report)
        return {**fields, **dict.fromkeys(NOT_IN_TURN)}


def _learn(
    job: Job,
    trial: Trial,
    backend: Backend,
    built: Built,
    verdict: dict[str, Any],
    weights: list[Floats],
    ledger: Ledger,
    report: Report,
) -> dict[str, Any]:
    """Train from these weights with a program that is compiled."""
    program, trainer, predictor, dispatch = built
    task, traces = program.task, built.traces
    with ledger.phase("first_update"):  # on the clock, as all that depends on the seed
        trainer.reset(weights)
    limits, progress = limits_of(trial, ledger, dispatch), progress_reporter(report)
    looked = (
        look_reporter(report, task, predictor, trial.seed, program.batches) if job.watch else None
    )
    waiting, throttled = WaitMeter(), ThrottleMeter()
    outcome = train(
        task, trial.recipe, trial.seed, trainer, predictor, limits, ledger, progress, looked
    )
    waited_share, throttled_share = waiting.share(), throttled.share(trial.threads)
    save_weights(job, trial, outcome)
    save_network(job, trial, program, outcome.weights)
    return {
        **outcome_fields(outcome, program.batches, task, trial),
        "recompilations": recompilations(outcome.dispatches),
        "clock_share": None if job.smoke else clock_share(built, trial, outcome, ledger),
        "flops_per_update": program.update_flops(),
        "samples": samples(task, predictor, outcome.weights, trial.seed),
        "parity": verdict,
        "peak_memory_bytes": facts.peak_memory_bytes(),
        "path": {
            **execution(trial, trainer, backend),
            **uncounted(program),
            "traces": {"compiling": traces, "training": built.traces - traces},
            "busy_cores": ledger.busy_cores,
            "waited_share": waited_share,
            "throttled_share": throttled_share,
            "threads": facts.thread_counts(),
        },
        # Closed last, so that it covers everything before.
        **{f"{phase}_s": seconds for phase, seconds in ledger.close().items()},
    }


def processor_s_per_epoch(dispatches: Sequence[Dispatch], least_s: float = 0.0) -> float:
    """Return the processor seconds of an epoch of training: the lesser of their mean and median.

    Where more than half of the epochs are trained off the clock the median shows it, however long
    the others took. What disturbs a trial makes neither less than an undisturbed epoch.

    Args:
        dispatches: of training.
        least_s: the median is over spells of this length, or over the calls where it is 0.
    """
    epochs, seconds, worked = np.array([astuple(one) for one in dispatches]).T
    began = np.cumsum(seconds) - seconds
    spells = np.arange(len(began)) if least_s == 0 else np.floor(began / least_s)
    _, spell = np.unique(spells, return_inverse=True)
    of_spell = np.bincount(spell, worked) / np.bincount(spell, epochs)
    median = np.median(np.repeat(of_spell, np.bincount(spell, epochs).astype(int)))
    return float(min(worked.sum() / epochs.sum(), median))


def clock_share(
    built: Built, trial: Trial, outcome: TrainingOutcome, ledger: Ledger
) -> float | None:
    """Return the processor time of an epoch on the clock, over that of a control afterwards.

    None where training was too short, diverged, or was on a GPU, whose work it does not show; and
    where the control would end after the trial's limit, when the process is soon killed.
    """
    steady = outcome.seconds_per_epoch
    if trial.device != "cpu" or not steady or outcome.diverged_epoch is not None:
        return None
    from echobench.worker.clock import Epoch, control

    least_s = COUNTED_S if trial.threads > 1 else 0.0
    clocked = processor_s_per_epoch(outcome.dispatches[1:], least_s)
    epoch = Epoch(float(np.median(steady)), clocked)
    if ledger.wall + epoch.least_s > trial.timeout_s:
        return None
    alone = control(
        built.program, built.trainer, built.dispatch, epoch,
        enough=epoch.processor_s / LEAST_CLOCK_SHARE, until=ledger.started + trial.timeout_s,
    )  # fmt: skip # one line reads better
    return epoch.processor_s / alone


def save_weights(job: Job, trial: Trial, outcome: TrainingOutcome) -> None:
    """Save the weights of a certified network for the judge, if the job has one."""
    if job.networks is not None and outcome.status == "reached":
        np.savez(job.networks / f"{job.trials.index(trial)}.npz", *outcome.weights)


def save_network(job: Job, trial: Trial, program: Experiment, weights: Sequence[Floats]) -> None:
    """Save a trained network with a description of its trial, if the job asks for it."""
    path = job.model_path(trial)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")  # Keras asks for the suffix
    # `echobench predict` reads how the network was trained. The parent adds the result. Written
    # first, since no earlier network's result may stand beside this one.
    public = trial.model_copy(update={"plugins": [*map(privacy.redact_plugin, trial.plugins)]})
    description = {**public.model_dump(mode="json"), RESULT: None}
    try:
        program.plain_model([*weights]).save(temporary)
        replace_file(path.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def limits_of(trial: Trial, ledger: Ledger, dispatch: int) -> Limits:
    """Return the budget, the deadline and the evaluation sizes of a trial."""
    return Limits(
        max_epochs=trial.max_epochs,
        deadline=ledger.started + trial.timeout_s,
        dispatch=dispatch,
        screen=trial.screen,
        bound=trial.bound,
        measure=trial.measure,
        sustain=trial.sustain,
        stopped_s=ledger.stopped_s,
    )


def interruptions(ledger: Ledger) -> dict[str, Any]:
    """Return how long the trial was stopped, by phase, and how long its machine was suspended."""
    return {"stopped_s": ledger.stopped_by_phase(), "suspended_s": ledger.suspended_s}


def progress_reporter(report: Report) -> Callable[[float, int, float], None]:
    """Return a function that reports how far training is."""

    def progress(accuracy: float, epoch: int, seconds: float) -> None:
        report(Progress(phase="train", epoch=epoch, accuracy=accuracy, seconds_per_epoch=seconds))

    return progress


def look_reporter(
    report: Report, task: Task, predictor: Predictor, seed: int, batches: int
) -> Callable[[Evaluation, list[Floats]], None]:
    """Return a function that reports each evaluation with a few echoed samples.

    They are the samples with the most targets, of the sequence that is shown at the end.
    """

    def looked(evaluation: Evaluation, weights: list[Floats]) -> None:
        echoed = samples(task, predictor, weights, seed)
        targets = [sum(token is not None for token in each["expected"]) for each in echoed]
        most = max(targets)
        fullest = [each for each, count in zip(echoed, targets, strict=True) if count == most]
        score = evaluation.score
        look = Look(
            updates=evaluation.epoch * batches,
            train_s=evaluation.train_s,
            loss=evaluation.loss,
            accuracy=score.accuracy,
            exact_match=score.exact_match,
            samples=[Sample(**each) for each in fullest[:WATCHED]],
        )
        report(Progress(phase="train", epoch=evaluation.epoch, accuracy=score.accuracy, look=look))

    return looked


def execution(
    trial: Trial, trainer: Trainer | ReplicatedTrainer, backend: Backend
) -> dict[str, Any]:
    """Return how a trial really ran: engine, compiler, kernels, precision, device, cores."""
    return {
        **backend.facts(),
        **trainer.execution(),
        "affinity": facts.affinity(),
        "device": backend.devices(),
        "evaluate_every": trial.recipe.evaluate_every,
        "screen": trial.screen,
    }


def longest_dispatch(trial: Trial) -> int:
    """Return the most epochs of one call of a trial's trainer."""
    if trial.engine == "fit":
        return FIT_DISPATCH
    return min(trial.recipe.evaluate_every, LONGEST_DISPATCH)


def uncounted(program: Experiment) -> dict[str, str]:
    """Return why `flops_per_update` is empty, as `uncounted`; nothing if it is not."""
    why = program.why_uncounted()
    return {} if why is None else {"uncounted": why}


def build(trial: Trial, task: Task, backend: Backend) -> Built:
    """Return the program of a trial's recipe and what runs it."""
    program = backend.program(task, trial.recipe)
    dispatch = longest_dispatch(trial)
    if trial.engine == "fit":
        from echobench.core.fit import FitTrainer  # Keras: a peer's worker has none

        trainer: Trainer = FitTrainer(program, backend.lstm_options)
    else:
        usual = trial.engine == backend.engines[0]
        trainer = (
            backend.trainer(program, dispatch)
            if usual
            else backend.other_trainer(trial.engine, program, dispatch)
        )
    return Built(program, trainer, backend.predictor(program), dispatch)


def outcome_fields(
    outcome: TrainingOutcome, batches: int, task: Task, trial: Trial
) -> dict[str, Any]:
    """Return the record's fields for an outcome of training."""
    final, hit = outcome.final, outcome.hit_epoch
    assert final is not None  # `train` ends with a score, whatever its status
    fields: dict[str, Any] = {
        "status": outcome.status,
        "epochs": outcome.epochs,
        "updates": outcome.epochs * batches,
        "time_to_target_s": outcome.hit_s,
        "wall_to_target_s": outcome.hit_wall_s,
        "sustained_hit_s": outcome.sustained_s,
        "last_miss_s": outcome.last_miss_s,
        "epochs_to_target": hit,
        "updates_to_target": None if hit is None else hit * batches,
        "accuracy": final.accuracy,
        "exact_match": final.exact_match,
        "certified_sequences": final.sequences if outcome.status == "reached" else None,
        "error_bound": (trial.bound or None) if outcome.status == "reached" else None,
        "certifications": [*map(asdict, outcome.attempts)],
        "first_lucky_epoch": outcome.first_lucky_epoch,
        "failed_certifications": sum(attempt.wrong > 0 for attempt in outcome.attempts),
        "diverged_epoch": outcome.diverged_epoch,
        "fingerprint": None if outcome.fingerprint is None else asdict(outcome.fingerprint),
        "evaluations": _with_echoes(outcome.evaluations, task),
        "after_hit": [*map(_point, outcome.after_hit)],
    }
    if outcome.at_tutorial is not None:
        fields["accuracy_at_tutorial_epochs"] = outcome.at_tutorial.accuracy
    if outcome.diverged_epoch is not None:
        fields["reason"] = f"the loss is not a finite number in epoch {outcome.diverged_epoch}"
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


def _point(evaluation: Evaluation) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(evaluation).items() if name != "score"}
    score = evaluation.score
    loss = evaluation.loss if np.isfinite(evaluation.loss) else None
    return {**fields, "loss": loss, "accuracy": score.accuracy, "exact_match": score.exact_match}


def _with_echoes(evaluations: Sequence[Evaluation], task: Task) -> list[dict[str, Any]]:
    """Return evaluations, with an echo at `ECHOES` of them, evenly spaced from first to last."""
    points = [*map(_point, evaluations)]
    for index in {*np.linspace(0, len(points) - 1, min(len(points), ECHOES)).round().astype(int)}:
        points[index]["sample"] = _spelt(task, *evaluations[index].score.echo)
    return points


def _spelt(task: Task, expected: list[int], predicted: list[int]) -> dict[str, list[Any]]:
    return {"expected": [*map(task.spell, expected)], "predicted": [*map(task.spell, predicted)]}


def samples(
    task: Task, predictor: Predictor, weights: list[Floats], seed: int
) -> list[dict[str, list[Any]]]:
    """Echo one new sequence, sample by sample, as the tutorial does at its end."""
    rows = task.sample_for_display(stream(seed, "samples"), BLOCK)  # the shape that is compiled
    pairs = zip(task.expected(rows)[0].tolist(), predictor(weights, rows)[0].tolist(), strict=True)
    return [_spelt(task, *pair) for pair in pairs]
