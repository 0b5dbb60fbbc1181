"""Executors with a fault: one line that says which, and no trial is lost without a word."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echobench.store.folder import Store
from tests import gone
from tests.conftest import Command

EXECUTOR = """
from contextlib import contextmanager
import msgspec
from echobench import Connection, Executor, JobLostError, hookimpl

class Handle:
    def __hash__(self):
        raise OSError('a hash')

class Same:
    def __hash__(self):
        return 1
    def __eq__(self, other):
        raise OSError('no other')

class Here(Connection):
    def __init__(self, site):
        self.site, self.jobs, self.first = site, [], None
    def room(self):
        return 1
    def start(self, job):
        self.jobs.append(job)
        return len(self.jobs) - 1
    def ended(self, handles, seconds):
        return handles
    def records(self, handle):
        return self.site.run_here(self.jobs[handle])
    def cancel(self, handle):
        pass

class Odd(Executor):
    name = "odd"
    local = True
    @contextmanager
    def connect(self, job, site):
        yield Here(site)

@hookimpl
def echobench_executors():
    return [Odd]
"""
RUN = "        return self.site.run_here(self.jobs[handle])"
OTHER = """        records = self.site.run_here(self.jobs[handle])
        self.first = self.first or records
        return self.first"""
CHANGED = """        (one,) = self.site.run_here(self.jobs[handle])
        if one.seed:
            {}
        return [one]"""
HERE = (
    "expected `records` to give the record of each trial, here one of whole gone native closed "
    "seed 1"
)
SWALLOWS = """        try:
            yield Here(site)
        except BaseException:
            pass"""
ONE = "1 record, one of whole gone native closed seed 0"
FAULTS = {
    "no context manager": (
        {"    @contextmanager\n": ""}, "def connect",
        "expected `connect` to give a context manager, as @contextmanager makes one; received "
        "<generator object Odd.connect>",
    ),
    "another connection": (
        {"yield Here(site)": "yield [Here(site)]"}, "    @contextmanager",
        "expected `connect` to give a Connection in its context; received [<",
    ),
    "no yield": (
        {"        yield Here(site)": "        if False: yield"}, "    @contextmanager",
        "RuntimeError: generator didn't yield",
    ),
    "no room": (
        {"return 1": "return None"}, "    def room",
        "expected `room` to give a number of jobs; received None",
    ),
    "one handle for two": (
        {"return len(self.jobs) - 1": "return 1", "return 1": "return 2"}, "    def start",
        "expected `start` to give a handle of its own for each job under way; received 2",
    ),
    "an unknown handle": (
        {"return handles": "return ['other']"}, "    def ended",
        "expected `ended` to give handles of jobs under way, each once; received 'other'",
    ),
    "a handle twice": (
        {"return handles": "return handles * 2"}, "    def ended",
        "expected `ended` to give handles of jobs under way, each once; received 0",
    ),
    "no records": (
        {RUN: "        return []"}, "    def records",
        f"expected `records` to give {ONE}; received 0 records",
    ),
    "records of another trial": (
        {RUN: OTHER}, "    def records",
        f"{HERE}; received one with key='",
    ),
    "two yields": (
        {"        yield Here(site)": "        yield Here(site)\n        yield Here(site)"},
        "    @contextmanager", "RuntimeError: generator didn't stop",
    ),
    "a handle without a hash": (
        {"return len(self.jobs) - 1": "return [1]"}, "    def start",
        "expected `start` to give a hashable handle; received [1]",
    ),
    "a handle that cannot be hashed": (
        {"return len(self.jobs) - 1": "return Handle()"}, "        raise OSError('a hash')",
        "OSError: a hash",
    ),
    "a handle that cannot be compared": (
        {"return len(self.jobs) - 1": "return Same()", "return 1": "return 2"},
        "        raise OSError('no other')", "OSError: no other",
    ),
    "a list for a handle": (
        {"return handles": "return [[1]]"}, "    def ended",
        "expected `ended` to give handles of jobs under way, each once; received [1]",
    ),
    "a tampered record": (
        {RUN: CHANGED.format("one.seed, one.backend, one.status = 77, 'jax', 'reached'")},
        "    def records", f"{HERE}; received one with backend='jax', seed=77; earlier",
    ),
    "another trial under the same key": (
        {RUN: CHANGED.format("one.trial = msgspec.structs.replace(one.trial, threads=9)")},
        "    def records", f"{HERE}; received one with trial.threads=9; earlier",
    ),
    "a record that cannot be true": (
        {RUN: CHANGED.format("one.status, one.reason = 'reached', None")},
        "    def records", f"{HERE}; received one that cannot be true: ",
    ),
    "no trial": (
        {RUN: CHANGED.format("one.trial = None")}, "    def records",
        f"{HERE}; received one that no results folder takes: ValidationError: Expected `object`, "
        "got `null` - at `$.trial`",
    ),
    "no provenance": (
        {RUN: CHANGED.format("one.provenance = None")}, "    def records",
        f"{HERE}; received one that no results folder takes: ValidationError: ",
    ),
    "an odd reason": (
        {RUN: CHANGED.format("one.reason = object()")}, "    def records",
        f"{HERE}; received one that no results folder takes: TypeError: Encoding objects of type "
        "object is unsupported",
    ),
    "a NaN": (
        {RUN: CHANGED.format("one.accuracy = float('nan')")}, "    def records",
        f"{HERE}; received one that no results folder takes: ValidationError: Expected a finite "
        "number - at `$.accuracy`",
    ),
    "no job": (
        {"        self.jobs.append(job)": "        self.site.run_here(None)"},
        "        self.site.run_here(None)",
        "TypeError: expected `run_here` to be given Job; received None",
    ),
    "no progress": (
        {"        self.jobs.append(job)": "        self.site.progressed(job.trial, 'x')"},
        "        self.site.progressed(",
        "TypeError: expected `progressed` to be given Trial, Progress; received Trial(",
    ),
    "what it swallows": (
        {RUN: "        return None", "        yield Here(site)": SWALLOWS}, "    def records",
        "expected `records` to give a list of records; received None",
    ),
}  # fmt: skip # change, place and reason stand together
RUN_IT = ("run", "--plugin", "own.py", "--plugin", gone.NAME, "--executor", "odd", "--backend",
          "gone", "--task", "whole", "--threads", "1", "--seeds", "2",
          "--forks", "2")  # fmt: skip # as it is typed


@pytest.fixture(autouse=True)
def backend(tmp_path: Path) -> None:
    """Have a backend whose trials need no worker."""
    (tmp_path / gone.NAME).write_text(gone.GONE)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_executor_with_a_fault_ends_the_run_with_one_line(
    fault: str, tmp_path: Path, forked: Command
) -> None:
    changes, part, reason = FAULTS[fault]
    text = EXECUTOR
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "own.py").write_text(text)
    line = text[: text.index(part)].count("\n") + 1
    done = forked(*RUN_IT)
    assert done.returncode == 2
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("echobench: "))
    assert told.startswith(f"echobench: executor 'odd': own.py, line {line}: {reason}")
    assert told.endswith("; earlier records are kept, and the same command resumes")
    assert "Traceback" not in done.stderr
    # What ended here is recorded, once, as the trial that it was: what was made of it is not.
    kept = [*Store.read(tmp_path / "results")]
    both = fault == "two yields" or HERE in reason
    assert [record.seed for record in kept] == ([0, 1] if both else [])
    assert {(record.backend, record.status) for record in kept} <= {("gone", "unavailable")}


def test_an_executor_without_room_runs_one_job_at_a_time(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(EXECUTOR.replace("return 1", "return 0"))
    forked(*RUN_IT)  # it ended never
    assert len([*Store.read(tmp_path / "results")]) == 2


def test_what_it_raises_while_it_cancels_hides_nothing(tmp_path: Path, forked: Command) -> None:
    text = EXECUTOR.replace("        pass", "        raise OSError('no cancel')")
    text = text.replace("return handles", "raise KeyError('node')")
    (tmp_path / "own.py").write_text(text)
    done = forked(*RUN_IT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        "executor 'odd': own.py, line 29: OSError: no cancel",
        "echobench: executor 'odd': own.py, line 25: KeyError: 'node'; earlier records are kept, "
        "and the same command resumes",
    ]


def test_a_job_that_is_always_lost_is_a_failed_trial(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(EXECUTOR.replace(RUN, "        raise JobLostError('gone')"))
    done = forked(*RUN_IT)
    assert done.returncode == 1
    assert done.stderr.count("failed, lost 4 times with its machine: gone") == 2


def test_trials_that_never_ran_are_counted(tmp_path: Path, forked: Command) -> None:
    text = EXECUTOR.replace("        self.jobs.append(job)", "        raise NotStartedError")
    text = f"from echobench.harness.here import NotStartedError\n{text}"  # as if time were up
    (tmp_path / "own.py").write_text(text)
    done = forked(*RUN_IT)
    assert done.returncode == 1
    assert (
        "2 of 2 trials were not run: executor 'odd' ended without their records; the same command "
        "runs them\n" in done.stderr
    )
    assert not [*Store.read(tmp_path / "results")]


def test_an_executor_says_what_it_needs(tmp_path: Path, forked: Command) -> None:
    text = EXECUTOR.replace("    local = True\n", "    local = True\n    queue: str\n")
    (tmp_path / "own.py").write_text(text)
    done = forked(*RUN_IT)
    assert (done.returncode, done.stderr) == (
        2,
        "echobench: executor odd needs queue; write --executor 'odd[queue=...]' --plugin own.py\n",
    )


SLEEPS = """        import time
        try:
            (self.site.folder / "ready").touch()
            time.sleep(60)
        except BaseException:
            pass
        return []"""
FOREVER = """        import time
        while True:
            try:
                (self.site.folder / "ready").touch()
                time.sleep(60)
            except BaseException:
                pass"""


@pytest.mark.parametrize("code", [SLEEPS, FOREVER])
def test_an_executor_that_swallows_an_interrupt_does_not_outlive_the_second(
    code: str, tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(EXECUTOR.replace("        return handles", code))
    ready = tmp_path / "results" / "ready"
    with subprocess.Popen(
        [sys.executable, "-m", "echobench", *RUN_IT], cwd=tmp_path, stderr=subprocess.PIPE,
        text=True,
    ) as running:  # fmt: skip # one line reads better
        try:
            for _ in range(2 if code is FOREVER else 1):
                while not ready.exists() and running.poll() is None:
                    time.sleep(0.05)
                ready.unlink(missing_ok=True)
                running.send_signal(signal.SIGINT)
            _, told = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130
    assert re.match(r"interrupted: \d of \d trials are recorded", told.splitlines()[-1])
