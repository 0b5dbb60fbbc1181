"""Run in a process of its own on one backend: networks of a file's tasks, by both engines.

Prints a line of JSON: by task, the losses of the first updates by `fused` and by `fit`, whether
the plain network gives the predictor's answers, and the operations of an update. With `refused` in
place of a backend: by task, the error of its network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from echobench.core.backend import Backend
from echobench.core.sequences import stream
from echobench.core.task import Task
from echobench.errors import EchobenchError
from echobench.plugin.manager import Plugins

EPOCHS = 2


def main(backend_name: str, file: str) -> None:
    plugins = Plugins([Path(file)])
    tasks = [
        each.value() for each in plugins.tasks.values() if each.plugin.endswith(Path(file).name)
    ]
    assert tasks
    if backend_name == "refused":
        print(json.dumps({task.name: refusal(task, plugins) for task in tasks}))
        return
    backend = plugins.backends[backend_name].value
    backend.configure("cpu", 1)
    print(json.dumps({task.name: measured(task, backend) for task in tasks}))


def refusal(task: Task, plugins: Plugins) -> str:
    try:
        plugins.backends["jax"].value.program(task, task.recipes["closed"])
    except EchobenchError as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def measured(task: Task, backend: Backend) -> dict[str, Any]:
    import keras

    from echobench.core.fit import FitTrainer
    from echobench.core.training import fresh_rows
    from echobench.worker.prediction import outputs

    recipe = task.recipes["closed"]
    program: Any = backend.program(task, recipe)
    weights = program.initial_weights(stream(0, "weights"))
    rows = fresh_rows(task, recipe, stream(0, "train"), EPOCHS)
    found: dict[str, Any] = {"flops": program.update_flops(), "why": program.why_uncounted()}
    trainers = {
        "fused": backend.trainer(program, EPOCHS),
        "fit": FitTrainer(program, backend.lstm_options),
    }
    for engine, trainer in trainers.items():
        trainer.reset(weights)
        found[engine] = [float(loss) for loss in trainer.first_losses(rows)]
    asked = task.sample(stream(0, "screen"), 3)
    after = trainers["fused"].weights()
    given = outputs(program.plain_model(after), task, recipe, asked)
    answers = keras.ops.convert_to_numpy(task.coding.decode(keras.ops.convert_to_tensor(given)))
    predicted, there = backend.predictor(program)(after, asked), task.expected(asked) >= 0
    found["same_answers"] = bool(np.array_equal(answers[there], predicted[there]))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
