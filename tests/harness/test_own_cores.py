"""Jobs on cores of their own: real runs side by side, an executor's threads, and waiting."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import echobench
from echobench.errors import UsageError
from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.machine.cores import reserved_cores
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job, Progress
from tests.conftest import Command
from tests.harness.faulty import planned
from tests.soak.harness import PLUGIN, Harness

WAITING = "waiting for a free core"
THREADS = """
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from echobench import Connection, Executor, hookimpl

class Threads(Executor):
    name = "threads"
    local = True

    @contextmanager
    def connect(self, job, site):
        with ThreadPoolExecutor(2) as pool:
            yield Pool(pool, site)

class Pool(Connection):
    def __init__(self, pool, site):
        self.pool, self.site = pool, site

    def room(self):
        return 2

    def start(self, job):
        return self.pool.submit(self.site.run_here, job)

    def ended(self, handles, seconds):
        return list(wait(handles, seconds, FIRST_COMPLETED).done)

    def records(self, handle):
        return handle.result()

    def cancel(self, handle):
        handle.cancel()

@hookimpl
def echobench_executors():
    return [Threads]
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="two cores are needed that a process can be kept to",
)


@pytest.fixture(params=[2])
def kept_to(request: pytest.FixtureRequest) -> Iterator[list[int]]:
    """Keep the test, and the processes that it starts, to so many cores; return them."""
    all_of_them = os.sched_getaffinity(0)
    ours = sorted(all_of_them)[: request.param]
    os.sched_setaffinity(0, ours)
    yield ours
    os.sched_setaffinity(0, all_of_them)


one_core = pytest.mark.parametrize("kept_to", [1], indirect=True)


def lines(*folders: Harness) -> list[dict[str, Any]]:
    paths = [path for one in folders for path in one.results.glob("records-*.jsonl")]
    written = [line for path in paths for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in written if line.endswith("\n")]


def begun(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["started_at"]).timestamp()


def assert_own_cores(records: list[dict[str, Any]]) -> None:
    """Check that trials which ran at the same time, of which there are some, share no core."""
    overlaps = 0
    for one, other in combinations(records, 2):
        (core,), (another,) = (r["provenance"]["path"]["affinity"] for r in (one, other))
        if (
            begun(one) < begun(other) + other["wall_s"]
            and begun(other) < begun(one) + one["wall_s"]
        ):
            overlaps += 1
            assert core != another
    assert overlaps
    assert all(r["provenance"]["cores"] == r["provenance"]["path"]["affinity"] for r in records)


def test_two_runs_side_by_side_share_no_core(kept_to: list[int], tmp_path: Path) -> None:
    both = [Harness(tmp_path / name, seeds=3, task="tiny[nap=0.5]") for name in ("one", "two")]
    for process in [harness.start(output=subprocess.PIPE) for harness in both]:
        said, errors = process.communicate(timeout=180)
        assert process.returncode == 0, said + errors
    assert_own_cores(lines(*both))


def test_threads_of_an_executor_share_no_core(kept_to: list[int], tmp_path: Path) -> None:
    file = tmp_path / "threads.py"
    file.write_text(THREADS)
    harness = Harness(tmp_path, seeds=4, task="tiny[nap=0.5]")
    process = harness.start("--executor", "threads", "--plugin", str(file), output=subprocess.PIPE)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, said + errors
    assert_own_cores(lines(harness))


@one_core
def test_waiting_is_said_and_is_part_of_no_time(kept_to: list[int], tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=1)
    with reserved_cores(1):
        process = harness.start(output=subprocess.PIPE)
        assert process.stderr is not None
        assert [process.stderr.readline().strip() for _ in range(2)][-1] == (
            f"[1/1] tiny knowing native closed seed 0: {WAITING}"
        )
        free = datetime.now(UTC).timestamp()
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, said + errors
    assert errors.count("waiting") == 0  # once is enough
    (record,) = lines(harness)
    assert begun(record) >= free - 0.001  # it is written in milliseconds
    assert record["provenance"]["cores"] == kept_to


@one_core
def test_waiting_is_no_part_of_what_a_worker_takes(kept_to: list[int], tmp_path: Path) -> None:
    trial, plugins = planned(tmp_path, "result()")
    freed: list[float] = []
    with contextlib.ExitStack() as taken:
        taken.enter_context(reserved_cores(1))

        def report(progress: Progress) -> None:
            if progress.waits and not freed:
                freed.append(time.monotonic())
                taken.close()

        spent = {"trials": 1.0}
        backend = plugins.backends["faulty"].value
        launch.work(Job(trials=[trial]), backend, tmp_path / "log", report, spent=spent)
    assert 0 < spent["train_s"] <= time.monotonic() - freed[0]
    assert spent["trials"] == 1.0


