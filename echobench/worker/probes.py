"""Measurements for the conformance kit that need a framework.

Each runs in a worker and returns data that fits into JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench.core.backend import Backend, Predictor
from echobench.core.coding import Coding
from echobench.core.experiment import network_of
from echobench.core.rows import draw
from echobench.core.sequences import MISSING, Framing, Integers, Stream, stream
from echobench.core.target import BLOCK
from echobench.core.task import Recipe, Task
from echobench.core.training import Ledger, Limits, fresh_rows, train
from echobench.trial.job import Job
from echobench.trial.trial import BOUND, BUDGET
from echobench.worker import clock
from echobench.worker.recompiling import first_and_second

if TYPE_CHECKING:
    from echobench.core.architectures import Form, Network

SHUFFLED_UPDATES = 300
SHUFFLED_RATE = 0.02
"""Updates and learning rate that suffice to learn answers that are always the same."""
SHUFFLED_SCREEN, SHUFFLED_MEASURE = 50, 1000
SHUFFLED_LIMIT_S = 30.0
LEARN_S, LEARN_DISPATCH = 5.0, 100
"""Seconds of training with the task's own recipe, and epochs of a call at most."""
LEARN_MEASURE, CHANCE_DRAWN = 1000, 10_000
"""Fresh rows on which accuracy is measured, and rows of which the most frequent answers are."""
LEARN_ERRORS = 3
"""Standard errors within which an accuracy is that of chance."""
TIMED_UPDATES = 50
TIMED_DISPATCHES = 5
ENGINE_EPOCHS, SHORT_EPOCHS, NEW_LENGTHS = 6, 3, (5, 4, 2)
"""Epochs of a full and of a short call of `Trainer.train`, and of those that follow."""


