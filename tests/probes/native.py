"""Run in a process of its own: peers' first losses, their answers, how often they compiled.

The tasks are small ones.

`python -m tests.probes.native FILE.npz BACKEND[:ENGINE] SELECTOR... [-- BACKEND[:ENGINE] ...]`;
weights and rows are those of `small.py`.
"""

from __future__ import annotations

import sys
from itertools import groupby
from typing import Any

import numpy as np

from echobench.core.sequences import stream
from echobench.core.training import fresh_rows
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins


def main(path: str, *arguments: str) -> None:
    plugins = Plugins()
    found: dict[str, Any] = {}
    for is_end, group in groupby(arguments, "--".__eq__):
        if not is_end:
            peer, *selectors = group
            told = measured(plugins, peer, selectors)
            found |= {f"{peer}/{name}": value for name, value in told.items()}
    found["keras"] = np.array("keras" in sys.modules)
    np.savez(path, **found)


def measured(plugins: Plugins, peer: str, selectors: list[str]) -> dict[str, Any]:
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
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
