"""Run in a process of its own: how far each backend of a plugin's file is from the reference.

Prints a line of JSON: by backend, the largest relative difference of a loss in a rehearsal, as the
parity gate takes it. `python -m tests.probes.rehearsal FILE TASK [NAME ...]`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from echobench.core.training import Ledger
from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from echobench.testing.backends import rehearsed
from echobench.testing.checks import quick_trial
from echobench.trial.job import Job
from echobench.worker.parity import difference


def main(path: str, task: str, *names: str) -> None:
    plugins = Plugins([Path(path)])
    plugins.backends["jax"].value.configure("cpu", 1)
    from echobench.worker.references import rehearse

    _, instance, _ = resolve(task, "closed", plugins)

    def losses(name: str, engine: str = "") -> list[float]:
        trial = rehearsed(quick_trial(task, name, plugins))
        trial = trial.model_copy(update={"engine": engine or trial.engine})
        job = Job(kind="rehearsal", trials=[trial])
        backend = plugins.backends[name].value
        found: list[float] = rehearse(job, instance, backend, Ledger(time.monotonic()))["losses"]
        return found

    expected = losses("jax", "fit")
    print(json.dumps({name: difference(losses(name), expected) for name in names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
