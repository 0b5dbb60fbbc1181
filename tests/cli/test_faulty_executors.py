"""Executors with a fault: one line that says which, and no trial is lost without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.store.folder import Store
from tests.conftest import Command

EXECUTOR = """
from contextlib import contextmanager
from echobench import Connection, Executor, JobLostError, hookimpl

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
SWALLOWS = """        try:
            yield Here(site)
        except BaseException:
            pass"""
ONE = "1 record, one of whole numpy fused closed seed 0"
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
        {"        yield Here(site)": "        if False: yield"}, "class Odd",
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
        "expected `records` to give the record of each trial, here one of whole numpy fused closed "
        "seed 1; received one of whole numpy fused closed, seed 0",
    ),
    "what it swallows": (
        {RUN: "        return None", "        yield Here(site)": SWALLOWS}, "    def records",
        "expected `records` to give a list of records; received None",
    ),
}  # fmt: skip # change, place and reason stand together
RUN_IT = ("run", "--plugin", "own.py", "--executor", "odd", "--backend", "numpy", "--task",
          "whole", "--quick", "--threads", "1", "--seeds", "2")  # fmt: skip # as it is typed


@pytest.mark.parametrize("fault", FAULTS)
def test_an_executor_with_a_fault_ends_the_run_with_one_line(
    fault: str, tmp_path: Path, echobench: Command
) -> None:
    changes, part, reason = FAULTS[fault]
    text = EXECUTOR
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "own.py").write_text(text)
    line = text[: text.index(part)].count("\n") + 1
    done = echobench(*RUN_IT)
    assert done.returncode == 2
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("echobench: "))
    assert told.startswith(f"echobench: executor 'odd': own.py, line {line}: {reason}")
    assert told.endswith("; earlier records are kept, and the same command resumes")
    assert "Traceback" not in done.stderr
    # What ended before the fault is recorded, once, as the trial that it was.
    kept = [record.seed for record in Store.read(tmp_path / "results" / "quick")]
    assert kept == ([0] if fault == "records of another trial" else [])


def test_an_executor_without_room_runs_one_job_at_a_time(
    tmp_path: Path, echobench: Command
) -> None:
    (tmp_path / "own.py").write_text(EXECUTOR.replace("return 1", "return 0"))
    echobench(*RUN_IT)  # it ended never
    assert len([*Store.read(tmp_path / "results" / "quick")]) == 2


def test_what_it_raises_while_it_cancels_hides_nothing(tmp_path: Path, echobench: Command) -> None:
    text = EXECUTOR.replace("        pass", "        raise OSError('no cancel')")
    text = text.replace("return handles", "raise KeyError('node')")
    (tmp_path / "own.py").write_text(text)
    done = echobench(*RUN_IT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        "executor 'odd': own.py, line 18: OSError: no cancel",
        "echobench: executor 'odd': own.py, line 14: KeyError: 'node'; earlier records are kept, "
        "and the same command resumes",
    ]


def test_a_job_that_is_always_lost_is_a_failed_trial(tmp_path: Path, echobench: Command) -> None:
    (tmp_path / "own.py").write_text(EXECUTOR.replace(RUN, "        raise JobLostError('gone')"))
    done = echobench(*RUN_IT)
    assert done.returncode == 1
    assert done.stderr.count("failed, lost 4 times with its machine: gone") == 2


def test_an_executor_says_what_it_needs(tmp_path: Path, echobench: Command) -> None:
    text = EXECUTOR.replace("    local = True\n", "    local = True\n    queue: str\n")
    (tmp_path / "own.py").write_text(text)
    done = echobench(*RUN_IT)
    assert (done.returncode, done.stderr) == (
        2,
        "echobench: executor odd needs queue; write --executor 'odd[queue=...]' --plugin own.py\n",
    )
