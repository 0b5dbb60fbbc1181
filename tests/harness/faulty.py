"""A backend that needs no framework, and goes wrong as a test wants it to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from echobench.core.target import needed
from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job
from echobench.trial.record import Record
from echobench.trial.trial import Trial

BACKEND = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from typing import ClassVar
from echobench import NativeBackend, hookimpl

class Faulty(NativeBackend):
    name: ClassVar[str] = "faulty"
    keras_backend: ClassVar[str] = {keras!r}
    uses_keras: ClassVar[bool] = {uses_keras}
    requires: ClassVar[tuple[str, ...]] = {requires}

    def environment(self, device, threads):
        {environment}
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
            line = line if isinstance(line, bytes) else line.encode()
            while line:
                line = line[os.write(int(sys.argv[1]), line):]

        began = float(sys.argv[2])  # when it was started

        def result(**changes):
            nonlocal began
            now = time.monotonic()
            wall_s, began = max(0.01, now - began), now
            fields = {{**json.loads({result!r}), "wall_s": wall_s, "other_s": wall_s - 0.01}}
            fields |= changes
            tell(json.dumps({{"event": "result", "fields": fields}}) + "\\n")

{fault}

@hookimpl
def echobench_backends():
    return [Faulty()]
"""


def run(folder: Path, fault: str, *, timeout_s: float = 60.0, **options: Any) -> Record:
    """Run a trial whose worker does what `fault` says, in place of importing a framework."""
    told = {name: options.pop(name) for name in TOLD if name in options}
    trial, plugins = planned(folder, fault, timeout_s=timeout_s, **told)
    backend = plugins.backends["faulty"].value
    log = folder / "log"
    job = Job(trials=[trial], command=["test"], **options)
    (record,) = launch.run_job(job, backend, log)
    return record


TOLD = {"requires": (), "environment": "pass", "keras": "jax", "uses_keras": False}


def planned(
    folder: Path, fault: str, *, timeout_s: float = 60.0, **told: Any
) -> tuple[Trial, Plugins]:
    """Write the backend as a plugin's file; return a trial of it, and the plugins."""
    path = folder / "faulty.py"
    lines = "\n".join(" " * 8 + line for line in fault.splitlines())

    def write(result: dict[str, Any]) -> Plugins:
        text = json.dumps(result)
        path.write_text(BACKEND.format(fault=lines, result=text, **{**TOLD, **told}))
        return Plugins([path])

    selection = Selection(tasks=["whole"], backends=["faulty"], timeout_s=timeout_s, threads=1)
    (trial,) = plan(selection, write({}))
    plugins = write(honest(trial))
    (trial,) = plan(selection, plugins)  # of the file as it is now
    return trial, plugins


def honest(trial: Trial) -> dict[str, Any]:
    """Return a result of a trial as a worker gives it that reached the target at once."""
    epoch = trial.recipe.evaluate_every
    score = {"loss": 0.25, "accuracy": 1.0, "exact_match": 1.0}
    phases = ("import", "build", "compile", "first_update", "eval", "sustain", "other")
    return {
        "status": "reached",
        "epochs": epoch,
        "updates": 3 * epoch,
        "time_to_target_s": 0.01,
        "wall_to_target_s": 0.01,
        "sustained_hit_s": 0.01,
        "last_miss_s": 0.0,
        "epochs_to_target": epoch,
        "updates_to_target": 3 * epoch,
        "accuracy": 1.0,
        "exact_match": 1.0,
        "certified_sequences": needed(1, trial.bound),
        "error_bound": trial.bound,
        "certifications": [{"epoch": epoch, "sequences": needed(1, trial.bound), "wrong": 0}],
        "failed_certifications": 0,
        "parity": {"passed": None},
        "fingerprint": {"epoch": epoch, "loss": 0.25, "accuracy": 1.0},
        "samples": [{"expected": [7], "predicted": [7]}],
        "evaluations": [{"epoch": epoch, "train_s": 0.01, **score}],
        **{f"{phase}_s": 0.0 for phase in phases},
        "train_s": 0.01,
        "wall_s": 0.01,
    }
