"""What a worker starts ends with it, whoever is killed: as real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.faulty import run

DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open({told!r}, "w") as file:
        file.write(str(os.getpid()))
    os.execvpe("sleep", ["sleep", "60"], {environment})
os.wait()
while not os.path.exists({told!r}) or not open({told!r}).read():
    time.sleep(0.01)
"""
"""Forked twice, in a session of its own."""
BOMB = """
open({told!r}, "w").write(os.environ["TMPDIR"])
for _ in range(25):
    if os.fork() == 0:
        os.setsid()
        while True:
            if os.fork() == 0:
                time.sleep(60)
            os.wait()  # whoever kills the child finds another one
time.sleep(0.2)
"""
HARNESS = """
import sys
from pathlib import Path
from tests.harness.faulty import run
run(Path(sys.argv[1]), sys.argv[2])
"""


def daemon(folder: Path, environment: str = "os.environ") -> str:
    return DAEMON.format(told=str(folder / "daemon"), environment=environment)


def those_of(home: str) -> list[psutil.Process]:
    """Return the processes of the worker that had this folder for its own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == home:
                found.append(process)
    return found


def is_gone(folder: Path) -> bool:
    """Wait for a daemon's end: it is killed before the record is there, and reaped by others."""
    number = int((folder / "daemon").read_text())
    return all(p.status() == psutil.STATUS_ZOMBIE for p in psutil.process_iter() if p.pid == number)


@pytest.mark.parametrize(
    "end",
    [
        "os._exit(7)",
        "raise RuntimeError('bad luck')",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)",
        "os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)",
    ],
)
def test_a_daemon_ends_with_its_worker(end: str, tmp_path: Path) -> None:
    record = run(tmp_path, daemon(tmp_path) + end)
    assert record.status == "failed"
    assert is_gone(tmp_path)


def test_a_worker_that_kills_its_group_leaves_the_guard_to_end_what_is_hidden(
    tmp_path: Path,
) -> None:
    # Its environment is empty: nobody but the guard knows whose it is.
    run(tmp_path, daemon(tmp_path, "{}") + "os.killpg(0, signal.SIGKILL)")
    assert is_gone(tmp_path)


def test_children_that_start_others_as_they_are_killed_end_too(tmp_path: Path) -> None:
    record = run(tmp_path, BOMB.format(told=str(tmp_path / "home")) + "os._exit(7)")
    assert record.reason == "the worker ended with exit code 7 and no result"
    assert not those_of((tmp_path / "home").read_text())


def is_stopped(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
        return process.status() == psutil.STATUS_STOPPED
    return False


def test_a_harness_that_is_killed_takes_everything_with_it(tmp_path: Path) -> None:
    told = str(tmp_path / "home")
    fault = f"{daemon(tmp_path)}open({told!r}, 'w').write(os.environ['TMPDIR'])\n"
    fault += "os.kill(os.getpid(), signal.SIGSTOP)"
    code = [sys.executable, "-c", HARNESS, str(tmp_path), fault]
    with subprocess.Popen(code, cwd=Path(__file__).parents[2]) as harness:
        until = time.monotonic() + 120
        tree: list[psutil.Process] = []
        while not any(map(is_stopped, tree)):
            assert time.monotonic() < until
            time.sleep(0.05)
            tree = psutil.Process(harness.pid).children(recursive=True)
        home = Path(Path(told).read_text())
        assert home.is_dir()
        os.kill(harness.pid, signal.SIGKILL)
        harness.wait()
        gone, left = psutil.wait_procs(tree, timeout=30)
    assert len(gone) == 3, "guard, worker, daemon"
    assert not left
    assert not home.exists()
