"""Run in a process of its own on one backend: what the networks really compute there.

Writes an .npz with, for each task and division, the initial weights, the rows,
the losses of the first 20 updates by both engines, the weights after them, the
fused predictions, and the saved plain model's path.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from echobench.core.sequences import stream
from echobench.plugin.manager import Plugins


def main(backend_name: str, folder: Path) -> None:
    plugins = Plugins()
    backend = plugins.backends[backend_name].value
    backend.configure("cpu", 2)
    from echobench.core.fit import FitTrainer
    from echobench.core.training import fresh_rows

    found: dict[str, Any] = {}
    for name in ("whole", "partial"):
        task = plugins.tasks[name].value()
        # The open recipe of `partial` is the closed one's network and form at another size.
        divisions = ("closed", "open") if name == "whole" else ("closed",)
        for division, recipe in ((division, task.recipes[division]) for division in divisions):
            program = backend.program(task, recipe)
            weights = program.initial_weights(stream(7, "weights"))
            epochs = -(-20 // program.batches)
            rows = fresh_rows(task, recipe, stream(7, "train"), epochs)
            cell = f"{name}_{division}"
            for engine in ("fused", "fit"):
                trainer = (
                    backend.trainer(program, epochs)
                    if engine == "fused"
                    else FitTrainer(program, backend.lstm_options)
                )
                trainer.reset(weights)
                found[f"{cell}_{engine}_losses"] = trainer.first_losses(rows)[:20]
                after = trainer.weights()
                found[f"{cell}_{engine}_moved"] = np.concatenate([w.ravel() for w in after])
            asked = task.sample(stream(7, "screen"), 2)
            predictor = backend.predictor(program)
            found[f"{cell}_answers"] = predictor(weights, asked)
            found[f"{cell}_after_answers"] = predictor(after, asked)
            found[f"{cell}_rows"], found[f"{cell}_asked"] = rows, asked
            for number, weight in enumerate(weights):
                found[f"{cell}_w{number}"] = weight
            program.plain_model(after).save(folder / f"{backend_name}_{cell}.keras")
    np.savez(folder / f"{backend_name}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
