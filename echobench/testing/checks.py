"""Run checks and collect their results; the checks that tasks and backends share."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from echobench.core.backend import Backend
from echobench.core.task import Recipe
from echobench.errors import DataError
from echobench.harness import launch
from echobench.harness.asking import left_out
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.machine.cores import most_threads
from echobench.plugin.failures import one_line
from echobench.plugin.files import option_of
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import Job, JobOptions
from echobench.trial.trial import Trial

Say = Callable[[str], None]
"""Takes a line of progress, for whatever takes longer than a second."""
TIMEOUT_S = 300.0
"""Time limit of each worker."""

_LIST_IMPORTS = """
import contextlib, json, sys
from echobench.plugin.manager import Plugins

def imported():
    return {name.partition(".")[0] for name in sys.modules}

plugin, task = sys.argv[1:]
own = imported()
plugins = Plugins.named([plugin])
if task:
    with contextlib.suppress(Exception):  # the other checks report what it raises
        plugins.tasks[task].value().framing
print(json.dumps(sorted(imported() - own)))
"""


class CheckResult(BaseModel):
    """The result of one check.

    Attributes:
        name: the check's name.
        status: `warning` of what breaks no rule and is seldom meant; `skipped` if the check could
            not be made, for the reason that `found` gives.
        found: what the check observed.
        advice: what to change; empty unless the check failed or warns.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    status: Literal["passed", "warning", "failed", "skipped"]
    found: str
    advice: str = ""


