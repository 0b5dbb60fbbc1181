"""Workers that go wrong, as real processes: each becomes a record, and nothing stays behind."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psutil
import pytest

from echobench.harness import launch, process
from echobench.harness.plan import Selection, Trial, plan
from echobench.plugins import Plugins
from tests.harness.faulty import run


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise RuntimeError('bad luck')", "RuntimeError: bad luck"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("os.abort()", "ended by SIGABRT"),
        ("os._exit(7)", "ended with exit code 7 and no result"),
        ("os.closerange(3, 64); time.sleep(60)", "closed its pipe, without a result"),
    ],
)
def test_a_worker_that_dies_is_a_failed_record_with_its_log(
    fault: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 1.0)
    record = run(tmp_path, fault)
    assert record.status == "failed"
    assert record.reason is not None
    assert reason in record.reason
    assert "about to go wrong" in record.log_tail
    assert record.accuracy is None


def test_a_worker_that_hangs_is_killed_with_all_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 1.0)
    child = f"subprocess.Popen(['sleep', '61'], stdout=open({str(tmp_path / 'out')!r}, 'w'))"
    record = run(tmp_path, f"{child}; time.sleep(60)", timeout_s=3.0)
    assert record.status == "timeout"
    assert record.reason is not None
    assert "its limit of 3 s" in record.reason
    time.sleep(0.2)
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "61"]]


def test_garbage_on_stdout_and_on_the_pipe_harms_nothing(tmp_path: Path) -> None:
    junk = "os.write(int(sys.argv[1]), b'junk\\n{}\\n')"
    fault = f"print('x' * 10**6); {junk}; raise ValueError('v')"
    record = run(tmp_path, fault)
    assert (record.status, record.reason) == ("failed", "ValueError: v")


def test_a_result_that_is_no_record_is_a_failed_record(tmp_path: Path) -> None:
    event = '{"event": "result", "fields": {"status": "splendid"}}'
    fault = f"os.write(int(sys.argv[1]), b'{event}\\n'); os._exit(0)"
    record = run(tmp_path, fault)
    assert record.status == "failed"
    assert record.reason is not None
    assert record.reason.startswith("the worker's result is no record (status: ")


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
    built = launch.environment(plugins.backend("jax").value, trial, "/private")
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
    record = launch.run_trial(trial, backend, command=["test"], log=tmp_path / "log")
    assert (record.status, record.reason) == ("unavailable", "expected a gpu; jax sees none")
