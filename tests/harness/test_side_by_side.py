"""Jobs side by side on this machine: real runs, their ends, and what their records say."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import echobench
from echobench.errors import UsageError
from echobench.harness.here import Here
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.machine.cores import reserved_cores
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import Job, JobOptions, Progress
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from tests.conftest import Command
from tests.harness.test_own_cores import (
    THREADS,
    assert_own_cores,
    kept_to,
    lines,
    one_core,
    pytestmark,
)
from tests.soak.harness import PLUGIN, Harness, is_worker

__all__ = ["kept_to", "pytestmark"]
SEEDS = 3
OBSERVER = """
import threading
from echobench import Observer, hookimpl

class Watching(Observer):
    name = "watching"
    def trial_started(self, trial, results):
        self.note("started", trial, results)
    def trial_progressed(self, trial, progress):
        self.note("progressed", trial)
    def trial_finished(self, trial, record):
        self.note("finished", trial)
    def note(self, what, trial, results=None):
        self.file = results / "seen" if results else self.file
        thread = threading.current_thread() is threading.main_thread()
        with open(self.file, "a") as file:
            print(what, trial.seed, thread, file=file)

@hookimpl
def echobench_observers():
    return [Watching()]
"""


def run(harness: Harness, *more: str) -> tuple[int, str, str]:
    process = harness.start("--jobs", "2", *more, output=subprocess.PIPE)
    said, errors = process.communicate(timeout=300)
    return process.returncode, said, errors


def seeds(harness: Harness) -> list[int]:
    return sorted(record["seed"] for record in lines(harness))


def until(holds: Any, process: subprocess.Popen[str]) -> None:
    while not holds():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_jobs_run_at_once_on_cores_of_their_own(kept_to: list[int], tmp_path: Path) -> None:
    file = tmp_path / "watching.py"
    file.write_text(OBSERVER)
    harness = Harness(tmp_path, seeds=SEEDS, task="tiny[nap=0.5]")
    code, said, errors = run(harness, "--observe", "watching", "--plugin", str(file))
    assert code == 0, said + errors
    assert seeds(harness) == [*range(SEEDS)]
    assert_own_cores(lines(harness))
    assert {record["trial"]["side_by_side"] for record in lines(harness)} == {2}
    # An observer is called in one thread, and of each trial in order.
    seen = [line.split() for line in (harness.results / "seen").read_text().splitlines()]
    assert {thread for *_, thread in seen} == {"True"}
    for seed in map(str, range(SEEDS)):
        told = [what for what, number, _ in seen if number == seed]
        assert (told[0], told[-1]) == ("started", "finished")
        assert {*told[1:-1]} <= {"progressed"}


def test_by_default_the_jobs_share_the_threads_out(
    kept_to: list[int], tmp_path: Path, echobench: Command
) -> None:
    (record,) = [
        line
        for executor in (["--jobs", "2"], ["--executor", "local[jobs=2]"])
        for line in echobench(
            "run", "--task", "tiny", "--backend", "knowing", "--plugin", str(PLUGIN), "--results",
            str(tmp_path), "--unchecked", *executor, "--seeds", "1",
        ).stderr.splitlines()
        if "certified" in line
    ]  # fmt: skip # it reads better
    assert record  # the second command is the first in other words: its trial is done
    (stored,) = Store.read(tmp_path)
    assert (stored.trial.threads, stored.trial.side_by_side) == (1, 2)


def test_an_interrupt_loses_nothing_that_has_finished(kept_to: list[int], tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=SEEDS + 1, task="tiny[nap=2]")
    process = harness.start("--jobs", "2", output=subprocess.PIPE)
    until(lambda: lines(harness), process)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, said + errors
    recorded = f"{len(seeds(harness))} of {SEEDS + 1} trials are recorded"
    assert errors.splitlines()[-1] == f"interrupted: {recorded}; the same command resumes"
    assert "Traceback" not in errors
    assert 0 < len(seeds(harness)) < SEEDS + 1
    assert errors.count("certified 100%") <= len(seeds(harness))
    assert {record["status"] for record in lines(harness)} == {"reached"}
    assert harness.processes() == []
    assert harness.leftovers() == []
    code, said, errors = run(harness)  # the same command
    assert code == 0, said + errors
    assert seeds(harness) == [*range(SEEDS + 1)]


def test_a_trial_whose_judge_is_interrupted_in_a_thread_is_recorded(
    kept_to: list[int], tmp_path: Path
) -> None:
    harness = Harness(tmp_path, seeds=2)
    plugins = Plugins([PLUGIN])
    executor = plugins.executors["local"].value.model_validate({"jobs": 2})
    matrix = Matrix(plugins, Store(harness.results), JobOptions(), executor)
    finished = []
    judged = []

    def progressed(trial: Trial, progress: Progress) -> None:
        if progress.phase == "judge":
            judged.append(trial)
            if len(judged) == 1:  # Python's own handler would interrupt the ending, too
                os.kill(os.getpid(), signal.SIGINT)

    def note(trial: Trial, record: Record) -> None:
        finished.append(trial.key)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            list(matrix.run(harness.trials, Watcher(progressed=progressed, finished=note)))
    finally:
        signal.signal(signal.SIGINT, before)
    records = [*Store.read(harness.results)]
    assert records
    assert {record.status for record in records} == {"reached"}
    assert "interrupted" in [record.judge and record.judge.failure for record in records]
    assert [record.key for record in records] == finished
    assert [*filter(is_worker, psutil.Process().children(recursive=True))] == []


def test_a_worker_that_dies_leaves_the_other_job(kept_to: list[int], tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=2, task="tiny[nap=3]")
    process = harness.start("--jobs", "2", output=subprocess.PIPE)
    until(lambda: len(workers(process.pid)) == 2, process)
    workers(process.pid)[0].kill()
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 1, said + errors
    failed, reached = sorted(lines(harness), key=lambda record: record["status"])
    assert (failed["status"], reached["status"]) == ("failed", "reached")
    assert failed["reason"].startswith("the worker was ended by SIGKILL")


def workers(parent: int) -> list[psutil.Process]:
    """Return the workers below a run, without their guards."""
    found = []
    for guard in psutil.Process(parent).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it was another child, and has ended
            found += guard.children()
    return found


def test_an_error_in_a_thread_ends_the_run_with_its_line(
    kept_to: list[int], tmp_path: Path
) -> None:
    harness = Harness(tmp_path, seeds=SEEDS)
    (harness.results / "logs").touch()  # where a folder is to be
    code, said, errors = run(harness)
    assert code == 1, said + errors
    (line,) = [line for line in errors.splitlines() if line.startswith("echobench: ")]
    assert line.startswith("echobench: stopped at tiny knowing")
    assert "Traceback" not in errors
    assert harness.processes() == []


def test_jobs_that_wait_longer_than_the_budget_do_not_start(
    kept_to: list[int], tmp_path: Path
) -> None:
    harness = Harness(tmp_path, seeds=SEEDS)
    with reserved_cores(2):
        code, said, errors = run(harness, "--budget", "3s")
    assert code == 0, said + errors
    assert lines(harness) == []


@one_core
def test_more_jobs_than_cores_are_a_usage_error(
    kept_to: list[int], echobench: Command, tmp_path: Path
) -> None:
    for verb in (
        ("run", "--task", "whole", "--backend", "jax", "--jobs", "2"),
        ("run", "--task", "whole", "--backend", "jax", "--executor", "local[jobs=2]", "--dry-run"),
        ("study", "state", "--jobs", "2"),
    ):
        done = echobench(*verb)
        assert (done.returncode, done.stdout) == (2, ""), verb
        assert done.stderr == (
            "echobench: --jobs: expected at most 1 of 1 thread each, 1 in all, as many cores as "
            "this process may use; received 2; use fewer\n"
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"jobs": 0}, "--jobs: expected 1 or more; received 0"),
        ({"jobs": 2, "executor": "local[jobs=3]"}, "--jobs 2 and --executor local.jobs=3.: exp"),
        ({"executor": "local[jobs=0]"}, "--executor local.jobs=0.: expected jobs to be greater"),
        ({"jobs": 2, "device": "gpu"}, "--jobs: expected 1 with --device gpu; received 2; "),
        ({"jobs": 2, "watch": True}, "--jobs: expected 1 with --watch; received 2; "),
        ({"jobs": 2, "executor": "threads"}, "--jobs: executor 'threads' decides itself how many"),
    ],
)
def test_jobs_that_cannot_be_are_refused(
    fields: dict[str, Any], message: str, kept_to: list[int], tmp_path: Path
) -> None:
    (tmp_path / "threads.py").write_text(THREADS)
    files = [tmp_path / "threads.py"] if "executor" in fields else []
    with pytest.raises(UsageError, match=f"^{message}"):
        echobench.run(
            tasks=["whole"], backends=["jax"], results=tmp_path, plugin_files=files, **fields
        )


def test_jobs_are_part_of_a_trial_only_where_there_are_several(plugins: Plugins) -> None:
    alone, beside = (
        plan(Selection(tasks=["whole"], backends=["jax"], side_by_side=jobs), plugins)[0]
        for jobs in (1, 2)
    )
    assert alone.key != beside.key
    older = {name: value for name, value in alone.model_dump().items() if name != "side_by_side"}
    assert echobench.Trial.model_validate(older).key == alone.key


def test_what_a_job_reports_elsewhere_waits_for_the_thread_of_the_run(
    plugins: Plugins, tmp_path: Path
) -> None:
    trial = plan(Selection(tasks=["whole"], backends=["jax"]), plugins)[0]
    shown: list[tuple[int, str]] = []
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        with here.running():
            here.progressed(trial, Progress(phase="train"))
            begun.set()
            assert over.wait(60)
            here.keep(Job(trials=[trial]), [])

    here = Here(lambda _, p: shown.append((threading.get_ident(), p.phase)), math.inf)
    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    assert shown == []
    here.show(trial, Progress(phase="reference"))  # what is older is handed over before
    assert shown == [(threading.get_ident(), phase) for phase in ("train", "reference")]
    over.set()
    (finished,) = here.unstored()
    assert finished == (Job(trials=[trial]), [])
    assert here.unstored() == []
    thread.join()
