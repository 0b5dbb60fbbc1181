"""What a worker is told and given, and trials for which none is started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from tests.harness.faulty import planned, run


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
    built = launch.environment(plugins.backend("jax").value, Job(trials=[trial]), "/private")
    assert built["KERAS_BACKEND"] == "jax"
    assert built["KERAS_HOME"] == "/private"
    assert built["OMP_NUM_THREADS"] == "3"
    assert not {"KERAS_TORCH_COMPILE", "XLA_FLAGS"} & set(built)


def test_what_a_worker_is_told_survives_the_trip(plugins: Plugins) -> None:
    (trial,) = plan(Selection(tasks=["partial[symbols=10]"], backends=["jax"]), plugins)
    assert Trial.model_validate_json(trial.model_dump_json()) == trial


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_a_device_that_is_not_there_is_a_row_that_says_so(plugins: Plugins, tmp_path: Path) -> None:
    (trial,) = plan(Selection(tasks=["whole"], backends=["jax"], device="gpu"), plugins)
    backend = plugins.backend("jax").value
    (record,) = launch.run_job(Job(trials=[trial]), backend, tmp_path / "log")
    assert (record.status, record.reason) == ("unavailable", "expected a gpu; jax sees none")


def two_trials(folder: Path, fault: str) -> list[Record]:
    """Run a job of two trials in one process, of a worker that does what `fault` says."""
    trial, plugins = planned(folder, fault)
    job = Job(trials=[trial, trial.model_copy(update={"seed": 1})])
    return launch.run_job(job, plugins.backend("faulty").value, folder / "log")


def test_each_trial_of_a_job_has_its_own_result(tmp_path: Path) -> None:
    records = two_trials(tmp_path, "result()\nresult()\nos._exit(0)")
    assert [(record.seed, record.status) for record in records] == [(0, "reached"), (1, "reached")]


def test_a_result_stays_where_the_next_trial_ends_the_process(tmp_path: Path) -> None:
    first, second = two_trials(tmp_path, "result()\nos._exit(7)")
    assert first.status == "reached"
    assert (second.status, second.seed) == ("failed", 1)
    assert second.reason == "the worker ended with exit code 7 and no result"
    assert second.log_tail == ["about to go wrong"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise ValueError('it died')", "ValueError: it died"),
        ("for _ in range(3): result()\ntime.sleep(60)", "the worker reported more than one result"),
    ],
)
def test_what_befalls_the_process_befalls_each_trial(
    fault: str, reason: str, tmp_path: Path
) -> None:
    records = two_trials(tmp_path, fault)
    assert [(record.seed, record.status) for record in records] == [(0, "failed"), (1, "failed")]
    assert {record.reason for record in records} == {reason}
