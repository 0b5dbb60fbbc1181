"""Cores: counted with their hyperthreads, and reserved among real processes and threads."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from echobench.errors import EchobenchError, UsageError
from echobench.machine import facts
from echobench.machine.cores import (
    SCOPE,
    Core,
    _Line,
    check_threads,
    cores,
    most_threads,
    reserved_cores,
)
from tests.privileges import needs_another_user

HOLD = """
import os, sys, time
from echobench.machine.cores import reserved_cores
said = []
def waiting():
    if not said:
        said.append(print("waiting", flush=True))
if sys.argv[2:]:
    os.setuid(int(sys.argv[2]))
with reserved_cores(int(sys.argv[1]), waiting=waiting) as held:
    print(*held.cores, held.unlocked or "", flush=True)
    time.sleep(600)
"""
SANDBOX = """
import errno, os, sys
def forbid(event, arguments):
    if event == "socket.bind":
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
sys.addaudithook(forbid)
"""
NOBODY = 65534

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="two cores are needed that a process can be kept to",
)


@pytest.fixture(autouse=True)
def two() -> Iterator[list[int]]:
    """Keep the test, and the processes that it starts, to two cores; return them."""
    all_of_them = os.sched_getaffinity(0)
    ours = sorted(all_of_them)[:2]
    os.sched_setaffinity(0, ours)
    yield ours
    os.sched_setaffinity(0, all_of_them)


@contextmanager
def holder(threads: int, *more: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that reserves cores, says which, and holds them until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(threads), *more],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def topology(folder: Path, siblings: dict[int, str]) -> None:
    """Write which logical cores are threads of one, as Linux does."""
    for number, text in siblings.items():
        path = folder / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n")


def quota(folder: Path, of_cores: float) -> None:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text("0::/\n")
    (folder / "sys/fs/cgroup").mkdir(parents=True)
    (folder / "sys/fs/cgroup/cpu.max").write_text(f"{of_cores * 1e5:.0f} 100000\n")


def test_two_jobs_have_different_cores_and_the_third_waits(two: list[int]) -> None:
    before = os.sched_getaffinity(0)
    with holder(1) as first, holder(1) as second:
        assert {int(said(first)), int(said(second))} == set(two)
        with holder(1) as third:
            assert said(third) == "waiting"
            second.kill()  # no chance to give anything back
            assert int(said(third)) in two
    assert os.sched_getaffinity(0) == before  # ours is left alone


def test_who_comes_later_waits_behind_who_needs_more(two: list[int]) -> None:
    with holder(1) as first:
        said(first)
        with holder(2) as large:
            assert said(large) == "waiting"
            with holder(1) as later:
                assert said(later) == "waiting"  # though a core is free
                first.kill()
                assert said(large).split() == [*map(str, two)]
                large.kill()
                assert int(said(later)) in two


def test_who_may_use_fewer_cores_comes_to_his_turn(two: list[int]) -> None:
    with holder(2) as both:
        said(both)
        os.sched_setaffinity(0, two[:1])
        with holder(1) as picky:
            assert said(picky) == "waiting"
            os.sched_setaffinity(0, two)
            with holder(2) as later:
                assert said(later) == "waiting"
                both.kill()
                assert int(said(picky)) == two[0]
                picky.kill()
                assert said(later).split() == [*map(str, two)]


@contextmanager
def kept_to(numbers: Sequence[int]) -> Iterator[None]:
    """Keep the processes that are started meanwhile to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, numbers)
    yield
    os.sched_setaffinity(0, before)


def test_a_core_for_which_nobody_waits_is_taken_at_once(two: list[int]) -> None:
    with kept_to(two[:1]), holder(1) as running:
        assert said(running) == str(two[0])
        with holder(1) as waits:
            assert said(waits) == "waiting"
            os.sched_setaffinity(0, two)
            with holder(1) as free:
                assert said(free) == str(two[1])


def test_a_job_of_any_core_comes_to_its_turn_behind_whoever_waits_for_ever_for_one(
    two: list[int],
) -> None:
    with kept_to(two[:1]), holder(1) as running:
        said(running)
        with holder(1) as waits:
            assert said(waits) == "waiting"
            os.sched_setaffinity(0, two[1:])
            with holder(1) as other:
                said(other)
                os.sched_setaffinity(0, two)
                with holder(1) as any_core:
                    assert said(any_core) == "waiting"
                    os.sched_setaffinity(0, two[1:])
                    with holder(1) as later:
                        assert said(later) == "waiting"
                        other.kill()
                        assert said(any_core) == str(two[1])
                        assert running.poll() is None  # and not because all others have ended
                        any_core.kill()
                        assert said(later) == str(two[1])


MANY = """
import os, sys, time
from pathlib import Path
from echobench.machine.cores import reserved_cores
threads, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
print("begun", flush=True)
turns = 0
while turns < count if count else not (folder / "end").exists():
    with reserved_cores(threads) as held:
        marks = [os.open(folder / str(n), os.O_CREAT | os.O_EXCL) for n in held.cores]
        time.sleep(0.02)
        for n, mark in zip(held.cores, marks):
            os.close(mark)
            (folder / str(n)).unlink()
    turns += 1
print(turns, flush=True)
"""


