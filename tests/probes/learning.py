"""Run in a process of its own: teach every task at a small size, and print how well it went.

Prints a line of JSON: by task, the token accuracy on fresh sequences before and
after training.
"""

from __future__ import annotations

import json
import sys

from echobench.core import target
from echobench.core.sequences import Integers, stream
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.cells import LEARNT

UPDATES = 600
CHUNK = 50


def main(backend_name: str) -> None:
    plugins = Plugins()
    backend = plugins.backends[backend_name].value
    backend.configure("cpu", 2)
    from echobench.core.training import fresh_rows

    def teach(selector: str) -> list[float]:
        """Return the accuracy before and after."""
        _, task, recipe = resolve(selector, "open", plugins)
        recipe = recipe.model_copy(update={"warmup": 20, "decay": UPDATES - 20})
        program = backend.program(task, recipe)
        trainer = backend.trainer(program, CHUNK)
        predictor = backend.predictor(program)
        trainer.reset(program.initial_weights(stream(0, "weights")))

        def accuracy() -> float:
            def echo(asked: Integers) -> Integers:
                return predictor(trainer.weights(), asked)

            return target.score(task, echo, stream(0, "screen"), 50).accuracy

        before, data = accuracy(), stream(0, "train")
        after = before
        for _ in range(UPDATES // program.batches // CHUNK + 1):
            trainer.train(fresh_rows(task, recipe, data, CHUNK))
            after = accuracy()
            if after == 1.0:
                break
        return [before, after]

    print(json.dumps({selector: teach(selector) for selector in LEARNT}))


if __name__ == "__main__":
    main(sys.argv[1])
