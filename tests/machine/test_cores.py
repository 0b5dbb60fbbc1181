"""Reserved cores: real processes hold them, and release them when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echobench.machine.cores import reserved_cores

HOLD = """
import sys, time
from pathlib import Path
from echobench.machine.cores import reserved_cores
with reserved_cores(1, Path(sys.argv[1])) as held:
    print(*held, flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="two cores are needed that a process can be kept to",
)


def holder(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that reserves a core; return both."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_what_one_holds_no_other_gets_until_it_ends(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    other, taken = holder(tmp_path)
    try:
        with reserved_cores(1, tmp_path) as held:
            assert held is not None
            assert taken not in held
            assert os.sched_getaffinity(0) == set(held)
        assert os.sched_getaffinity(0) == before
        everything = HOLD.replace("reserved_cores(1", f"reserved_cores({len(before)}")
        waiting = subprocess.Popen(
            [sys.executable, "-c", everything, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        try:
            time.sleep(0.3)
            assert waiting.poll() is None
            os.kill(other.pid, signal.SIGKILL)  # no chance to give anything back
            assert waiting.stdout is not None
            assert {*map(int, waiting.stdout.readline().split())} == before
        finally:
            waiting.kill()
            waiting.communicate()
    finally:
        other.kill()
        other.communicate()


def test_more_than_there_are_is_no_promise(tmp_path: Path) -> None:
    with reserved_cores(len(os.sched_getaffinity(0)) + 1, tmp_path) as held:
        assert held is None