def test_all_come_to_their_turn_among_many_short_jobs(two: list[int], tmp_path: Path) -> None:
    def many(threads: int, count: int, numbers: Sequence[int]) -> subprocess.Popen[str]:
        with kept_to(numbers):
            command = [sys.executable, "-c", MANY, str(threads), str(count), str(tmp_path)]
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    short = [many(1, 0, [number]) for number in two for _ in range(3)]
    others = []
    try:
        assert [said(job) for job in short] == ["begun"] * 6
        others = [many(threads, 1, two) for threads in (1, 2, 2)]
        for job in others:
            told, _ = job.communicate(timeout=60)
            assert told == "begun\n1\n"
        (tmp_path / "end").touch()
        for job in short:
            told, _ = job.communicate(timeout=60)
            assert int(told) > 0
            assert job.returncode == 0  # no two had one core
    finally:
        for job in [*short, *others]:
            job.kill()
            job.communicate()


@pytest.mark.parametrize("smt", [False, True])
def test_jobs_that_keep_places_never_block_each_other(
    smt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many sets of jobs of many cores: from whatever state they reach, all of them end."""
    scope = f"lines {os.getpid()}"
    monkeypatch.setenv(SCOPE, scope)
    dice = random.Random(18)
    for _ in range(60):
        every = [Core((2 * n, 2 * n + 1)[: 1 + smt], (2 * n, 2 * n + 1)) for n in range(5)]
        waiting = []
        for _ in range(6):
            ours = sorted(dice.sample(every, dice.randint(1, 5)))
            threads = dice.randint(1, len(ours) * (1 + smt))
            waiting.append((_Line(ours, threads, smt), threads, contextlib.ExitStack()))
        idle = 0
        while waiting:
            job = dice.choice(waiting)
            line, threads, places = job
            before = list(line.held)
            line.join(places)
            enough = sum(len(core.usable) for core in line.held) >= threads
            if enough and dice.random() < 0.2:  # sooner or later the cores are free
                places.close()
                waiting.remove(job)
            idle = 0 if len(line.held) != len(before) or job not in waiting else idle + 1
            assert idle < 500, [(line.ours, line.held, threads) for line, threads, _ in waiting]


@needs_another_user
def test_users_and_their_folders_share_the_locks(two: list[int]) -> None:
    private = {"TMPDIR": "/nowhere", "HOME": "/nowhere"}
    with holder(1) as ours, holder(1, str(NOBODY), **private) as another:
        assert {int(said(ours)), int(said(another))} == set(two)


def test_threads_of_a_process_have_different_cores(two: list[int]) -> None:
    found: list[int] = []
    both = threading.Barrier(2)

    def job() -> None:
        with reserved_cores(1) as held:
            assert held is not None
            found.extend(held.cores)
            both.wait()

    threads = [threading.Thread(target=job) for _ in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == two


def test_an_interrupt_ends_the_waiting() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with holder(2) as other:
        said(other)
        with pytest.raises(KeyboardInterrupt), reserved_cores(1, waiting=interrupted):
            pass
    with reserved_cores(2) as held:  # the place in the line is given up, too
        assert held is not None


def test_a_system_without_locks_is_said(two: list[int]) -> None:
    command = [sys.executable, "-c", SANDBOX + HOLD.replace("time.sleep(60)", ""), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{two[0]} cores cannot be reserved here (Operation not permitted)\n"


@pytest.mark.parametrize(
    ("written", "counted"),
    [
        (["{0},{1}", "{0},{1}"], 1),
        (["{0}-{1}", "{0}-{1}"], 1),
        (["{0},70", "{1},71"], 2),  # the others' siblings are beyond what we may use
        (["{0},70-71", "{1},72-73"], 2),
        (["{0}", "{1}"], 2),
        ([], 2),
        (["", "nonsense"], 2),
        (["7", "8"], 2),  # none of which is the core itself
    ],
)
def test_hyperthreads_are_one_core(
    written: Sequence[str],
    counted: int,
    two: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topology(tmp_path, dict(zip(two, (text.format(*two) for text in written), strict=False)))
    monkeypatch.setattr(facts, "SYSTEM", tmp_path)
    assert [number for core in cores() for number in core.usable] == two
    assert most_threads() == len(cores()) == counted
    assert most_threads(smt=True) == 2
    with reserved_cores(1) as held:
        assert held is not None
        assert held.cores[0] in two
        assert len(held.cores) == 1


def test_a_core_is_reserved_with_its_hyperthreads(
    two: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology(tmp_path, dict.fromkeys(two, "{},{}".format(*two)))
    monkeypatch.setattr(facts, "SYSTEM", tmp_path)
    with reserved_cores(1) as held, holder(1) as other:  # who counts two cores
        assert held is not None
        assert len(held.cores) == 1
        assert said(other) == "waiting"
    with reserved_cores(2, smt=True) as held:
        assert held is not None
        assert held.cores == two
    with pytest.raises(UsageError, match=r"^--threads: expected at most 1, .*received 2; --smt"):
        check_threads(2)
    check_threads(2, smt=True)


@pytest.mark.parametrize(("of_cores", "most"), [(0.5, 1), (1.0, 1), (1.9, 1), (2.0, 2), (64.0, 2)])
def test_a_quota_leaves_its_whole_cores(
    of_cores: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota(tmp_path, of_cores)
    monkeypatch.setattr(facts, "SYSTEM", tmp_path)
    assert most_threads() == most_threads(smt=True) == most
    assert facts.processor_quota() == (of_cores if of_cores < 2 else None)


def test_more_threads_than_cores_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EchobenchError, match="expected at most 2, as many cores as this process"):
        reserved_cores(3).__enter__()
    quota(tmp_path, 1.5)
    monkeypatch.setattr(facts, "SYSTEM", tmp_path)
    with pytest.raises(UsageError, match=r"at most 1, the whole cores of a quota of 1\.5; rec"):
        check_threads(2)
