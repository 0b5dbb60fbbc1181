"""A backend that needs no framework, and goes wrong as a test wants it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.plugins import Plugins
from echobench.results.record import Record

BACKEND = """
import json, os, signal, subprocess, sys, threading, time
from typing import ClassVar
from echobench import NativeBackend, hookimpl

class Faulty(NativeBackend):
    name: ClassVar[str] = "faulty"
    keras_backend: ClassVar[str] = "jax"
    requires: ClassVar[tuple[str, ...]] = {requires}

    def environment(self, device, threads):
        return {{}}

    def devices(self):
        return ["cpu"]

    def facts(self):
        return {{}}

    def trainer(self, program, chunk):
        raise AssertionError("it goes wrong before")

    def predictor(self, program):
        raise AssertionError("it goes wrong before")

    def configure(self, device, threads):
        print("about to go wrong", flush=True)
        def tell(line):
            os.write(int(sys.argv[1]), line if isinstance(line, bytes) else line.encode())
{fault}

@hookimpl
def echobench_backends():
    return [Faulty()]
"""


def run(
    folder: Path,
    fault: str,
    *,
    timeout_s: float = 60.0,
    requires: tuple[str, ...] = (),
    **options: Any,
) -> Record:
    """Run a trial whose worker does what `fault` says, in place of importing a framework."""
    path = folder / "faulty.py"
    lines = "\n".join(" " * 8 + line for line in fault.splitlines())
    path.write_text(BACKEND.format(fault=lines, requires=requires))
    plugins = Plugins([path])
    selection = Selection(tasks=["whole"], backends=["faulty"], timeout_s=timeout_s)
    (trial,) = plan(selection, plugins)
    backend = plugins.backend("faulty").value
    log = folder / "log"
    return launch.run_trial(trial, backend, command=["test"], log=log, **options)
