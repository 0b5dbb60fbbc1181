"""Run in a process of its own: a peer's first losses, its answers, how often it compiled.

The tasks are small ones.

`python -m tests.probes.native BACKEND[:ENGINE] FILE.npz SELECTOR...`; weights and rows are
those of `small.py`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from echobench.core.sequences import stream
from echobench.core.training import fresh_rows
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins


def main(peer: str, path: str, *selectors: str) -> None:
    plugins = Plugins()
    backend_name, _, engine = peer.partition(":")
    backend = plugins.backends[backend_name].value
    backend.configure("cpu", 2)
    found: dict[str, Any] = {}
    for selector in selectors:
        _, task, recipe = resolve(selector, "open", plugins)
        program = backend.program(task, recipe)
        epochs = -(-20 // program.batches)
        if engine:
            trainer = backend.other_trainer(engine, program, epochs)
        else:
            trainer = backend.trainer(program, epochs)
        trainer.reset(program.initial_weights(stream(7, "weights")))
        rows = fresh_rows(task, recipe, stream(7, "train"), epochs)
        found[f"{selector}/losses"] = trainer.first_losses(rows)[:20]
        asked = task.sample(stream(7, "screen"), 3)
        found[f"{selector}/answers"] = backend.predictor(program)(trainer.weights(), asked)
        trainer.train(rows[:1])  # a dispatch that is not full
        found[f"{selector}/traces"] = program.traces
    found["keras"] = np.array("keras" in sys.modules)
    np.savez(path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
