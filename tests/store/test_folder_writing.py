"""Lines are appended whole or not at all; a line that cannot be written is rescued."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from echobench.errors import StorageError
from echobench.store.folder import Store, append_line, replace_file, rescue
from echobench.store.locks import lock_writing
from echobench.store.reading import record_files
from tests.records import record

LOCKS = Path("/proc/locks")
WRITER = """
import sys
from pathlib import Path
from echobench.store.folder import append_line
for number in range(50):
    append_line(Path(sys.argv[1]), sys.argv[2] * 20_000 + str(number))
"""


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """Limit the size of files: the system writes what fits, then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "first")
    with full_at(100), pytest.raises(OSError, match="File too large"):
        append_line(path, "x" * 200)
    assert path.read_text() == "first\n"
    append_line(path, "ä" * 200)
    assert path.read_text() == "first\n" + "ä" * 200 + "\n"


def test_a_line_that_was_cut_off_does_not_take_the_next_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"half": ')
    append_line(path, "whole")
    assert path.read_text().splitlines() == ['{"half": ', "whole"]


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = path.read_text().splitlines()
    expected = [letter * 20_000 + str(number) for letter in "abc" for number in range(50)]
    assert sorted(lines) == sorted(expected)


@pytest.mark.skipif(not LOCKS.exists(), reason="only Linux says who waits for a lock")
def test_a_line_is_in_the_file_that_replaced_the_one_it_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("first\n")
    with path.open() as old:
        lock_writing(old.fileno())
        writer = threading.Thread(target=append_line, args=(path, "second"))
        writer.start()
        until = time.monotonic() + 60
        while not is_waiting():
            assert time.monotonic() < until
            time.sleep(0.01)
        replace_file(path, "repaired\n")
    writer.join()
    assert path.read_text() == "repaired\nsecond\n"


def is_waiting() -> bool:
    """Return whether this process waits for a lock; a file may have another number there."""
    lines = map(str.split, LOCKS.read_text().splitlines())
    return any("->" in words and str(os.getpid()) in words for words in lines)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    replace_file(path, "before")
    with full_at(10), pytest.raises(OSError, match="File too large"):
        replace_file(path, "x" * 100)
    assert path.read_text() == "before"
    replace_file(path, "after")
    assert path.read_text() == "after"
    assert [*path.parent.iterdir()] == [path]


def test_what_cannot_be_kept_is_in_the_temporary_folder_or_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = rescue(Path("/gone/predictions-1.jsonl"), '{"kept": 1}')
    assert kept is not None
    assert kept.parent == tmp_path
    assert kept.match("predictions-1-rescued-*.jsonl")  # as it must be called among records
    assert kept.read_text() == '{"kept": 1}\n'
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert rescue(Path("/gone/records-1.jsonl"), '{"kept": 2}') is None
    assert capsys.readouterr().err == '{"kept": 2}\n'
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with full_at(5):
        assert rescue(Path("/gone/records-1.jsonl"), '{"kept": 3}') is None
    assert capsys.readouterr().err == '{"kept": 3}\n'
    assert [*tmp_path.iterdir()] == [kept]


def test_the_records_of_a_process_that_do_not_fit_are_all_kept(
    temporary: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results")
    records = [record(seed) for seed in range(4)]
    store.append(*records[:2])
    (path,) = record_files(store.folder)
    with (
        full_at(path.stat().st_size * 5 // 4),
        pytest.raises(StorageError, match="; the last 2 records are kept in "),
    ):
        store.append(*records[2:])
    assert [one.seed for one in Store.read(store.folder)] == [0, 1]
    (kept,) = temporary.iterdir()
    kept.rename(store.folder / kept.name)
    assert sorted(one.seed for one in Store.read(store.folder)) == [0, 1, 2, 3]
