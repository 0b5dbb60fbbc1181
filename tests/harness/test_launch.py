"""What a worker is told and given, and trials for which none is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from echobench.harness import launch, process
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.cell import differences
from echobench.trial.job import Job
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from echobench.trial.variables import DEVICE_VARIABLES, KEPT, SET, why_refused
from tests.harness.faulty import planned, run
from tests.soak.harness import PLUGIN


def test_a_backend_that_is_not_installed_is_unavailable(tmp_path: Path) -> None:
    record = run(tmp_path, "pass", requires=("no_such_framework",))
    assert record.status == "unavailable"
    assert record.reason == "no_such_framework not installed; run: pip install no_such_framework"


def test_the_environment_is_an_allow_list(
    monkeypatch: pytest.MonkeyPatch, plugins: Plugins
) -> None:
    monkeypatch.setenv("KERAS_TORCH_COMPILE", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"], threads=3), plugins)
    built = launch.environment(plugins.backends["jax"].value, Job(trials=[trial]), "/private")
    assert built["KERAS_BACKEND"] == "jax"
    assert built["KERAS_HOME"] == "/private"
    assert built["OMP_NUM_THREADS"] == "3"
    assert not {"KERAS_TORCH_COMPILE", "XLA_FLAGS"} & set(built)


RECORDED = """
class Seen(Knowing):
    name: ClassVar[str] = "seen"

    def environment(self, device, threads):
        return {"HIP_VISIBLE_DEVICES": "the backend's"} if threads == 2 else {}

    def devices(self):
        return ["cpu", "gpu"]

    def facts(self):
        import os, sys

        return {"variables": dict(os.environ), "path": sys.path}

@hookimpl
def echobench_backends():
    return [Seen()]
"""
"""A backend without a framework, said to run on GPUs, whose worker records its environment."""


def seen(folder: Path, task: str = "tiny", **selected: Any) -> Record:
    """Run a trial of a backend that records its worker's environment."""
    file = folder / "seen.py"
    # Its own hook replaces the one that it stands below.
    file.write_text(PLUGIN.read_text() + RECORDED)
    plugins = Plugins([file])
    (trial,) = plan(Selection(tasks=[task], backends=["seen"], **selected), plugins)
    backend = plugins.backends["seen"].value
    (record,) = launch.run_job(Job(trials=[trial]), backend, folder / "log")
    assert record.status == "reached", record.log_tail
    return record


GRANTED = {
    "CUDA_VISIBLE_DEVICES": "1",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
    "ROCR_VISIBLE_DEVICES": "GPU-1234",
    "HIP_VISIBLE_DEVICES": "0",
    "GPU_DEVICE_ORDINAL": "0",
    "ZE_AFFINITY_MASK": "0.1",
    "ONEAPI_DEVICE_SELECTOR": "level_zero:0",
}


def test_a_worker_sees_the_gpus_that_it_was_granted_and_the_record_names_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in GRANTED.items():
        monkeypatch.setenv(name, value)
    record = seen(tmp_path, device="gpu")
    assert GRANTED.items() <= record.execution["variables"].items()
    assert record.provenance.granted == GRANTED
    assert Record.from_dict(json.loads(record.to_json())) == record
    # What a backend sets itself stays.
    again = seen(tmp_path, device="gpu", threads=2)
    assert again.execution["variables"]["HIP_VISIBLE_DEVICES"] == "the backend's"
    on_cpu = seen(tmp_path)
    assert not GRANTED.keys() & on_cpu.execution["variables"].keys()
    assert on_cpu.provenance.granted is None


