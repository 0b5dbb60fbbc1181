"""Repair moves damaged lines aside byte for byte, and loses nothing when interrupted."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echobench.errors import UsageError
from echobench.store import reading
from echobench.store.folder import Store
from echobench.store.repair import Repaired, repair
from tests.conftest import Command
from tests.records import record
from tests.store.dying import moments

GOOD = [record(seed).to_json().encode() + b"\n" for seed in range(3)]
NEWER = b'{"schema_version":99}\n'
DAMAGED = [GOOD[1][:100] + b"\n", b"\xff\xfe\0\r\n", b"\0\n", b"{}\n"]


def written(folder: Path, *lines: bytes) -> Path:
    path = folder / "records-0.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def set_aside(path: Path) -> list[tuple[int, bytes]]:
    """Parse a file of damaged lines; return each with its number."""
    text = path.with_name(path.name + ".damaged").read_bytes()
    found = []
    while text:
        header, _, text = text.partition(b"\n")
        told = json.loads(header)
        found.append((told["line"], text[: told["bytes"]]))
        assert text[told["bytes"] : told["bytes"] + 1] == b"\n"
        text = text[told["bytes"] + 1 :]
    return found


def test_damaged_lines_go_and_good_ones_stay_as_they_are(tmp_path: Path) -> None:
    crlf = GOOD[1].replace(b"\n", b"\r\n")
    path = written(
        tmp_path,
        b"\xef\xbb\xbf",
        GOOD[0],
        DAMAGED[0],
        b"\n",
        crlf,
        *DAMAGED[1:],
        NEWER,
        GOOD[2][:-1],
    )
    path.chmod(0o640)
    done = repair(path)
    aside = path.with_name("records-0.jsonl.damaged")
    assert done == Repaired(path, 4, sum(map(len, DAMAGED)), aside)
    assert path.read_bytes() == b"\xef\xbb\xbf" + GOOD[0] + b"\n" + crlf + NEWER + GOOD[2][:-1]
    assert set_aside(path) == list(zip([2, 5, 6, 7], DAMAGED, strict=True))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = aside.read_bytes()
    assert repair(path) is None
    assert (aside.read_bytes(), sorted(tmp_path.iterdir())) == (before, [path, aside])


def test_a_half_last_line_and_one_too_long_are_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", len(GOOD[0]))
    long, half = b" " * 5_000_000 + b"\n", GOOD[2][:50]
    path = written(tmp_path, GOOD[0], long, GOOD[1], half)
    repair(path)
    assert path.read_bytes() == GOOD[0] + GOOD[1]
    assert set_aside(path) == [(2, long), (4, half)]


def test_later_ones_are_added(tmp_path: Path) -> None:
    for number, line in enumerate(DAMAGED):
        with written(tmp_path, GOOD[0]).open("ab") as file:
            file.write(line)
        assert repair(tmp_path / "records-0.jsonl")
        assert len(set_aside(tmp_path / "records-0.jsonl")) == number + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*GOOD, *DAMAGED, NEWER, b"\n"]),
            st.binary(max_size=30).map(lambda told: told + b"\n"),
        ),
        max_size=8,
    )
)
def test_no_byte_is_lost(tmp_path: Path, lines: list[bytes]) -> None:
    path = written(tmp_path, *lines)
    held = path.read_bytes()
    aside = path.with_name(path.name + ".damaged")
    aside.unlink(missing_ok=True)
    done = repair(path)
    gone = set_aside(path) if done else []
    whole = held.split(b"\n")
    for number, line in reversed(gone):
        assert whole.pop(number - 1) == line.removesuffix(b"\n")
    assert b"\n".join(whole) == path.read_bytes()
    assert repair(path) is None


def test_whenever_it_dies_nothing_is_lost(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD[0], DAMAGED[0], GOOD[1], DAMAGED[1])

    def check() -> None:
        there = path.read_bytes()
        assert there.startswith(GOOD[0])
        assert GOOD[1] in there
        aside = path.with_name(path.name + ".damaged")
        everything = there + (aside.read_bytes() if aside.exists() else b"")
        assert all(line in everything for line in DAMAGED[:2])

    assert moments(lambda: repair(path), check) > 5
    assert path.read_bytes() == GOOD[0] + GOOD[1]
    assert {line for _, line in set_aside_at_least(path)} == set(DAMAGED[:2])


def set_aside_at_least(path: Path) -> list[tuple[int, bytes]]:
    """Do the same where a process may have died before its lines were complete."""
    text = path.with_name(path.name + ".damaged").read_bytes()
    whole = text[text.rindex(b'{"set_aside_at"') :]
    start = text.rindex(b'{"set_aside_at"', 0, len(text) - len(whole))
    beside = path.with_name("last.jsonl")
    beside.with_name("last.jsonl.damaged").write_bytes(text[start:])
    return set_aside(beside)


def test_a_run_that_writes_meanwhile_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(record(0))
    (path,) = tmp_path.glob("*.jsonl")
    repaired = 0
    refused: list[str] = []

    def write() -> None:
        for number in range(1, 60):
            store.append(record(number))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        with path.open("ab") as file:
            file.write(b"{damaged}\n")
        try:
            repaired += repair(path) is not None
        except UsageError as error:
            refused.append(str(error))
    writer.join()
    repair(path)
    assert sorted(r.seed for r in Store.read(tmp_path)) == list(range(60))
    assert repaired + len(refused) > 0
    assert all("it changed meanwhile" in why for why in refused)


def test_what_cannot_be_repaired_is_one_line(echobench: Command, tmp_path: Path) -> None:
    (tmp_path / "records-0.jsonl").write_bytes(GOOD[0] + DAMAGED[0])
    (tmp_path / "records-0.jsonl.damaged").mkdir()
    done = echobench("validate", "--repair", "records-0.jsonl")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "expected a file that can be read and written" in done.stderr
    assert (tmp_path / "records-0.jsonl").read_bytes() == GOOD[0] + DAMAGED[0]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"x": 1}\n')
    with pytest.raises(UsageError, match="it holds no record at all"):
        repair(path)
    assert [path] == list(tmp_path.iterdir())


def test_the_command_says_what_it_did(echobench: Command, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD[0], DAMAGED[0])
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    done = echobench("validate", "link.jsonl", "--repair")
    assert f"{path}: 1 damaged line, {len(DAMAGED[0])} bytes, set aside in " in done.stderr
    assert "damaged" not in done.stdout
    assert link.readlink() == path
    done = echobench("validate", ".", "--repair")
    assert done.stderr.splitlines()[0] == "nothing to repair"
    assert "records-0.jsonl:1: error: key: expected " in done.stdout