def data(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Return the `digest` of the task's data."""
    return {"digest": digest(task)}


def digest(task: Task) -> str:
    """Return a digest of the first rows of two streams and of the framing."""
    rows = [task.sample(stream(0, name), 100) for name in ("train", "screen")]
    arrays = [*rows, task.framing.inputs, task.framing.targets]
    content = b"".join(np.ascontiguousarray(array, np.int64).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()


def network(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Build the network in all forms, train it for some updates, and on shuffled answers.

    Returns:
        `digest` of the data; the `expected` shape of the output, its `shapes` and the shapes
        of the `weights` by form. If the output's shapes are right, also `recipes`: first
        losses and times by division; `shuffled`: the outcome on shuffled answers; and `learning`:
        what a part of the open recipe, or of the closed one, has taught.
    """
    from echobench.core.fit import StatefulForm
    from echobench.core.forms import FusedForm, PlainForm

    recipe = job.trial.recipe
    samples = recipe.batch * recipe.sequences
    coding = task.coding
    forms: dict[str, Form] = {
        "FusedForm": FusedForm(coding, False, task.has_missing),
        "PlainForm": PlainForm(coding, carry=False),
        "StatefulForm": StatefulForm(coding, samples, recipe.stateful, **backend.lstm_options),
    }
    built = {name: network_of(task, form, recipe.units).model for name, form in forms.items()}
    measured: dict[str, Any] = {
        "digest": digest(task),
        "expected": [task.framing.targets.shape[1], coding.width],
        "shapes": {name: list(model.output_shape[1:]) for name, model in built.items()},
        "weights": {
            name: [list(w.shape) for w in model.trainable_variables]
            for name, model in built.items()
        },
    }
    if any(shape != measured["expected"] for shape in measured["shapes"].values()):
        return measured
    measured["recipes"] = {
        division: _measure(backend.program(task, recipe), backend)
        for division, recipe in job.recipes.items()
    }
    measured["shuffled"] = _train_shuffled(task, recipe, backend)
    return {**measured, "learning": _learn(task, job.recipes, backend)}


def _measure(program: Any, backend: Backend) -> dict[str, Any]:
    """Train for some updates; return first losses, updates per epoch and seconds per update."""
    epochs = -(-TIMED_UPDATES // program.batches)
    rows = _rows(program, epochs)
    trainer = backend.trainer(program, epochs)
    trainer.reset(program.initial_weights(stream(0, "weights")))
    losses = trainer.first_losses(rows[:1])
    seconds = []
    for _ in range(TIMED_DISPATCHES):
        start = time.monotonic()
        trainer.train(rows)
        seconds.append(time.monotonic() - start)
    return {
        "losses": [float(loss) for loss in losses],
        "batches": program.batches,
        "seconds_per_update": float(np.median(seconds)) / epochs / program.batches,
    }


def _rows(program: Any, epochs: int) -> Integers:
    return fresh_rows(program.task, program.recipe, stream(0, "parity"), epochs)


def _train_shuffled(task: Task, recipe: Recipe, backend: Backend) -> dict[str, Any]:
    """Train on the answers to other sequences; return status, accuracy and updates."""
    from echobench.core.program import Program

    batches = task.framing.samples // recipe.batch
    epochs = -(-SHUFFLED_UPDATES // batches)
    cadence = max(1, epochs // 3)
    schedule = {
        "learning_rate": SHUFFLED_RATE,
        "warmup": 0,
        "decay": epochs * batches,
        "clip": 1.0,
        "epochs": epochs,
        "evaluate_every": cadence,
    }
    program = Program(shuffled(task), recipe.model_copy(update=schedule))
    trainer = backend.trainer(program, cadence)
    trainer.reset(program.initial_weights(stream(0, "weights")))
    now = time.monotonic()
    limits = Limits(
        max_epochs=epochs,
        deadline=now + SHUFFLED_LIMIT_S,
        dispatch=cadence,
        screen=SHUFFLED_SCREEN,
        bound=BOUND,
        measure=SHUFFLED_MEASURE,
    )
    predictor = backend.predictor(program)
    outcome = train(
        program.task, program.recipe, 0, trainer, predictor, limits, Ledger(now), lambda *_: None
    )
    assert outcome.final is not None  # train always ends with a score
    return {
        "status": outcome.status,
        "accuracy": outcome.final.accuracy,
        "updates": outcome.epochs * batches,
    }


def _learn(task: Task, recipes: dict[str, Recipe], backend: Backend) -> dict[str, Any]:
    """Train with the task's own recipe for some seconds.

    Returns:
        `division` of the recipe, `epochs` and `updates` trained, `accuracy` on fresh rows, that of
        `chance`, and the `margin` within which the two do not differ.
    """
    division = "open" if "open" in recipes else "closed"
    recipe = recipes[division]
    program = backend.program(task, recipe)
    dispatch = min(recipe.evaluate_every, LEARN_DISPATCH)
    trainer, predictor = backend.trainer(program, dispatch), backend.predictor(program)
    weights = program.initial_weights(stream(0, "weights"))
    trainer.reset(weights)
    trainer.train(_rows(program, dispatch)[:1])  # compiles
    trainer.reset(weights)
    now = time.monotonic()
    limits = Limits(
        max_epochs=BUDGET * recipe.epochs,
        deadline=now + LEARN_S,
        dispatch=dispatch,
        screen=BLOCK,
        bound=BOUND,
        measure=LEARN_MEASURE,
    )
    outcome = train(task, recipe, 0, trainer, predictor, limits, Ledger(now), lambda *_: None)
    assert outcome.final is not None  # train always ends with a score
    chance = _chance(task)
    return {
        "division": division,
        "epochs": outcome.epochs,
        "updates": outcome.epochs * program.batches,
        "accuracy": outcome.final.accuracy,
        "chance": chance,
        "margin": LEARN_ERRORS * math.sqrt(chance * (1 - chance) / LEARN_MEASURE),
    }


def _chance(task: Task) -> float:
    """Return the accuracy of the most frequent answer at each target of a row."""
    drawn, fresh = (
        draw(task, stream(0, name), count)[:, task.framing.targets]
        for name, count in (("train", CHANCE_DRAWN), ("measure", LEARN_MEASURE))
    )
    places = drawn.reshape(len(drawn), -1).T
    most = [np.bincount(place[place != MISSING], minlength=1).argmax() for place in places]
    asked = fresh != MISSING
    return float((fresh.reshape(len(fresh), -1) == most)[asked.reshape(len(fresh), -1)].mean())


def shuffled(task: Task) -> Task:
    """Return a task that shows one sequence and asks for the answers to another."""

    class Shuffled(Task):
        name: ClassVar[str] = "shuffled"
        recipes: ClassVar[dict[str, Recipe]] = {}
        has_missing: ClassVar[bool] = task.has_missing

        @cached_property
        def framing(self) -> Framing:
            return Framing(task.framing.inputs, task.row_length + task.framing.targets)

        @property
        def coding(self) -> Coding:
            return task.coding

        def sample(self, rng: Stream, count: int) -> Integers:
            return task.sample(rng, 2 * count).reshape(count, -1)

        def network(self, form: Form, units: int) -> Network:
            return task.network(form, units)

    return Shuffled()


def engine(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Run a backend's trainer and predictor.

    Returns:
        `devices`; `facts` as JSON, or the error; and if the backend trains: losses of two
        full calls and of the same epochs in two, the shapes of losses, accuracies and weights,
        whether the predictor gives the same `answers` again, at once and after training;
        `again`, the processor seconds of a first and a second call of other lengths;
        `learning` and `clock` as `echobench.worker.clock` returns them.
    """
    measured: dict[str, Any] = {"devices": [*map(str, backend.devices())]}
    if not backend.trains:
        return {**measured, "facts": _as_json(backend.facts())}
    program = backend.program(task, job.trial.recipe)
    weights = program.initial_weights(stream(0, "weights"))
    rows = _rows(program, ENGINE_EPOCHS)
    trainer = backend.trainer(program, ENGINE_EPOCHS)
    run_losses = []
    for parts in ([rows], [rows], [rows[:SHORT_EPOCHS], rows[SHORT_EPOCHS:]]):
        trainer.reset(weights)
        pairs = [trainer.train(part) for part in parts]
        measured.setdefault("shapes", []).append([np.shape(array) for array in pairs[0]])
        run_losses.append([loss for losses, _ in pairs for loss in np.asarray(losses).tolist()])
    again = first_and_second(lambda epochs: trainer.train(rows[:epochs]), NEW_LENGTHS)
    questions = task.sample(stream(0, "screen"), BLOCK)
    predictor = backend.predictor(program)
    first, second = (np.asarray(predictor(weights, questions)) for _ in range(2))
    measured |= _as_in_a_trial(program, backend, predictor)
    last = np.asarray(predictor(weights, questions))
    return {
        **measured,
        "batches": program.batches,
        "losses": run_losses,
        "again": again,
        "same_weights_shapes": [list(w.shape) for w in trainer.weights()]
        == [list(w.shape) for w in weights],
        "answers": first.tolist(),
        "answers_dtype": str(first.dtype),
        "answers_shape": list(first.shape),
        "expected_shape": list(task.expected(questions).shape),
        "answers_repeat": all(np.array_equal(first, again) for again in (second, last)),
        "facts": _as_json(backend.facts()),
    }


def _as_in_a_trial(program: Any, backend: Backend, predictor: Predictor) -> dict[str, Any]:
    """Return what is done when (`clock`), and the losses of a trial's beginning (`learning`)."""
    trainer = backend.trainer(program, clock.stretch(program))
    return {
        "learning": clock.learning(program, trainer),
        "clock": clock.measure(program, trainer, predictor),
    }


def answers(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Return `answers` and `learning` as `engine` does, and nothing that takes longer."""
    program = backend.program(task, job.trial.recipe)
    weights = program.initial_weights(stream(0, "weights"))
    predictor = backend.predictor(program)
    return {
        "answers": predictor(weights, task.sample(stream(0, "screen"), BLOCK)).tolist(),
        "learning": clock.learning(program, backend.trainer(program, clock.stretch(program))),
    }


def _as_json(facts: Any) -> dict[str, Any]:
    """Return `{"json": facts}`, or `{"error": message}` if they cannot be written as JSON."""
    try:
        return {"json": json.loads(json.dumps(facts, allow_nan=False))}
    except (TypeError, ValueError) as error:
        return {"error": str(error)}


PROBES: dict[str, Callable[[Job, Task, Backend], dict[str, Any]]] = {
    "data": data,
    "network": network,
    "engine": engine,
    "answers": answers,
}
"""Probes by the name that a job gives."""
