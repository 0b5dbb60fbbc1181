"""Trials that are run again: by the matrix, with workers that go wrong the first time."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.analysis.table import summary
from echobench.harness.matrix import Matrix, Watcher
from echobench.store.folder import Store
from echobench.trial.job import JobOptions, Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from tests.harness.faulty import planned

FIRST_TIME = """
marker = Path({folder!r}, "been here")
if not marker.exists():
    marker.touch()
    print("the first time")
    os._exit(7)
"""


def records(
    folder: Path, fault: str, retries: int, requires: tuple[str, ...] = ()
) -> tuple[list[Record], list[str]]:
    trial, plugins = planned(folder, fault, requires=requires)
    matrix = Matrix(plugins, Store(folder), JobOptions(retries=retries), gate=False)
    phases: list[str] = []

    def progressed(trial: Trial, progress: Progress) -> None:
        phases.append(progress.phase)

    assert len([*matrix.run([trial], Watcher(progressed=progressed))]) == 1
    return Store(folder).load(), phases


def test_a_trial_that_failed_is_run_again_and_both_attempts_are_told(tmp_path: Path) -> None:
    fault = FIRST_TIME.format(folder=str(tmp_path)) + "result()\nos._exit(0)"
    (record,), phases = records(tmp_path, fault, retries=3)
    assert record.status == "reached"
    first, second = record.provenance.attempts or []
    assert (first["status"], second["status"]) == ("failed", "reached")
    assert first["reason"] == "the worker ended with exit code 7 and no result"
    assert first["wall_s"] > 0
    logs = tmp_path / "logs"
    assert "the first time" in (logs / f"{record.key}.log").read_text()
    assert "the first time" not in (logs / f"{record.key}-attempt2.log").read_text()
    assert "attempt 2" in phases
    assert summary([record])[0]["note"].startswith("after 2 attempts")


def test_there_are_as_many_attempts_as_were_asked_for(tmp_path: Path) -> None:
    (record,), _ = records(tmp_path, "os._exit(7)", retries=1)
    assert record.status == "failed"
    assert [told["status"] for told in record.provenance.attempts or []] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("fault", "requires", "retries"),
    [("os._exit(7)", (), 0), ("pass", ("no_such_framework",), 5)],
)
def test_nothing_is_run_again_that_should_not(
    fault: str, requires: tuple[str, ...], retries: int, tmp_path: Path
) -> None:
    (record,), _ = records(tmp_path, fault, retries, requires)
    assert record.status in {"failed", "unavailable"}
    assert record.provenance.attempts is None
