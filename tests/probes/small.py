"""Run in a process of its own on one backend: small versions of tasks.

Writes an .npz with, for each, the losses of the first 20 updates by both
engines (of `fit`, on the reference backend), the fused answers after them, and
what the saved form answers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from echobench.core.sequences import stream
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins


def main(backend_name: str, folder: Path, *selectors: str) -> None:
    plugins = Plugins()
    backend = plugins.backends[backend_name].value
    backend.configure("cpu", 2)
    from keras import ops

    from echobench.core.fit import FitTrainer
    from echobench.core.training import fresh_rows

    found: dict[str, Any] = {}
    for number, selector in enumerate(selectors):
        _, task, recipe = resolve(selector, "open", plugins)
        program = backend.program(task, recipe)
        weights = program.initial_weights(stream(7, "weights"))
        epochs = -(-20 // program.batches)
        rows = fresh_rows(task, recipe, stream(7, "train"), epochs)
        for engine in ("fit", "fused") if backend.reference else ("fused",):
            trainer = (
                backend.trainer(program, epochs)
                if engine == "fused"
                else FitTrainer(program, backend.lstm_options)
            )
            trainer.reset(weights)
            found[f"{number}_{engine}"] = trainer.first_losses(rows)[:20]
        after = trainer.weights()
        asked = task.sample(stream(7, "screen"), 3)
        found[f"{number}_answers"] = backend.predictor(program)(after, asked)

        # The saved form on the host's own framing, the state carried by hand.
        model = program.plain_model(after)
        saved = []
        for row in asked:
            x, _ = task.supervised(row)
            batches = x.reshape(program.batches, recipe.batch, -1)
            state: list[Any] = [np.zeros((recipe.batch, i.shape[-1])) for i in model.inputs[1:]]
            answers = []
            for batch in batches:
                encoded = task.coding.encode(batch)
                outputs = model.predict_on_batch([encoded, *state] if state else encoded)
                y, *state = outputs if state else [outputs]
                answers.append(ops.convert_to_numpy(task.coding.decode(y)))
            saved.append(np.concatenate(answers))
        found[f"{number}_saved"] = np.stack(saved)
        for place, weight in enumerate(weights):
            found[f"{number}_w{place}"] = weight
        found[f"{number}_rows"] = rows
    np.savez(folder / f"small_{backend_name}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
