"""Results come back in order, and processes end with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from echobench.machine import facts, parallel


def told(piece: int) -> tuple[int, int]:
    return piece, os.getpid()


@pytest.mark.parametrize("apart", [True, False])
def test_pieces_come_back_in_order(apart: bool) -> None:
    found = list(parallel.map_items(told, [3, 1, 2], in_processes=apart))
    assert [piece for piece, _ in found] == [3, 1, 2]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert all((process == os.getpid()) is not (apart and cores != 1) for _, process in found)


IN_PROCESSES = """
import sys
from echobench.machine import parallel

def doubled(piece):
    return 2 * piece, sys.flags.safe_path

if __name__ == "__main__":
    print(list(parallel.map_items(doubled, [1, 2])))
"""


def test_a_file_in_the_current_folder_is_no_module_of_theirs(tmp_path: Path) -> None:
    if facts.usable_cores() < 2:
        pytest.skip("one core, no processes")
    script, folder = tmp_path / "doubling.py", tmp_path / "here"
    script.write_text(IN_PROCESSES)
    folder.mkdir()
    (folder / "socket.py").write_text("raise SystemExit('the wrong socket')")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[(2, True), (4, True)]\n", "")


SLEEPERS = """
import os, time
from echobench.machine import parallel

def slept(piece):
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    list(parallel.map_items(slept, [1, 2]))
"""


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        if facts.usable_cores() < 2:
            parent.kill()
            pytest.skip("one core, no processes")
        workers = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
