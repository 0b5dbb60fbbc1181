"""Damaged files: all ways of loading name, count and leave out the same, and nothing else."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echobench.analysis import frame
from echobench.errors import UsageError
from echobench.store import reading
from echobench.store.folder import Store
from echobench.store.reading import canonical, decoded, read_numbered, record_files
from echobench.trial.record import Machine
from tests.privileges import may_become_another_user
from tests.records import RESULTS, record

ONE, TWO, THREE = (
    record(seed, reason="it\u2028went ü").to_json().encode() + b"\n" for seed in range(3)
)
ALL = ONE + TWO + THREE
HALF = len(TWO) // 2


def flipped(line: bytes, bit: int) -> bytes:
    return bytes([line[0] ^ bit]) + line[1:]


CASES: dict[str, tuple[bytes, list[int], list[int]]] = {
    # what is in the file, the seeds of the records that are loaded, the damaged lines
    "whole": (ALL, [0, 1, 2], []),
    "empty": (b"", [], []),
    "no last newline": (ALL[:-1], [0, 1, 2], []),
    "half a last line": (ONE + TWO[:HALF], [0], [2]),
    "half a line, then others": (ONE + TWO[:HALF] + b"\n" + THREE, [0, 2], [2]),
    "half a line and the next one": (ONE + TWO[:HALF] + THREE + ONE, [0, 0], [2]),
    "two lines interleaved": (ONE + TWO[:HALF] + THREE[:-1] + TWO[HALF:] + ONE, [0, 0], [2]),
    "two in one line": (ONE[:-1] + TWO + THREE, [2], [1]),
    "a bit flipped": (ONE + flipped(TWO, 1) + THREE, [0, 2], [2]),
    "a newline from a bit flipped": (ONE + TWO[:HALF] + b"\n" + TWO[HALF:] + THREE, [0, 2], [2, 3]),
    "no newline from a bit flipped": (ONE[:-1] + b"\x0b" + TWO + THREE, [2], [1]),
    "NUL bytes at its end": (ONE + TWO + bytes(4096), [0, 1], [3]),
    "NUL bytes in a line": (ONE + TWO[:HALF] + bytes(100) + TWO[HALF + 100 :] + THREE, [0, 2], [2]),
    "no UTF-8": (ONE + TWO.replace(b"\xc3\xbc", b"\xfc") + THREE, [0, 2], [2]),
    "surrogates": (ONE + TWO.replace(b"\xc3\xbc", b"\xed\xa0\x80") + THREE, [0, 2], [2]),
    "a byte order mark": (b"\xef\xbb\xbf" + ALL, [0, 1, 2], []),
    "a mark in the middle": (ONE + b"\xef\xbb\xbf" + TWO + THREE, [0, 2], [2]),
    "Windows' newlines": (ALL.replace(b"\n", b"\r\n"), [0, 1, 2], []),
    "old Macs' newlines": (ALL.replace(b"\n", b"\r"), [], [1]),
    "lines that hold nothing": (ONE + b"\n \t\n\r\n" + TWO + b"   ", [0, 1], []),
    "damage after such lines": (ONE + b"\n\n" + TWO[:HALF] + b"\n" + THREE, [0, 2], [4]),
    "UTF-16": ("\n".join(["x", "y"]).encode("utf-16"), [], [1, 2]),
    "gzip": (gzip.compress(ALL, mtime=0).replace(b"\n", b""), [], [1]),
    "the same twice": (ONE + ONE, [0, 0], []),
    "other JSON": (b'{}\n[]\n1\nnull\n"x"\n' + ONE, [0], [1, 2, 3, 4, 5]),
    "Markdown": (b"# Results\n\nmine\n" + ONE, [0], [1, 3]),
}


@pytest.mark.parametrize(("held", "seeds", "damaged"), CASES.values(), ids=CASES)
def test_all_that_loads_leaves_out_the_same(
    held: bytes,
    seeds: list[int],
    damaged: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(held)
    for load in (
        lambda: [r.seed for r in Store.read(tmp_path)],
        lambda: list(frame.load(tmp_path).seed),
    ):
        assert load() == seeds
        told = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[0] for line in told[:-1]] == [f"{path}:{n}" for n in damaged]
        plural = "s" if len(damaged) > 1 else ""
        assert told[-1:] == [f"left out: {len(damaged)} damaged line{plural}"] * bool(damaged)


def test_what_a_file_is_instead_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(ALL))
    (tmp_path / "b.jsonl").write_bytes(ALL.decode().encode("utf-16"))
    (tmp_path / "c.jsonl").write_bytes(ONE[:HALF])
    assert Store.read(tmp_path) == []
    told = capsys.readouterr().err
    assert "a.jsonl:1: not a record (a gzip file; unpack it first); left out" in told
    assert "b.jsonl:1: not a record (UTF-16; expected UTF-8); left out" in told
    assert "c.jsonl:1: not a record (cut off: Input data was truncated); left out" in told


def test_many_are_counted_and_what_they_hold_harms_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = b'{"\\u001b[31m' + b"x" * 2000 + b'": 1}\n'
    (tmp_path / "a.jsonl").write_bytes(hostile * 500 + ONE + b"{\n" * 500)
    (tmp_path / "b\x1b.jsonl").write_bytes(b"{\n")
    assert [r.seed for r in Store.read(tmp_path)] == [0]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == reading.MAX_NAMED + 3
    assert told[-2:] == [
        f"{tmp_path}/a.jsonl: 990 more lines like these; left out",
        "left out: 1,001 damaged lines",
    ]
    assert all(line.isprintable() and len(line) < 400 for line in told)


def not_files() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "a folder", lambda path: path.mkdir()
    yield "a pipe", os.mkfifo
    yield "a device", lambda path: path.symlink_to("/dev/zero")
    yield "a loop", lambda path: path.symlink_to(path)
    yield "a dead link", lambda path: path.symlink_to("nothing")


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in not_files()])
def test_what_is_no_file_is_named_and_not_waited_for(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "records-0.jsonl").write_bytes(ONE)
    make(tmp_path / "records-1.jsonl")
    for load in (Store.read, frame.load):
        assert len(load(tmp_path)) == 1
        first, last = capsys.readouterr().err.splitlines()
        assert first.startswith(f"{tmp_path / 'records-1.jsonl'}: ")
        assert last == "left out: 1 file that cannot be read"


UNREADABLE = """
import os, sys
from pathlib import Path
from echobench.errors import UsageError
from echobench.store.reading import record_files
from echobench.store.folder import Store
folder = Path(sys.argv[1])
Store.read(folder / "none")  # what it imports late
if os.geteuid() == 0:
    os.setuid(65534)
