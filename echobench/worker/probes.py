"""The checks that need a framework: they run in a worker, and return plain data."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench.core.backend import Backend
from echobench.core.clock import Ledger
from echobench.core.coding import Coding
from echobench.core.sequences import Framing, Integers, stream
from echobench.core.task import Recipe, Task
from echobench.trial.job import Job

if TYPE_CHECKING:
    from echobench.core.architectures import Form, Network

SHUFFLED_UPDATES = 300
SHUFFLED_RATE = 0.02
"""Enough to learn answers that are always the same; others cannot be learnt."""
SHUFFLED_SCREEN, SHUFFLED_CERTIFY = 50, 1000
SHUFFLED_LIMIT_S = 30.0
TIMED_UPDATES = 50
TIMED_DISPATCHES = 5
ENGINE_EPOCHS, SHORT_EPOCHS = 5, 3


def data(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Return the digest of the task's data."""
    return {"digest": digest(task)}


def digest(task: Task) -> str:
    """Return a digest of the first rows of two streams and of the framing."""
    rows = [task.sample(stream(0, name), 100) for name in ("train", "screen")]
    arrays = [*rows, task.framing.inputs, task.framing.targets]
    content = b"".join(np.ascontiguousarray(array, np.int64).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()


def network(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Build the network in all its forms, make updates, learn shuffled answers.

    Returns:
        The data's digest, `expected` and `shapes` of the output and the number
        of weights by form; where these are right, `recipes` with first losses
        and times by division, and what came of the shuffled answers.
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
    built = {name: task.network(form, recipe.units).model for name, form in forms.items()}
    found: dict[str, Any] = {
        "digest": digest(task),
        "expected": [task.framing.targets.shape[1], coding.width],
        "shapes": {name: list(model.output_shape[1:]) for name, model in built.items()},
        "weights": {
            name: [list(w.shape) for w in model.trainable_variables]
            for name, model in built.items()
        },
    }
    if any(shape != found["expected"] for shape in found["shapes"].values()):
        return found
    found["recipes"] = {
        division: _measured(backend.program(task, recipe), backend)
        for division, recipe in job.recipes.items()
    }
    return {**found, "shuffled": _shuffled_outcome(task, recipe, backend)}


def _measured(program: Any, backend: Backend) -> dict[str, Any]:
    """Return first losses, updates of an epoch and seconds per update."""
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
    from echobench.core.training import fresh_rows

    return fresh_rows(program.task, program.recipe, stream(0, "parity"), epochs)


def _shuffled_outcome(task: Task, recipe: Recipe, backend: Backend) -> dict[str, Any]:
    """Train on the answers of other sequences; return status and accuracy."""
    from echobench.core.program import Program
    from echobench.core.training import Limits, train

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
        certify=SHUFFLED_CERTIFY,
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


def shuffled(task: Task) -> Task:
    """Return a task that shows one sequence and asks for the answers of another."""

    class Shuffled(Task):
        name: ClassVar[str] = "shuffled"
        recipes: ClassVar[dict[str, Recipe]] = {}
        has_missing: ClassVar[bool] = task.has_missing

        @cached_property
        def framing(self) -> Framing:
            length = task.sample(stream(0, "parity"), 1).shape[1]
            return Framing(task.framing.inputs, length + task.framing.targets)

        @property
        def coding(self) -> Coding:
            return task.coding

        def sample(self, rng: np.random.Generator, count: int) -> Integers:
            return task.sample(rng, 2 * count).reshape(count, -1)

        def network(self, form: Form, units: int) -> Network:
            return task.network(form, units)

    return Shuffled()


def engine(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Drive a backend's trainer and predictor.

    Returns:
        Kinds of device, facts as JSON (or why not), shapes of what is returned,
        losses of a full dispatch twice and of a short one, answers twice.
    """
    found: dict[str, Any] = {"devices": [*map(str, backend.devices())]}
    if not backend.trains:
        return {**found, "facts": _as_json(backend.facts())}
    from echobench.core.target import BLOCK

    program = backend.program(task, job.trial.recipe)
    weights = program.initial_weights(stream(0, "weights"))
    rows = _rows(program, ENGINE_EPOCHS)
    trainer = backend.trainer(program, ENGINE_EPOCHS)
    runs = []
    for epochs in (ENGINE_EPOCHS, ENGINE_EPOCHS, SHORT_EPOCHS):
        trainer.reset(weights)
        losses, accuracies = trainer.train(rows[:epochs])
        runs.append(np.asarray(losses).tolist())
        found.setdefault("shapes", []).append([np.shape(losses), np.shape(accuracies)])
    asked = task.sample(stream(0, "screen"), BLOCK)
    predictor = backend.predictor(program)
    given = [np.asarray(predictor(weights, asked)) for _ in range(2)]
    return {
        **found,
        "batches": program.batches,
        "losses": runs,
        "same_weights_shapes": [list(w.shape) for w in trainer.weights()]
        == [list(w.shape) for w in weights],
        "answers": given[0].tolist(),
        "answers_dtype": str(given[0].dtype),
        "answers_shape": list(given[0].shape),
        "expected_shape": list(task.expected(asked).shape),
        "answers_repeat": bool(np.array_equal(given[0], given[1])),
        "facts": _as_json(backend.facts()),
    }


def answers(job: Job, task: Task, backend: Backend) -> dict[str, Any]:
    """Return the answers of an untrained network, to the rows that `engine` asks."""
    from echobench.core.target import BLOCK

    program = backend.program(task, job.trial.recipe)
    weights = program.initial_weights(stream(0, "weights"))
    given = backend.predictor(program)(weights, task.sample(stream(0, "screen"), BLOCK))
    return {"answers": given.tolist()}


def _as_json(facts: Any) -> dict[str, Any]:
    """Return `{"json": ...}`, or `{"error": ...}` where JSON has no such thing."""
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
"""By the name that a job gives."""
