"""Workers and harnesses that are stopped and continued: real signals, a real freezer."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from echobench.analysis.frame import NOT_ITS_OWN
from echobench.harness import launch, process
from echobench.harness.plan import Selection, plan
from echobench.machine import stops
from echobench.plugin.manager import Plugins
from echobench.trial.job import Job
from echobench.trial.record import Record
from tests.harness.faulty import run

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "tests" / "soak" / "quick.py"
STOPPED_S = 3.0
PLUGIN = """
import os, subprocess, time
from typing import ClassVar
from echobench import hookimpl
from tests.soak.quick import Knowing, Tiny

class Trainer:
    def __init__(self, inner):
        self._inner, self._calls = inner, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def train(self, rows):
        self._calls += 1
        if self._calls == 2:  # the first call compiles
            worker, guard = os.getpid(), os.getppid()
            script = {script!r}.format(worker=worker, guard=guard)
            # In a session and with a name of its own: it is not stopped with us.
            running = subprocess.Popen(["sh", "-c", script], start_new_session=True)
            while running.poll() is None:
                {meanwhile}
        return self._inner.train(rows)

class Interrupted(Knowing):
    name: ClassVar[str] = "interrupted"

    def trainer(self, program, chunk):
        return Trainer(super().trainer(program, chunk))

@hookimpl
def echobench_tasks():
    return [Tiny]

@hookimpl
def echobench_backends():
    return [Interrupted()]