@pytest.mark.parametrize("kind", get_args(Job.model_fields["kind"].annotation))
def test_workers_of_every_kind_see_the_gpus(
    kind: Any, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (trial,) = plan(Selection(tasks=["whole"], backends=["torch"], device="gpu"), plugins)
    backend = plugins.backends["torch"].value
    built = launch.environment(backend, Job(kind=kind, trials=[trial]), "/private")
    assert built["CUDA_VISIBLE_DEVICES"] == "1"
    on_cpu = Job(kind=kind, trials=[trial.model_copy(update={"device": "cpu"})])
    assert launch.environment(backend, on_cpu, "/private")["CUDA_VISIBLE_DEVICES"] == ""


def test_files_in_the_current_folder_are_no_modules_of_a_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("copy", "random", "typing"):
        (here / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(here)
    # As `PYTHONPATH=$PYTHONPATH:/elsewhere` leaves it where there was none.
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path / 'elsewhere'}")
    record = seen(tmp_path)
    assert record.execution["variables"]["PYTHONPATH"] == str(tmp_path / "elsewhere")
    assert not {"", str(here)} & set(record.execution["path"])
    monkeypatch.setenv("PYTHONPATH", "")
    assert "PYTHONPATH" not in seen(tmp_path).execution["variables"]


def test_a_variable_that_is_handed_over_reaches_the_worker_and_its_record(tmp_path: Path) -> None:
    given = {"XLA_FLAGS": "--a=b c", "EMPTY": ""}
    record = seen(tmp_path, "tiny[units=2]", environment=given)
    assert given.items() <= record.execution["variables"].items()
    assert record.trial.environment == given
    usual = seen(tmp_path, "tiny[units=2]")
    assert record.key != usual.key
    assert record.cell.variables == "EMPTY= XLA_FLAGS=--a=b c"
    assert record.cell.without("environment") == usual.cell.without("environment")
    assert differences([record.cell, usual.cell])[0] == {
        "environment.EMPTY": "", "environment.XLA_FLAGS": "--a=b c"
    }  # fmt: skip # one line reads better


def test_what_echobench_sets_or_hands_over_is_on_the_lists(
    monkeypatch: pytest.MonkeyPatch, plugins: Plugins
) -> None:
    for name in (*KEPT, *DEVICE_VARIABLES):
        monkeypatch.setenv(name, "here")
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"], device="gpu"), plugins)
    backend = plugins.backends["jax"].value
    built = launch.environment(backend, Job(trials=[trial]), "/private")
    assert built.keys() - backend.environment("gpu", 1).keys() == {
        *KEPT, *DEVICE_VARIABLES, *SET
    }  # fmt: skip # one line reads better
    ours = built.keys() - backend.environment("gpu", 1).keys()
    assert all(why_refused(name, "") for name in ours)


def test_what_a_worker_is_told_survives_the_trip(plugins: Plugins) -> None:
    (trial,) = plan(Selection(tasks=["partial[symbols=10]"], backends=["jax"]), plugins)
    assert Trial.model_validate_json(trial.model_dump_json()) == trial


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_a_device_that_is_not_there_is_a_row_that_says_so(plugins: Plugins, tmp_path: Path) -> None:
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"], device="gpu"), plugins)
    backend = plugins.backends["jax"].value
    (record,) = launch.run_job(Job(trials=[trial]), backend, tmp_path / "log")
    assert (record.status, record.reason) == ("unavailable", "expected a gpu; jax sees none")


def two_trials(folder: Path, fault: str) -> list[Record]:
    """Run a job of two trials in one process, of a worker that does what `fault` says."""
    trial, plugins = planned(folder, fault)
    job = Job(trials=[trial, trial.model_copy(update={"seed": 1})])
    return launch.run_job(job, plugins.backends["faulty"].value, folder / "log")


def test_each_trial_of_a_job_has_its_own_result(tmp_path: Path) -> None:
    once = "import_s=None, build_s=None, compile_s=None, wall_to_target_s=None"
    records = two_trials(tmp_path, f"result()\nresult({once})\nos._exit(0)")
    assert [(record.seed, record.status) for record in records] == [(0, "reached"), (1, "reached")]


def test_a_result_stays_where_the_next_trial_ends_the_process(tmp_path: Path) -> None:
    first, second = two_trials(tmp_path, "result()\nos._exit(7)")
    assert first.status == "reached"
    assert (second.status, second.seed) == ("failed", 1)
    assert second.reason == "the worker ended with exit code 7 and no result"
    assert second.log_tail == ["about to go wrong"]


def test_a_worker_that_dies_in_a_trial_leaves_the_others(tmp_path: Path) -> None:
    (record,) = two_trials(tmp_path, "raise ValueError('it died')")
    assert (record.seed, record.status) == (0, "failed")
    assert (record.reason or "").endswith("ValueError: it died")


def test_more_results_than_trials_are_none(tmp_path: Path) -> None:
    records = two_trials(tmp_path, "for _ in range(3): result()\ntime.sleep(60)")
    assert [(record.seed, record.status) for record in records] == [(0, "failed"), (1, "failed")]
    assert {record.reason for record in records} == {"the worker reported more than one result"}


def test_folders_that_vanish_while_programs_are_counted_cost_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, plugins = planned(tmp_path, "result()\nos._exit(0)")
    cache = tmp_path / "compiled"
    scandir = os.scandir

    def vanishing(path: Any) -> Any:
        if Path(path).name == "build":  # another job's compiler is done just then
            Path(path).rmdir()
        found = scandir(path)
        if Path(path) == cache:
            (cache / "build").mkdir(exist_ok=True)
        return found

    (cache / "kept").mkdir(parents=True)
    (cache / "kept" / "program").touch()
    (cache / "build").mkdir()
    monkeypatch.setattr(os, "scandir", vanishing)
    job = Job(trials=[trial], cache=cache)
    (record,) = launch.run_job(job, plugins.backends["faulty"].value, tmp_path / "log")
    assert record.status == "reached"
    assert record.provenance.cache == {"found": 1, "added": 0}


def test_an_interrupt_ends_workers_and_leaves_other_processes_of_the_program() -> None:
    asleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(asleep) as other, subprocess.Popen([*asleep, process.MODULE]) as worker:
        launch.end_strays()
        assert worker.wait(timeout=10) < 0
        assert other.poll() is None
        other.kill()
