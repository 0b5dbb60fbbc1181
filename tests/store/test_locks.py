"""Locks exclude other processes, and end with their process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echobench.store.locks import LOCKABLE_BYTES, SEARCHES, TRIALS, FolderLocks, byte_of

OTHER = """
import sys
from pathlib import Path
from echobench.store.locks import FolderLocks
locks = FolderLocks(Path(sys.argv[1]))
print(locks.acquire(sys.argv[2:]), flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_elsewhere(folder: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Lock names in another process, until its input is closed or it is killed."""
    command = [sys.executable, "-c", OTHER, str(folder), *names]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        try:
            yield other
        finally:
            other.kill()


def test_what_another_process_claims_is_refused_until_it_is_killed(tmp_path: Path) -> None:
    with FolderLocks(tmp_path) as ours, locked_elsewhere(tmp_path, "a", "b") as other:
        assert not ours.acquire(["a"])
        assert not ours.acquire(["c", "b"])  # all or none: so it has not taken c
        with locked_elsewhere(tmp_path, "c"):
            pass
        assert ours.acquire(["c"])
        other.kill()
        other.wait()
        assert ours.acquire(["a", "b"])


def test_what_is_given_back_is_free(tmp_path: Path) -> None:
    with FolderLocks(tmp_path) as ours:
        assert ours.acquire(["a", "b"])
        ours.release(["a"])
        with locked_elsewhere(tmp_path, "a"):
            pass
        assert ours.acquire(["a"])
    with locked_elsewhere(tmp_path, "a", "b"):  # all is given back at the end
        pass


def test_the_two_files_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    searches = FolderLocks(tmp_path, SEARCHES)
    assert searches.acquire(["a"])
    with FolderLocks(tmp_path) as ours:
        assert ours.acquire(["a"])
    with locked_elsewhere(tmp_path, "a"):
        pass
    searches.close()


def test_in_a_folder_that_was_made_again_the_new_file_counts(tmp_path: Path) -> None:
    with FolderLocks(tmp_path) as ours:
        assert ours.acquire(["a"])
        ours.release(["a"])
        (tmp_path / TRIALS).unlink()
        with locked_elsewhere(tmp_path, "a"):
            assert not ours.acquire(["a"])


def test_a_place_is_one_that_the_system_can_lock() -> None:
    places = [byte_of(f"{number:016x}") for number in range(10_000)]
    assert len({*places}) == len(places)
    assert 0 <= min(places) <= max(places) < LOCKABLE_BYTES < 2**63
