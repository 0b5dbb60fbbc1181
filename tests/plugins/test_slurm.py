"""Trials as Slurm jobs: on a real controller where there is one, else as submitit's processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import slurm, until
from tests.soak.harness import Harness


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    missing = [name for name in ("munged", "slurmctld", "slurmd") if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        why = f"no Slurm that could be started: {', '.join(missing) or 'not root'}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with slurm() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


def all_reached(folder: Path, selector: str) -> None:
    harness = Harness(folder, seeds=2)
    process = harness.start("--executor", selector, output=subprocess.PIPE)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, said + errors
    found, damaged = harness.records()
    assert damaged == []
    assert found == {trial.key: 1 for trial in harness.trials}
    (path,) = harness.results.glob("records-*.jsonl")
    for line in path.read_text().splitlines():
        told = json.loads(line)["provenance"]
        assert told["executor"]["name"] == "slurm"
        assert told["path"]["affinity"] == told["cores"]


def test_trials_are_jobs_of_a_real_controller(controller: None, tmp_path: Path) -> None:
    all_reached(tmp_path, "slurm[partition=main]")


def test_a_job_that_is_cancelled_is_submitted_again(controller: None, tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=1, task="tiny[nap=1.0]")
    process = harness.start("--executor", "slurm[patience=0]", output=subprocess.PIPE)

    def running() -> list[str]:
        asked = ["squeue", "--noheader", "--states=RUNNING", "--format=%A"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        return done.stdout.split()

    until(lambda: bool(running()))
    subprocess.run(["scancel", "--signal=KILL", "--full", *running()], check=True)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, said + errors
    (path,) = harness.results.glob("records-*.jsonl")
    (record,) = map(json.loads, path.read_text().splitlines())
    assert record["status"] == "reached"
    lost = record["provenance"]["executor"]["lost"]
    assert lost == ["its job left the queue without a result"]


def test_trials_are_jobs_of_submitit_alone(tmp_path: Path) -> None:
    all_reached(tmp_path, "slurm[cluster=local]")


def test_no_slurm_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    harness = Harness(tmp_path, seeds=1)
    process = harness.start("--executor", "slurm", output=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "slurm[cluster=local]" in errors.splitlines()[-1]
