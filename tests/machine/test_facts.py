"""Memory limits and out-of-memory kills, read from files as Linux writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from echobench.cli.options import memory_limit_of
from echobench.errors import UsageError
from echobench.machine import facts

V2 = {
    "proc/self/cgroup": "0::/user/x\n",
    "sys/fs/cgroup/user/x/memory.events": "oom 9\noom_kill 3\n",
}
V1 = {
    "proc/self/cgroup": "8:pids:/\n4:cpu,memory:/a:b\n0::/\n",
    "sys/fs/cgroup/memory/a:b/memory.oom_control": "under_oom 0\noom_kill 4\n",
}
OWN = {"proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/memory.events": "oom_kill 5\n"}
WHOLE = {"proc/vmstat": "oom_kill 6\n"}


@pytest.mark.parametrize(
    ("files", "kills"),
    [(V2, 3), (V1, 4), (OWN, 5), (WHOLE, 6), ({**WHOLE, **V2}, 3), ({}, None)],
)
def test_the_nearest_count_of_what_was_killed_counts(
    files: dict[str, str], kills: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(facts, "SYSTEM", tmp_path)
    assert facts.oom_kills() == kills


def test_memory_is_that_of_all_processes() -> None:
    ours = psutil.Process()
    one, two = facts.resident_bytes([ours]), facts.resident_bytes([ours, ours])
    assert 10 * 2**20 < one < two < 3 * one


@pytest.mark.parametrize(
    ("text", "value"), [("4G", 4 * 2**30), ("500m", 500 * 2**20), ("1.5GiB", 3 * 2**29)]
)
def test_a_size_is_read(text: str, value: int) -> None:
    assert memory_limit_of(text) == value


@pytest.mark.parametrize("text", ["", "4", "G", "-1G", "0G", "4 G", "1e9G", "4GG", "٤G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--memory-limit: expected a size such as 500M or 4G"):
        memory_limit_of(text)


def test_sizes_are_shown_for_people() -> None:
    told = [facts.size_text(value) for value in (4 * 2**30, int(4.34 * 2**30), 300 * 2**20)]
    assert told == ["4 GiB", "4.3 GiB", "300 MiB"]


CONFINED = """
import os, sys
from pathlib import Path
from tests.harness.faulty import run
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
print(run(Path(sys.argv[2]), "held = []\\nwhile True: held.append(bytes(2**20))").reason)
"""


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """Return a control group whose processes may hold 300 MiB together."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        first = Path("/sys/fs/cgroup", *(["memory"] if controllers else []))
        folder = Path(f"{first}{group}", f"echobench-{os.getpid()}")
        limit = "memory.limit_in_bytes" if controllers else "memory.max"
        if controllers in {"memory", ""}:
            try:
                folder.mkdir()
                (folder / limit).write_text(str(300 * 2**20))
            except OSError:
                continue
            yield folder
            folder.rmdir()
            return
    pytest.skip("needs the right to make a control group")


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="only Linux has them")
def test_a_worker_that_the_system_ended_is_told_from_others(
    little_memory: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, str(little_memory), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    told = "the worker was ended by SIGKILL: out of memory (the system's OOM killer)\n"
    assert done.stdout == told
