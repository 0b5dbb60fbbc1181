"""What the checks of tasks and of backends share: fresh processes, workers, quick trials."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from echobench.core.backend import Backend
from echobench.core.task import Recipe
from echobench.harness import launch
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.machine import facts
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.testing.findings import FaultError, SkipError
from echobench.trial.job import Job, JobOptions
from echobench.trial.trial import Trial

Say = Callable[[str], None]
"""Told what is being done, where that takes longer than a second."""
TIMEOUT_S = 300.0
"""Limit of each worker."""

_IMPORTS = """
import contextlib, json, sys
from echobench.plugin.manager import Plugins

plugin, task = sys.argv[1:]
plugins = Plugins.named([plugin])
if task:
    with contextlib.suppress(Exception):  # what it raises is for the other checks to say
        plugins.task(task).value().framing
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def silent(_: str) -> None:
    """Say nothing."""


def no_framework(plugin: str, plugins: Plugins, task: str = "") -> str:
    """Check that a plugin, loaded in a fresh process, brings no framework along.

    Args:
        plugin: where it comes from (`Provided.plugin`).
        plugins: all; the frameworks are what their backends require.
        task: the name of a task, which is then made and framed, as every plan does.
    """
    arguments = [sys.executable, "-c", _IMPORTS, plugin, task]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FaultError(
            f"in a fresh process it cannot be loaded: {last}",
            "it must load alone, without what another module did before",
        )
    frameworks = {"keras"}.union(*(p.value.requires for p in plugins.backends.values()))
    brought = sorted(frameworks & set(json.loads(done.stdout.splitlines()[-1])))
    if brought:
        raise FaultError(
            f"loading it imports {', '.join(brought)}",
            "import frameworks inside the functions that need them: every echobench command "
            "loads every plugin",
        )
    return "loading it imports no framework"


def usable(plugins: Plugins, *, training: bool = True) -> list[Backend]:
    """Return the backends with Keras that can be used here, the reference first."""
    everything = [provided.value for _, provided in sorted(plugins.backends.items())]
    found = [
        backend
        for backend in everything
        if backend.uses_keras and backend.why_unavailable() is None
        if backend.trains or not training
    ]
    return sorted(found, key=lambda backend: not backend.reference)


def quick_trial(selector: str, backend: str, plugins: Plugins) -> Trial:
    """Return the quick trial of a task's closed recipe on a backend."""
    selection = Selection(
        tasks=[selector],
        backends=[backend],
        threads=facts.usable_cores(),
        timeout_s=TIMEOUT_S,
        quick=True,
    )
    return plan(selection, plugins)[0]


def probed(
    probe: str, trial: Trial, plugins: Plugins, recipes: dict[str, Recipe] | None = None
) -> dict[str, Any]:
    """Run a probe (`echobench.worker.probes`) in a worker; return what it found.

    Raises:
        FaultError: the worker did not finish.
    """
    with tempfile.TemporaryDirectory(prefix="echobench-check-") as folder:
        backend = plugins.backend(trial.backend).value
        job = Job(kind="probe", trials=[trial], probe=probe, recipes=recipes or {})
        (fields,) = launch.work(job, backend, Path(folder) / "log")
    if "reason" in fields:
        raise FaultError(
            f"on {trial.backend}: {fields['reason']}",
            f"see how it fails with: echobench run --quick --backend {trial.backend} "
            f"--task '{trial.label}'",
        )
    return fields


def parity(trial: Trial, plugins: Plugins) -> str:
    """Check the parity gate in a quick trial, run as `echobench run --quick` runs it."""
    with tempfile.TemporaryDirectory(prefix="echobench-check-") as folder:
        store = Store(Path(folder), quick=True)
        options = JobOptions(command=["echobench", "check"])
        matrix = Matrix(plugins=plugins, store=store, options=options)
        (record,) = matrix.run([trial], Watcher())
    if record.status == "unsupported":
        raise SkipError(str(record.reason))
    if record.status == "failed" or record.parity is None:
        tail = record.log_tail[-1] if record.log_tail else ""
        raise FaultError(
            f"on {trial.backend}: {record.status}, {record.reason} {tail}".strip(),
            f"see how it fails with: echobench run --quick --task '{trial.label}'",
        )
    if record.parity.passed is None:
        raise SkipError("the reference gave no losses to compare with; is its backend installed?")
    found = (
        f"{trial.backend} {trial.engine} and {record.parity.reference}: the first "
        f"{record.parity.updates} losses differ by {record.parity.largest_difference:.1e} at most"
    )
    if not record.parity.passed:
        raise FaultError(
            f"{found}; expected {record.parity.tolerance:.0e}",
            "the two do not compute the same: compare weights, learning rate, carried state, "
            "masks and the order of layers",
        )
    return found


def differing(values: Iterable[tuple[str, Any]]) -> list[str]:
    """Return the names whose value is not the first's."""
    first, *others = list(values)
    return [name for name, value in others if value != first[1]]
