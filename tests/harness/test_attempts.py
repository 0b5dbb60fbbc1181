"""Trials that are run again: by the matrix, with workers that go wrong the first time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from echobench.analysis.table import summary
from echobench.errors import JobLostError
from echobench.harness.matrix import Matrix, Watcher
from echobench.plugin.interfaces import Connection, Executor, Site
from echobench.store.folder import Store
from echobench.trial.job import Job, JobOptions, Progress
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


def test_a_trial_that_failed_is_run_again_and_both_attempts_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("attempt 1 of ")
    assert said.endswith("failed, the worker ended with exit code 7 and no result; it runs again")
    assert summary([record])[0]["note"].startswith("after 2 attempts")


class Losing(Executor):
    """Runs the first job, and loses each further one with its machine."""

    name = "losing"

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        yield _Lossy(site)


class Late(Executor):
    """Says of each job that its budget was spent as it came to its turn."""

    name = "late"
    started: ClassVar[int] = 0

    @contextlib.contextmanager
    def connect(self, job: Job, site: Site) -> Iterator[Connection]:
        connection = _Lossy(site)
        connection.records = lambda handle: []  # type: ignore[method-assign]
        yield connection
        type(self).started = len(connection.jobs)


class _Lossy(Connection):
    def __init__(self, site: Site) -> None:
        self._site = site
        self.jobs: list[Job] = []

    def room(self) -> int:
        return 1

    def start(self, job: Job) -> int:
        self.jobs.append(job)
        return len(self.jobs) - 1

    def ended(self, handles: list[int], seconds: float) -> list[int]:
        return handles

    def records(self, handle: int) -> list[Record]:
        if handle:
            raise JobLostError("its machine is gone")
        return self._site.run_here(self.jobs[handle])

    def cancel(self, handle: int) -> None:
        raise AssertionError("none is under way")


def test_a_clock_that_is_ahead_ends_the_budget_for_all(tmp_path: Path) -> None:
    trial, plugins = planned(tmp_path, "pass")
    matrix = Matrix(plugins, Store(tmp_path), JobOptions(), executor=Late(), gate=False)
    matrix.deadline = time.monotonic() + 600
    others = [trial.model_copy(update={"seed": seed}) for seed in range(1, 4)]
    assert [*matrix.run([trial, *others], Watcher())] == []
    assert Late.started == 1
    assert matrix.deadline <= time.monotonic()


def test_an_attempt_that_is_lost_with_its_machine_is_one(tmp_path: Path) -> None:
    trial, plugins = planned(tmp_path, "os._exit(7)")
    options = JobOptions(retries=3)
    matrix = Matrix(plugins, Store(tmp_path), options, executor=Losing(), gate=False)
    (record,) = matrix.run([trial], Watcher())
    first, second = record.provenance.attempts or []
    assert first["reason"] == "the worker ended with exit code 7 and no result"
    assert second["reason"] == record.reason == "lost 4 times with its machine: its machine is gone"
    assert summary([record])[0]["note"].endswith("; after 2 attempts")


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
