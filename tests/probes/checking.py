"""Run in a process of its own: what the conformance kit finds of several tasks.

Prints a line of JSON: the results of each. The tasks are measured in this process, as a worker
measures them, one after the other; the parity gate, which takes workers of its own, is left out.
`python -m tests.probes.checking FILE SELECTOR [FILE SELECTOR ...]`
"""

from __future__ import annotations

import json
import sys
from typing import Any

from echobench.core.task import Recipe
from echobench.plugin.manager import Plugins
from echobench.testing import check_task, checks
from echobench.trial.job import Job
from echobench.trial.trial import Trial


def main(*arguments: str) -> None:
    Plugins().backends["jax"].value.configure("cpu", 1)
    from echobench.worker.probes import PROBES

    def run_probe(
        probe: str, trial: Trial, plugins: Plugins, recipes: dict[str, Recipe] | None = None
    ) -> dict[str, Any]:
        job = Job(kind="probe", trials=[trial], probe=probe, recipes=recipes or {})
        task = plugins.tasks[trial.task].value(**trial.parameters)
        return PROBES[probe](job, task, plugins.backends[trial.backend].value)

    checks.run_probe = run_probe
    checks.check_parity = lambda trial, plugins: "not run"
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    found = [check_task(one, backends=["jax"], plugins=[path]) for path, one in pairs]
    print(json.dumps([[each.model_dump() for each in results] for results in found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
