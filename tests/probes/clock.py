"""Run in a process of its own: when each backend of plugins' files does its work.

Prints a line of JSON: by backend, what the conformance kit measures in a worker.
`python -m tests.probes.clock TASK FILE.py ... NAME ...`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from echobench.testing.checks import quick_trial
from echobench.trial.job import Job


def main(task: str, *given: str) -> None:
    plugins = Plugins([Path(one) for one in given if one.endswith(".py")])
    plugins.backends["jax"].value.configure("cpu", 1)
    from echobench.worker.probes import engine

    def measured(name: str) -> dict[str, object]:
        job = Job(kind="probe", trials=[quick_trial(task, name, plugins)], probe="engine")
        _, instance, _ = resolve(task, "closed", plugins)
        return engine(job, instance, plugins.backends[name].value)

    print(json.dumps({name: measured(name) for name in given if not name.endswith(".py")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