"""
IDLE, BUSY = "time.sleep(0.01)", "pass"
"""What a worker does meanwhile; one that waits for a GPU is idle, too."""
FREEZER = Path("/sys/fs/cgroup/freezer")
FREEZE = (
    "mkdir -p {folder}; for each in {whom}; do echo $each > {folder}/cgroup.procs; done; "
    "echo FROZEN > {folder}/freezer.state; "
    "sleep {seconds}; echo THAWED > {folder}/freezer.state; "
    "for each in {whom}; do echo $each > {root}/cgroup.procs; done; rmdir {folder}"
)
SIGNALS = "kill -STOP {whom}; sleep {seconds}; kill -CONT {whom}"


def stopped_in_training(
    folder: Path, script: str, timeout_s: float = 60.0, meanwhile: str = IDLE
) -> Record:
    """Run a trial that is stopped by a shell script in its first update; return its record."""
    path = folder / "interrupted.py"
    path.write_text(PLUGIN.format(script=script, meanwhile=meanwhile))
    plugins = Plugins([path])
    selection = Selection(tasks=["tiny"], backends=["interrupted"], timeout_s=timeout_s, threads=1)
    (trial,) = plan(selection, plugins)
    job = Job(trials=[trial], command=["test"])
    (record,) = launch.run_job(job, plugins.backends["interrupted"].value, folder / "log")
    return record


@pytest.mark.parametrize("whom", ["{worker}", "{guard} {worker}"], ids=["worker", "both"])
def test_a_trial_that_was_stopped_while_it_trained_says_so(
    whom: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ['PYTHONPATH']}")
    record = stopped_in_training(tmp_path, SIGNALS.format(whom=whom, seconds=STOPPED_S))
    check_stopped(record)


@pytest.mark.skipif(not os.access(FREEZER, os.W_OK), reason="needs the right to make a group")
@pytest.mark.parametrize("meanwhile", [IDLE, BUSY], ids=["idle", "busy"])
def test_a_trial_that_was_frozen_while_it_trained_says_so(
    meanwhile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ['PYTHONPATH']}")
    script = freeze("{worker} {guard}", STOPPED_S)
    check_stopped(stopped_in_training(tmp_path, script, meanwhile=meanwhile))


def test_a_guard_that_a_signal_stops_alone_is_no_stop_of_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ['PYTHONPATH']}")
    record = stopped_in_training(tmp_path, SIGNALS.format(whom="{guard}", seconds=STOPPED_S))
    check_not_stopped(record)


@pytest.mark.skipif(not os.access(FREEZER, os.W_OK), reason="needs the right to make a group")
def test_a_guard_that_is_frozen_alone_is_no_stop_of_a_worker_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ['PYTHONPATH']}")
    # Enough for half a core's time on each core, on a machine that has other things to do.
    script = freeze("{guard}", seconds=10.0)
    check_not_stopped(stopped_in_training(tmp_path, script, meanwhile=BUSY))


def freeze(whom: str, seconds: float) -> str:
    """Return a script that freezes these processes for a while."""
    folder = FREEZER / f"echobench-test-{os.getpid()}"
    return FREEZE.format(whom=whom, folder=folder, root=FREEZER, seconds=seconds)


def check_not_stopped(record: Record) -> None:
    assert record.status == "reached", (record.reason, record.log_tail)
    assert (record.first_update_s or 0.0) > STOPPED_S
    assert record.execution["stopped_s"] == {}
    assert not [told for told in record.disturbances if told.startswith("stopped")]


def check_stopped(record: Record) -> None:
    assert record.status == "reached", (record.reason, record.log_tail)
    found = record.execution["stopped_s"]
    assert found.keys() == {"first_update"}
    assert record.first_update_s is not None
    # The guard looks at its clock every quarter of a second, and waits for a core as others do.
    assert STOPPED_S - 1.0 < found["first_update"] <= record.first_update_s
    assert len(record.evaluations) == 1  # too few to show that it was unsteady
    assert record.disturbances[0].startswith(f"stopped for {found['first_update']:.3g} s of its ")
    assert record.execution["suspended_s"] in {0.0, None}


def test_a_deadline_leaves_out_the_time_for_which_a_trial_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ['PYTHONPATH']}")
    # However long a worker takes to start on a busy machine: its harness leaves it enough.
    monkeypatch.setattr(process, "GRACE_S", 60.0)
    record = stopped_in_training(
        tmp_path, SIGNALS.format(whom="{worker}", seconds=21), timeout_s=20.0
    )
    assert (record.status, record.reason) == ("reached", None)
    assert (record.wall_s or 0.0) > 21


def test_a_worker_that_was_stopped_past_its_limit_has_failed_and_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.5)
    record = run(tmp_path, "os.kill(os.getpid(), signal.SIGSTOP)", timeout_s=15.0)
    assert record.status == "failed"
    reason = record.reason or ""
    assert reason.startswith("killed: stopped for ")
    assert reason.endswith(" s, and still running 0.5 s past its limit of 15 s")
    # Like one that somebody else ended, it is none of the n in a row's success k/n.
    assert reason.startswith(NOT_ITS_OWN)


HARNESS = """
import sys, json
from pathlib import Path
from echobench.harness import process
from tests.harness.faulty import run
process.GRACE_S = 3.0
record = run(Path(sys.argv[1]), sys.argv[2], timeout_s=float(sys.argv[3]))
print(json.dumps([record.status, record.reason]))
"""
MARKED = "import time\nPath({marker!r}).touch()\n"


def stopped_harness(
    folder: Path, fault: str, limit_s: float, stop_s: float, *, worker_too: bool = False
) -> list[str | None]:
    """Stop a harness, while its worker does what `fault` says; return status and reason."""
    marker = folder / "marker"
    fault = MARKED.format(marker=str(marker)) + fault
    command = [sys.executable, "-c", HARNESS, str(folder), fault, str(limit_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness:
        until = time.monotonic() + 60
        while not marker.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        whom = [psutil.Process(harness.pid)]
        if worker_too:
            whom += whom[0].children(recursive=True)
        for each in whom:
            each.send_signal(signal.SIGSTOP)
        time.sleep(stop_s)
        for each in whom:
            each.send_signal(signal.SIGCONT)
        said, _ = harness.communicate(timeout=60)
    found: list[str | None] = json.loads(said)
    return found


def test_a_harness_that_was_stopped_reads_what_was_said_before_its_clock(tmp_path: Path) -> None:
    # The worker is alive when the harness goes on, but has said its result long before.
    fault = "time.sleep(0.2)\nresult()\ntime.sleep(60)"
    assert stopped_harness(tmp_path, fault, limit_s=15.0, stop_s=19.0) == ["reached", None]


def test_a_result_longer_than_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    fault = "time.sleep(0.3)\nresult(log_tail=['x' * 300_000])\ntime.sleep(60)"
    assert stopped_harness(tmp_path, fault, limit_s=15.0, stop_s=19.0) == ["reached", None]


def test_time_in_which_both_were_stopped_does_not_count(tmp_path: Path) -> None:
    # It needs more than the grace once it goes on, and less than its limit.
    fault = "for _ in range(400): time.sleep(0.01)\n"
    fault += "result()\nos._exit(0)"
    found = stopped_harness(tmp_path, fault, limit_s=15.0, stop_s=19.0, worker_too=True)
    assert found == ["reached", None]


def test_a_worker_that_hangs_while_only_its_harness_is_stopped_is_out_of_time(
    tmp_path: Path,
) -> None:
    status, reason = stopped_harness(tmp_path, "time.sleep(60)", limit_s=15.0, stop_s=19.0)
    assert (status, reason) == ("timeout", "killed: still running 3 s past its limit of 15 s")


def test_after_its_result_a_worker_has_all_of_the_grace_past_its_limit_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 8.0)
    # Three seconds before it would be killed, it says its result; then it works on for longer.
    fault = (
        "since = float(sys.argv[2])\n"  # when it was started
        "time.sleep(max(0.0, since + 8.0 + 5.0 - time.monotonic()))\n"
        "result()\n"
        "time.sleep({})\n"
        "os._exit(0)"
    )

    def outcome(seconds: float) -> tuple[str, str | None]:
        folder = tmp_path / str(seconds)
        folder.mkdir()
        record = run(folder, fault.format(seconds), timeout_s=8.0)
        return record.status, record.provenance.after_result

    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(outcome, [5.0, 60.0])]
    killed = "killed: still running 8 s after its result"
    assert found == [("reached", None), ("reached", killed)]


def test_stops_are_read_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    assert stops.read(str(tmp_path)) == []
    (tmp_path / stops.NAME).write_bytes(b"1.0 2.5\nnonsense\n\xff\n3 3\n9 8\nnan nan\n4 inf\n")
    found = stops.read(str(tmp_path))
    assert found == [(1.0, 2.5), (4.0, math.inf)]
    assert stops.overlap_s(found, [(2.0, 5.0)]) == 1.5
