"""Run in a process of its own on JAX: save the networks of files' tasks as they are drawn.

They are saved as `run --save-models` saves them, with descriptions, in the folder `models`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from echobench.core.sequences import stream
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job
from echobench.trial.selectors import required
from echobench.worker.trial import save_network

MEASURED = 40


def main(files: list[str], selectors: list[str]) -> None:
    """Save them; the selectors are those of tasks that have a parameter without a default."""
    plugins = Plugins([Path(file) for file in files])
    for name, provided in plugins.tasks.items():
        if provided.plugin.startswith("file:"):
            named = [one for one in selectors if one.startswith(f"{name}[")]
            selector = named[0] if required(provided.value) else name
            (trial,) = plan(Selection(tasks=[selector], backends=["jax"]), plugins)
            trial = trial.model_copy(update={"measure": MEASURED})
            task, backend = provided.value(**trial.parameters), plugins.backends["jax"].value
            program = backend.program(task, trial.recipe)
            weights = program.initial_weights(stream(0, "weights"))
            save_network(Job(trials=[trial], save_models=Path("models")), trial, program, weights)


if __name__ == "__main__":
    main(
        [one for one in sys.argv[1:] if one.endswith(".py")],
        [one for one in sys.argv[1:] if not one.endswith(".py")],
    )
