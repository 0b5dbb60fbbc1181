"""Trials on a real Ray cluster of two nodes, which die, and whose driver dies."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import RayCluster, ray_cluster, until
from tests.soak.harness import Harness

SECOND = "127.0.0.3"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(1, 1) as found:
        yield found


def started(harness: Harness, cluster: RayCluster, *more: str) -> subprocess.Popen[str]:
    told = ("--executor", "ray", "--address", cluster.address)
    return harness.start(*told, *more, output=subprocess.PIPE)


def finished(process: subprocess.Popen[str]) -> None:
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, said + errors


def lines(harness: Harness) -> list[dict[str, Any]]:
    """Return all whole lines so far."""
    text = "".join(path.read_text() for path in harness.results.glob("records-*.jsonl"))
    return [json.loads(line) for line in text.split("\n")[:-1]]


def together(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two trials ran at the same time."""
    begun, then = (datetime.fromisoformat(r["started_at"]).timestamp() for r in (one, other))
    return bool(begun < then + other["wall_s"] and then < begun + one["wall_s"])


def each_once(harness: Harness) -> None:
    found, damaged = harness.records()
    assert damaged == []
    assert found == {trial.key: 1 for trial in harness.trials}


def test_trials_spread_over_the_nodes_each_on_a_core_of_its_own(
    cluster: RayCluster, tmp_path: Path
) -> None:
    harness = Harness(tmp_path, seeds=4, task="tiny[nap=0.2]")
    finished(started(harness, cluster))
    each_once(harness)
    records = lines(harness)
    assert len({record["provenance"]["executor"]["node"] for record in records}) == 2
    for record in records:
        (core,) = record["provenance"]["cores"]
        assert record["provenance"]["path"]["affinity"] == [core]
        others = [one for one in records if one is not record and together(one, record)]
        assert [core] not in [one["provenance"]["cores"] for one in others]
    again = started(harness, cluster)
    _, errors = again.communicate(timeout=60)
    assert "4 of 4 trials are done" in errors


def test_a_node_that_dies_loses_no_trial(cluster: RayCluster, tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=7, task="tiny[nap=0.5]")
    driver = started(harness, cluster)
    until(lambda: len(lines(harness)) >= 2)
    time.sleep(1.0)  # both nodes are amid a trial
    cluster.kill(SECOND)
    try:
        finished(driver)
    finally:
        cluster.add(SECOND)
    each_once(harness)
    lost = [record["provenance"]["executor"].get("lost") for record in lines(harness)]
    assert sum(map(bool, lost)) == 1
    assert next(filter(None, lost)) == ["its node is gone (NodeDiedError)"]
    until(lambda: cluster.workers() == [])  # the guard ended what ran there


def test_a_driver_that_is_killed_resumes(cluster: RayCluster, tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=5, task="tiny[nap=0.3]")
    driver = started(harness, cluster)
    until(lambda: len(lines(harness)) >= 1)
    before = len(lines(harness))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    finished(started(harness, cluster))
    each_once(harness)
    assert 1 <= before < 5
    interrupted = Harness(tmp_path / "interrupted", seeds=3, task="tiny[nap=0.3]")
    driver = started(interrupted, cluster)
    until(lambda: len(lines(interrupted)) >= 1)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130, errors
    recorded = f"{len(lines(interrupted))} of 3 trials are recorded"
    assert errors.splitlines()[-1].startswith(f"interrupted: {recorded}")
    until(lambda: cluster.workers() == [])


def test_each_trial_sees_the_gpus_that_it_was_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # the nodes', where Ray grants none
    here = tmp_path / "here"
    here.mkdir()
    (here / "cpuinfo.py").write_text("raise SystemExit('the wrong one')")
    with ray_cluster(2, gpus=2) as granting:
        monkeypatch.chdir(here)
        harness = Harness(tmp_path, seeds=4, task="tiny[nap=0.5]")
        finished(started(harness, granting, "--device", "gpu"))
        told = [record["provenance"] for record in lines(harness)]
        assert all(one["granted"] == one["path"]["visible"] for one in told)
        assert {one["granted"]["CUDA_VISIBLE_DEVICES"] for one in told} == {"0", "1"}
        assert all(str(here) not in one["path"]["searched"] for one in told)
        on_cpu = Harness(tmp_path / "cpu", seeds=1)
        finished(started(on_cpu, granting))
        (record,) = lines(on_cpu)
        assert record["provenance"]["path"]["visible"] == {}
        assert "granted" not in record["provenance"]


def test_what_cannot_be_run_there_is_one_line(cluster: RayCluster, tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=1)
    for told, expected in (
        (("--executor", "ray", "--address", "127.0.0.9:1"), "no cluster at 127.0.0.9:1"),
        (("--executor", "ray", "--address", cluster.address, "--threads", "64"), "64 CPUs"),
        (("--executor", "ray[adress=x]"), "did you mean 'address'?"),
        (("--executor", "local", "--address", "x"), "executor 'local' is reached without one"),
        (("--executor", "ray", "--cache"), "expected neither --cache nor --watch"),
    ):
        process = harness.start(*told, output=subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2, errors
        assert expected in errors.splitlines()[-1]
