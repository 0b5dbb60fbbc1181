"""Memory limits and out-of-memory kills, read from files as Linux writes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from echobench.cli.options import memory_limit_of
from echobench.errors import UsageError
from echobench.machine import facts, privacy
from echobench.machine.calibration import StealMeter, calibrate
from echobench.machine.processor import processor_name
from tests.files import written
from tests.privileges import needs_another_user

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
    monkeypatch.setattr(facts, "SYSTEM", written(tmp_path, files))
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


TOLD = """
import json, os, pwd
from echobench.machine import calibration, facts, privacy, processor
if "BECOME" in os.environ:
    os.setgid(54321)
    os.setuid(54321)
cpu = processor.processor_name(facts._processor(), facts.SYSTEM)
facts.LONGEST_S, facts.PATIENCE_S = 2.0, 0.2
machine, names = facts.machine_facts(), facts.host_and_user()
print(json.dumps({
    "cpu": cpu, "gpus": machine.gpus, "cores": machine.cores, "git": facts.git_state(),
    "host": names.get("host"), "user": names.get("user"), "load": facts.load(),
    "frequency": facts.frequency_mhz(), "steal": calibration.StealMeter().fraction(),
    "redacted": privacy.redact("see /home/x/secret.txt"),
}))
"""


def told(**variables: str) -> dict[str, Any]:
    """Return the facts as a process of its own sees them, whose environment is these alone."""
    command = [sys.executable, "-c", TOLD]
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["cores"] == len(os.sched_getaffinity(0))
    assert said["redacted"] == "see …/secret.txt"
    return said


def program(folder: Path, name: str, text: str, mode: int = 0o755) -> str:
    """Write an executable; return a PATH with its folder alone."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode("latin-1"))
    (folder / name).chmod(mode)
    return str(folder)


USELESS = {
    "hangs": ("#!/bin/sh\nexec /bin/sleep 60\n", 0o755),
    "leaves a child that holds its pipe": ("#!/bin/sh\n/bin/sleep 60 &\n", 0o755),
    "fails": ("#!/bin/sh\nexit 9\n", 0o755),
    "is no program": ("\xff\xfe", 0o755),
    "must not be run": ("#!/bin/sh\n", 0o644),
}


@pytest.mark.parametrize("how", USELESS)
@pytest.mark.parametrize(
    ("name", "field", "empty"), [("nvidia-smi", "gpus", []), ("git", "git", None)]
)
def test_a_useless_program_leaves_its_field_empty(
    name: str, field: str, empty: object, how: str, tmp_path: Path
) -> None:
    text, mode = USELESS[how]
    said = told(PATH=program(tmp_path / "bin", name, text, mode))
    assert said[field] == empty
    assert said["cpu"] == facts.machine_facts().cpu


def test_what_nvidia_smi_says_may_be_no_text(tmp_path: Path) -> None:
    text = "#!/bin/sh\nprintf 'GPU 0: A \\377 GPU (UUID: GPU-1)\\n'\n"
    assert told(PATH=program(tmp_path / "bin", "nvidia-smi", text))["gpus"] == ["A \ufffd GPU"]


@needs_another_user
def test_a_folder_of_programs_may_be_closed_to_us(tmp_path: Path) -> None:
    """Behind one, a missing program looks like a forbidden one."""
    path = program(tmp_path / "bin", "nvidia-smi", "#!/bin/sh\necho 'GPU 0: A (UUID: B)'\n")
    tmp_path.chmod(0o700)
    assert told(PATH=path, BECOME="")["gpus"] == []


@needs_another_user
@pytest.mark.parametrize("home", [{}, {"HOME": "/nonexistent"}])
def test_a_user_without_an_account_has_no_name(home: dict[str, str]) -> None:
    said = told(BECOME="", **home)
    assert said["user"] is None
    assert said["host"]


@needs_another_user
def test_git_may_refuse_the_checkout_of_another_user() -> None:
    """It calls that "dubious ownership"."""
    assert told(BECOME="")["git"] is None


def test_git_may_know_the_commit_and_nothing_else(tmp_path: Path) -> None:
    text = '#!/bin/sh\ncase "$*" in *rev-parse*) echo 1234;; *) exit 128;; esac\n'
    said = told(PATH=program(tmp_path / "bin", "git", text))
    assert said["git"] in ({"commit": "1234", "dirty": None}, None)
    checkout = Path(facts.__file__).parents[2] / ".git"
    assert (said["git"] is not None) == checkout.exists()


def test_a_hook_of_another_repository_does_not_lend_its_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert told(GIT_DIR=str(tmp_path / ".git"))["git"] == facts.git_state()


@pytest.mark.parametrize(
    "text", ["raise OSError", "print('{')", "print('[]')", "print('{\"brand_raw\": 3}')", "input()"]
)
def test_without_the_brand_a_processor_is_what_the_system_says(text: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo.py").write_text(f"{text}\n")
    assert told(PYTHONPATH=str(tmp_path))["cpu"] == processor_name(None, Path("/"))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("psutil.cpu_freq", facts.frequency_mhz),
        ("os.getloadavg", facts.load),
        ("psutil.cpu_times", lambda: StealMeter().fraction()),
        ("getpass.getuser", facts.user_name),
    ],
)
@pytest.mark.parametrize("error", [OSError, NotImplementedError, ValueError("no number"), KeyError])
def test_a_fact_that_cannot_be_read_is_empty(
    name: str, read: Callable[[], object], error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(name, fail)
    assert read() is None


def test_a_calibration_does_without_a_frequency(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FileNotFoundError("cpufreq")

    monkeypatch.setattr("psutil.cpu_freq", fail)
    rates = calibrate(1)
    assert rates["frequency_mhz"] is None
    assert rates["matmul_flops_per_s"] > 0


def test_the_current_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert privacy.redact("see /home/x/secret.txt") == "see …/secret.txt"
