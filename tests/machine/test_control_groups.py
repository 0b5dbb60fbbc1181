"""Control groups: limits read from files as Linux writes them, and a real one that is throttled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from echobench.machine import control_groups, facts
from echobench.machine.control_groups import ThrottleMeter
from echobench.trial.record import Machine
from tests.files import written

GIB = 2**30
MOUNT_2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_1 = "32 31 0:29 / /sys/fs/cgroup/{0} rw,relatime shared:9 - cgroup cgroup rw,{0}\n"
OTHERS = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n25 22 0:22 / /proc rw - proc proc rw\n"
NESTED = {
    "proc/self/cgroup": "0::/user.slice/job.scope\n",
    "proc/self/mountinfo": OTHERS + MOUNT_2,
    "sys/fs/cgroup/user.slice/job.scope/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/job.scope/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/memory.max": f"{2 * GIB}\n",
    "sys/fs/cgroup/user.slice/memory.current": f"{GIB}\n",
    "sys/fs/cgroup/user.slice/memory.stat": f"anon 9\ninactive_file {GIB // 2}\n",
}
OWN_2 = {  # as a container sees it
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": MOUNT_2.replace(" / /sys", " / /sys"),
    "sys/fs/cgroup/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/memory.current": f"{GIB // 4}\n",
    "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
}
CGROUP_1 = "9:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/\n0::/\n"
OWN_1 = {  # a container of version 1 is told a path of the host's
    "proc/self/cgroup": CGROUP_1,
    "proc/self/mountinfo": (
        MOUNT_1.format("cpu,cpuacct").replace(" / ", " /docker/a ")
        + MOUNT_1.format("memory").replace(" / ", " /docker/a ")
    ),
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {GIB // 4}\n",
}
HYBRID = {
    "proc/self/cgroup": "5:memory:/a b/c\n1:cpu:/\n0::/\n",
    "proc/self/mountinfo": (
        MOUNT_1.format("cpu")
        + MOUNT_1.format("memory").replace("/sys/fs/cgroup/memory", r"/groups\040of/memory")
        + MOUNT_2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    ),
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "groups of/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "groups of/memory/memory.usage_in_bytes": f"{4 * GIB}\n",
    "groups of/memory/memory.stat": "total_inactive_file 0\n",
    "groups of/memory/a b/memory.limit_in_bytes": f"{3 * GIB}\n",
    "groups of/memory/a b/memory.usage_in_bytes": f"{GIB}\n",
    "groups of/memory/a b/memory.stat": "total_inactive_file 0\n",
}
ELSEWHERE = {**OWN_2, "proc/self/cgroup": "0::/../../other\n"}
UNTOLD = {name: text for name, text in NESTED.items() if "mountinfo" not in name}
DAMAGED = {
    "proc/self/cgroup": "0::/\nnonsense\n",
    "proc/self/mountinfo": "nonsense\n" + MOUNT_2,
    "sys/fs/cgroup/cpu.max": "half\n",
    "sys/fs/cgroup/memory.max": "lots\n",
}
NO_PERIOD = {**DAMAGED, "sys/fs/cgroup/cpu.max": "50000 0\n"}


@pytest.mark.parametrize(
    ("files", "quota", "limit", "left"),
    [
        (NESTED, 1.5, 2 * GIB, 1.5 * GIB),
        (UNTOLD, 1.5, 2 * GIB, 1.5 * GIB),
        (OWN_2, 0.5, GIB, 0.75 * GIB),
        (ELSEWHERE, 0.5, GIB, 0.75 * GIB),
        (OWN_1, 0.5, GIB, 0.25 * GIB),
        (HYBRID, None, 3 * GIB, 2 * GIB),
        (DAMAGED, None, None, None),
        (NO_PERIOD, None, None, None),
        ({}, None, None, None),  # not Linux
    ],
)
def test_the_least_limit_of_all_groups_counts(
    files: dict[str, str],
    quota: float | None,
    limit: int | None,
    left: float | None,
    tmp_path: Path,
) -> None:
    system = written(tmp_path, files)
    assert control_groups.quota(system) == quota
    assert control_groups.memory_limit(system) == limit
    assert control_groups.memory_left(system) == left


def test_memory_is_the_machines_where_the_limit_is_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "SYSTEM", written(tmp_path, OWN_2))
    assert facts.machine_facts.__wrapped__().memory_limit_bytes == GIB
    assert facts.memory_available() == 0.75 * GIB
    written(tmp_path, {"sys/fs/cgroup/memory.max": f"{2**60}\n"})
    whole = facts.machine_facts.__wrapped__()
    assert whole.memory_limit_bytes is msgspec.UNSET
    assert 0 < (facts.memory_available() or 0) <= (whole.memory_bytes or 0)


def test_what_stood_still_is_a_share_of_the_time(tmp_path: Path) -> None:
    system = written(tmp_path, NESTED)
    assert ThrottleMeter(system).share(1) is None  # nothing is counted
    stat = tmp_path / "sys/fs/cgroup/user.slice/cpu.stat"
    stat.write_text("usage_usec 5\nnr_periods 10\nnr_throttled 0\nthrottled_usec 1000\n")
    meter = ThrottleMeter(system)
    assert meter.share(1) == 0.0
    stat.write_text(f"throttled_usec {10**12}\n")
    assert meter.share(1) == 1.0
    one, two = ThrottleMeter(written(tmp_path / "1", OWN_1)), ThrottleMeter(tmp_path / "none")
    assert one.share(1) is two.share(1) is None


FREE = {**NESTED, "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n"}
HALF = "50000 100000\n"


@pytest.mark.parametrize(
    ("first", "last", "moved_s", "share"),
    [
        ("max 100000\n", "max 100000\n", 0.0, None),
        ("max 100000\n", HALF, 0.0, 0.0),  # what was counted before says nothing
        (HALF, "max 100000\n", 0.0, 0.0),
        ("max 100000\n", HALF, 5e3, 1.0),
        (HALF, "max 100000\n", 5e3, 1.0),
        ("max 100000\n", "max 100000\n", 5e3, 1.0),  # it came and went
    ],
)
def test_a_quota_that_comes_or_goes_is_measured(
    first: str, last: str, moved_s: float, share: float | None, tmp_path: Path
) -> None:
    system = written(tmp_path, FREE)
    group = tmp_path / "sys/fs/cgroup/user.slice"
    (group / "cpu.max").write_text(first)
    (group / "cpu.stat").write_text(f"throttled_usec {10**12}\n")
    meter = ThrottleMeter(system)
    (group / "cpu.max").write_text(last)
    (group / "cpu.stat").write_text(f"throttled_usec {10**12 + moved_s * 1e6:.0f}\n")
    assert meter.share(1) == share


def test_a_group_that_gets_its_controller_later_is_counted_from_then(tmp_path: Path) -> None:
    system = written(tmp_path, FREE)
    stat = tmp_path / "sys/fs/cgroup/user.slice/cpu.stat"
    stat.write_text("usage_usec 5\n")
    meter = ThrottleMeter(system)
    assert meter.share(1) is None
    written(tmp_path, {"sys/fs/cgroup/user.slice/cpu.max": HALF})
    stat.write_text(f"usage_usec 5\nthrottled_usec {10**12}\n")
    assert meter.share(1) == 1.0


IN_GROUP = """
import os, sys
from pathlib import Path
import echobench
from tests.soak.harness import PLUGIN, Harness
harness = Harness(Path(sys.argv[2]), seeds=1, task="tiny[busy=0.4]")
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
(record,) = echobench.run(
    plugin_files=[PLUGIN], tasks=["tiny[busy=0.4]"], backends=["knowing"], threads=1,
    results=harness.results, unchecked=True,
)
print(record.provenance.machine.quota, *record.disturbances, sep="\\n")
print(record.machine_class)
"""
QUOTA = 0.2
"""Of a core: less than a busy machine leaves, and enough to start a worker."""


@pytest.fixture
def little_time() -> Iterator[Path]:
    """Return a control group whose processes have a fifth of a core together."""
    files = {"cpu.max": f"{QUOTA * 1e5:.0f} 100000", "cpu.cfs_quota_us": f"{QUOTA * 1e5:.0f}"}
    for above in control_groups._folders(Path("/"), "cpu"):
        folder = above / f"echobench-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        for name, text in files.items():
            try:
                (folder / name).write_text(text)
            except OSError:
                continue
            yield folder
            folder.rmdir()
            return
        folder.rmdir()
    pytest.skip("needs the right to make a control group")


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="only Linux has them")
def test_a_quota_that_stops_a_training_is_a_disturbance(little_time: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_GROUP, str(little_time), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    quota, *disturbances, machine = done.stdout.splitlines()  # others may disturb it as well
    assert float(quota) == QUOTA
    assert "1 thread on a quota of 0.2 cores" in disturbances
    assert any(one.startswith("throttled by quota for ") for one in disturbances)
    assert machine.endswith(", quota 0.2")


def test_machines_with_other_limits_are_of_other_classes() -> None:
    whole = Machine(cpu="X", cores=2, memory_bytes=8 * GIB, gpus=("Y",))
    assert whole.kind == "X, 2 cores, Y"  # as ever
    half = msgspec.structs.replace(whole, quota=0.5, memory_limit_bytes=3 * GIB // 2)
    assert half.kind == "X, 2 cores, quota 0.5, memory 1.5 GiB, Y"