def interrupt_while_waiting(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    while not process.stderr.readline().strip().endswith(WAITING):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


@one_core
def test_waiting_can_be_interrupted(kept_to: list[int], tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=1)
    with reserved_cores(1):
        process = harness.start(output=subprocess.PIPE)
        interrupt_while_waiting(process)
    assert lines(harness) == []


@one_core
def test_who_waits_longer_than_the_budget_starts_nothing(
    kept_to: list[int], tmp_path: Path
) -> None:
    harness = Harness(tmp_path, seeds=2)
    with reserved_cores(1):
        process = harness.start("--budget", "3s", output=subprocess.PIPE)
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, said + errors
    assert lines(harness) == []


def test_threads_that_wait_end_with_an_interrupt(kept_to: list[int], tmp_path: Path) -> None:
    file = tmp_path / "threads.py"
    file.write_text(THREADS)
    harness = Harness(tmp_path, seeds=2)
    with reserved_cores(2):
        process = harness.start(
            "--executor", "threads", "--plugin", str(file), output=subprocess.PIPE
        )
        interrupt_while_waiting(process)
    assert lines(harness) == []


@one_core
def test_the_judge_has_the_cores_of_the_trial(kept_to: list[int], tmp_path: Path) -> None:
    """Waiting for a second core, it would wait for ever."""
    (record,) = echobench.run(
        plugin_files=[PLUGIN], tasks=["tiny"], backends=["knowing"], results=tmp_path
    )
    assert record.judge is not None
    assert record.judge.failure is None
    assert record.provenance.cores == kept_to


@one_core
def test_more_threads_than_cores_are_a_usage_error(
    kept_to: list[int], echobench: Command, tmp_path: Path
) -> None:
    network = tmp_path / "network.keras"
    network.touch()
    for verb in (
        ("run", "--task", "whole", "--backend", "jax"),
        ("run", "--task", "whole", "--backend", "jax", "--dry-run"),
        ("run", "--task", "whole", "--backend", "jax", "--backend", "flax", "--seeds", "auto"),
        ("study", "state"),
        ("tune", "--task", "partial", "--results", str(tmp_path / "tune")),
        ("predict", str(network)),
    ):
        done = echobench(*verb, "--threads", "2")
        assert done.returncode == 2, verb
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line == (
            "echobench: --threads: expected at most 1, as many cores as this process may use; "
            "received 2; use fewer"
        )


def test_more_threads_than_cores_are_refused_from_python(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--threads: expected at most \d+, .*received 9999;"):
        echobench.run(tasks=["whole"], backends=["jax"], threads=9999, results=tmp_path)


@one_core
def test_a_recorded_trial_of_more_threads_fails_with_the_reason(
    kept_to: list[int], tmp_path: Path
) -> None:
    """As an audit of another machine's record does."""
    trial, plugins = planned(tmp_path, "result()")
    backend = plugins.backends["faulty"].value
    job = Job(trials=[trial.model_copy(update={"threads": 2})])
    (record,) = launch.run_job(job, backend, tmp_path / "log")
    told = "--threads: expected at most 1, as many cores as this process may use; received 2"
    assert (record.status, record.reason) == ("failed", f"{told}; use fewer")
    (fields,) = launch.work(job, backend, tmp_path / "log")
    assert fields["reason"] == record.reason


def test_a_run_without_locks_says_so(kept_to: list[int], tmp_path: Path) -> None:
    code = SANDBOX.format(folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reason = "cores cannot be reserved here (Operation not permitted)"
    assert f"{reason}: other runs may use the same" in done.stderr.splitlines()
    assert done.stdout.splitlines()[-1] == f"reached ['{reason}']"


SANDBOX = """
import errno, os, sys
from pathlib import Path
import echobench
from tests.soak.harness import PLUGIN, Harness

def forbid(event, arguments):
    if event == "socket.bind":
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

sys.addaudithook(forbid)
harness = Harness(Path({folder!r}), seeds=1)
(record,) = echobench.run(
    plugin_files=[PLUGIN], tasks=["tiny"], backends=["knowing"], results=harness.results,
    unchecked=True,
)
print(record.status, record.disturbances)
"""


def test_a_trial_on_hyperthreads_is_another_trial(plugins: Plugins) -> None:
    one, other = (
        plan(Selection(tasks=["whole"], backends=["jax"], threads=1, smt=smt), plugins)[0]
        for smt in (False, True)
    )
    assert one.key != other.key
    older = {name: value for name, value in one.model_dump().items() if name != "smt"}
    assert echobench.Trial.model_validate(older).key == one.key