print(len(Store.read(folder)))
try:
    record_files(folder / "below")
except UsageError as error:
    print(error)
"""


@pytest.mark.skipif(
    os.geteuid() == 0 and not may_become_another_user(),
    reason="root reads everything, and has no right to become another user",
)
def test_what_may_not_be_read_is_no_silence(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for path in (tmp_path / "records-0.jsonl", tmp_path / "records-1.jsonl"):
        path.write_bytes(ONE)
    (tmp_path / "records-1.jsonl").chmod(0)
    (tmp_path / "below").chmod(0)
    # So that another user comes so far.
    places = [one for one in (tmp_path, *tmp_path.parents) if one.stat().st_mode & 0o005 != 0o005]
    before = [place.stat().st_mode for place in places]
    for place, mode in zip(places, before, strict=True):
        place.chmod(mode | 0o055)
    try:
        done = subprocess.run(
            [sys.executable, "-c", UNREADABLE, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            # Where that leads another user may not look.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
    finally:
        for place, mode in zip(places, before, strict=True):
            place.chmod(mode)
        (tmp_path / "below").chmod(0o755)
    assert done.returncode == 0, done.stderr
    count, refused = done.stdout.splitlines()
    assert count == "1"
    assert refused == f"{tmp_path}/below: expected a folder that can be read; Permission denied"
    assert "records-1.jsonl: cannot be read: Permission denied; left out" in done.stderr


def test_a_line_without_end_is_not_held_in_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(ONE)
    os.truncate(path, 50_000_000)  # a hole, which is read as so many NUL bytes
    with path.open("ab") as file:
        file.write(b"\n" + TWO)
    tracemalloc.start()
    try:
        assert [r.seed for r in Store.read(path)] == [0, 1]
        assert tracemalloc.get_traced_memory()[1] < 3 * reading.MAX_LINE_BYTES
    finally:
        tracemalloc.stop()
    assert f"{path}:2: not a record (longer than 16 MiB); left out" in capsys.readouterr().err


def test_a_damaged_record_is_not_done(tmp_path: Path) -> None:
    here = Machine(cpu="fast", cores=2)
    store = Store(tmp_path)
    for seed in range(2):
        store.append(record(seed, provenance={"machine": here}))
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    assert set(store.done(here)) == {"key-0"}


def test_what_was_set_aside_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "records-0.jsonl.damaged"
    path.write_bytes(ONE)
    assert record_files(tmp_path) == record_files(path) == record_files(tmp_path, deep=True) == []


def test_a_folder_that_is_none_is_refused_or_empty(tmp_path: Path) -> None:
    assert record_files(tmp_path / "absent") == []


LINES = [
    line
    for path in sorted(RESULTS.rglob("records-*.jsonl"))
    for line in sorted(path.read_bytes().splitlines(keepends=True), key=len)[:1]
]
CUTS = st.integers(0, 3000)
PIECES = st.one_of(
    st.sampled_from(LINES),
    st.binary(max_size=40),
    st.sampled_from([b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", b'"', b"}", b"\xe2\x80\xa8", b" "]),
    st.builds(lambda line, cut: line[:cut], st.sampled_from(LINES), CUTS),
    st.builds(lambda line, cut: line[cut:], st.sampled_from(LINES), CUTS),
    st.builds(
        lambda line, at, bit: line[: at % len(line)] + flipped(line[at % len(line) :], 1 << bit),
        st.sampled_from(LINES),
        CUTS,
        st.integers(0, 7),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=6).map(b"".join))
def test_each_line_is_loaded_or_complained_about(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(LINES[0] + held.removesuffix(b"\n") + b"\n" + LINES[1])
    left_out: list[int] = []
    numbered = read_numbered(path, decoded, lambda damage: left_out.append(damage.number))
    found = {line.number for line, _ in numbered}
    assert not found & set(left_out)
    lines = path.read_bytes().removeprefix(reading.BYTE_ORDER_MARK).split(b"\n")
    assert sorted([*found, *left_out]) == [n for n, line in enumerate(lines, 1) if line.strip()]
    assert {1, len(lines) - 1} <= found
    again = [canonical(r) for _, r in read_numbered(path, decoded, lambda damage: None)]
    assert again[0] == canonical(decoded(LINES[0]))


def test_an_error_of_ours_is_one_line() -> None:
    with pytest.raises(UsageError, match="expected a folder that can be read"):
        reading._refuse(PermissionError(13, "Permission denied", "x\n"))