class FaultError(Exception):
    """Raised by a check that fails: what it observed, and what to change."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


class CautionError(FaultError):
    """Raised by a check that warns: what it observed breaks no rule, and is seldom meant."""


class SkipError(Exception):
    """Raised by a check that cannot be made here; the message is the reason."""


def run_check(name: str, check: Callable[[], str]) -> CheckResult:
    """Run a check that returns what it observed, or raises an error of this module or DataError."""
    try:
        return CheckResult(name=name, status="passed", found=check())
    except FaultError as fault:
        status: Literal["warning", "failed"] = "failed"
        if isinstance(fault, CautionError):
            status = "warning"
        return CheckResult(name=name, status=status, found=fault.found, advice=fault.advice)
    except DataError as fault:
        return CheckResult(name=name, status="failed", found=str(fault), advice=fault.advice)
    except SkipError as skip:
        return CheckResult(name=name, status="skipped", found=str(skip))
    except Exception as error:  # the check calls the plugin's code, which may raise anything
        found = one_line(error)
        advice = "the plugin raised this exception; fix it"
        return CheckResult(name=name, status="failed", found=found, advice=advice)


class Results:
    """The results of checks, each of which is made if those that it needs did not fail."""

    def __init__(self) -> None:
        self._by_name: dict[str, CheckResult] = {}

    def run(self, name: str, check: Callable[[], str], *, needs: Iterable[str] = ()) -> None:
        """Make a check, or skip it if one that it needs failed, or was skipped itself."""
        missing = [need for need in needs if not self.holds(need)]
        if missing:
            first = self._by_name.get(missing[0])
            why = f"fix {', '.join(missing)} first"
            if first is not None and first.status == "skipped":
                why = first.found
            self._by_name[name] = CheckResult(name=name, status="skipped", found=why)
        else:
            self._by_name[name] = run_check(name, check)

    def holds(self, name: str) -> bool:
        """Return whether a check was made and did not fail."""
        return name in self._by_name and self._by_name[name].status in {"passed", "warning"}

    def listed(self, order: Sequence[str]) -> list[CheckResult]:
        """Return the results in an order of names."""
        return [self._by_name[name] for name in order if name in self._by_name]


def skip_checks(
    names: Sequence[str], why: str = "fix what failed above first"
) -> list[CheckResult]:
    """Return a skipped result for each name."""
    return [CheckResult(name=name, status="skipped", found=why) for name in names]


def none_failed(results: Sequence[CheckResult]) -> bool:
    """Return whether no check failed; skipped ones do not count."""
    return not any(result.status == "failed" for result in results)


def assert_none_failed(subject: str, results: Sequence[CheckResult]) -> None:
    """Raise AssertionError with all failures, one a line, if any check failed."""
    failures = [result for result in results if result.status == "failed"]
    if failures:
        lines = [f"{f.name}: {f.found} -> {f.advice}" for f in failures]
        raise AssertionError("\n".join([f"{subject} does not keep the rules:", *lines]))


def no_progress(_: str) -> None:
    """Discard lines of progress."""


def check_imports(plugin: str, plugins: Plugins, task: str = "") -> str:
    """Check that loading a plugin in a fresh process imports no framework.

    The frameworks are those that the backends among `plugins` require, but for what echobench
    imports itself. A task is instantiated and framed as well, as every plan does.
    """
    command = [sys.executable, "-P", "-c", _LIST_IMPORTS, plugin, task]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FaultError(
            f"it cannot be loaded in a fresh process: {last}",
            "it must load by itself, whatever other modules did before",
        )
    frameworks = {"keras"}
    for provided in plugins.backends.values():
        with contextlib.nullcontext() if provided.plugin == plugin else left_out():
            frameworks.update(name.partition(".")[0] for name in provided.requires())
    imported = sorted(frameworks & set(json.loads(done.stdout.splitlines()[-1])))
    if imported:
        raise FaultError(
            f"loading it imports {', '.join(imported)}",
            "import frameworks inside the functions that need them: every echobench command "
            "loads every plugin",
        )
    return "loading it imports no framework"


def usable_backends(plugins: Plugins, *, training: bool = True) -> list[Backend]:
    """Return the Keras backends that are installed, the reference first; leave broken ones out."""
    usable: list[Backend] = []
    for _, provided in sorted(plugins.backends.items()):
        with left_out():
            is_fit = provided.ask("trains", bool) or not training
            reason = provided.ask("why_unavailable", str | None)
            if is_fit and provided.ask("uses_keras", bool) and reason is None:
                usable.append(provided.value)
    return sorted(usable, key=lambda backend: not backend.reference)


def quick_trial(selector: str, backend: str, plugins: Plugins) -> Trial:
    """Return the quick trial of a task's closed recipe on a backend."""
    selection = Selection(
        tasks=[selector],
        backends=[backend],
        threads=most_threads(),
        timeout_s=TIMEOUT_S,
        quick=True,
    )
    return plan(selection, plugins)[0]


def run_probe(
    probe: str, trial: Trial, plugins: Plugins, recipes: dict[str, Recipe] | None = None
) -> dict[str, Any]:
    """Run a probe (`echobench.worker.probes`) in a worker; return its measurements."""
    with tempfile.TemporaryDirectory(prefix="echobench-check-") as folder:
        backend = plugins.backends[trial.backend].value
        job = Job(kind="probe", trials=[trial], probe=probe, recipes=recipes or {})
        (fields,) = launch.work(job, backend, Path(folder) / "log")
    if "reason" in fields:
        raise FaultError(
            f"on {trial.backend}: {fields['reason']}",
            f"reproduce it with: echobench run --quick --backend {trial.backend} "
            f"--task '{trial.label}'{option_of(trial.plugins)}",
        )
    return fields


def check_parity(trial: Trial, plugins: Plugins) -> str:
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
            f"reproduce it with: echobench run --quick --backend {trial.backend} "
            f"--task '{trial.label}'{option_of(trial.plugins)}",
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
            "the two do not compute the same: compare weights, learning rate, warm-up, decay, "
            "clipping, Adam's constants, carried state, masks and the order of layers",
        )
    return found


def differing(values: Iterable[tuple[str, Any]]) -> list[str]:
    """Return the names whose value differs from the first one's."""
    first, *others = list(values)
    return [name for name, value in others if value != first[1]]
