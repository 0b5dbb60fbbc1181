"""Claims keep other processes away, and end with their process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echobench.store.locks import PLACES, SEARCHES, TRIALS, Claims, place

OTHER = """
import sys
from pathlib import Path
from echobench.store.locks import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(sys.argv[2:]), flush=True)
sys.stdin.read()
"""


@contextmanager
def claimed(folder: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process claim names, until its input is closed or it is killed."""
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
    with Claims(tmp_path) as ours, claimed(tmp_path, "a", "b") as other:
        assert not ours.take(["a"])
        assert not ours.take(["c", "b"])  # all or none: so it has not taken c
        with claimed(tmp_path, "c"):
            pass
        assert ours.take(["c"])
        other.kill()
        other.wait()
        assert ours.take(["a", "b"])


def test_what_is_given_back_is_free(tmp_path: Path) -> None:
    with Claims(tmp_path) as ours:
        assert ours.take(["a", "b"])
        ours.give(["a"])
        with claimed(tmp_path, "a"):
            pass
        assert ours.take(["a"])
    with claimed(tmp_path, "a", "b"):  # all is given back at the end
        pass


def test_the_two_files_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    searches = Claims(tmp_path, SEARCHES)
    assert searches.take(["a"])
    with Claims(tmp_path) as ours:
        assert ours.take(["a"])
    with claimed(tmp_path, "a"):
        pass
    searches.close()


def test_in_a_folder_that_was_made_again_the_new_file_counts(tmp_path: Path) -> None:
    with Claims(tmp_path) as ours:
        assert ours.take(["a"])
        ours.give(["a"])
        (tmp_path / TRIALS).unlink()
        with claimed(tmp_path, "a"):
            assert not ours.take(["a"])


def test_a_place_is_one_that_the_system_can_lock() -> None:
    places = [place(f"{number:016x}") for number in range(10_000)]
    assert len({*places}) == len(places)
    assert 0 <= min(places) <= max(places) < PLACES < 2**63
