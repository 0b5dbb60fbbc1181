"""The folder of records: what is written is there, what is damaged is named."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import tempfile
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from echobench.errors import StorageError, UsageError
from echobench.store import folder as module
from echobench.store.folder import Store, later_stamp
from echobench.store.reading import decoded_prediction
from echobench.text import file_name
from echobench.trial.record import Machine, latest
from tests.records import changed, measured, missed, reached, record


def test_a_record_is_one_line_on_disk_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(reached(0, 1.0))
    (file,) = tmp_path.glob("*.jsonl")
    assert file.read_text().count("\n") == 1
    assert re.fullmatch(r"records-\d{8}T\d{6}Z-[0-9a-f]{6}\.jsonl", file.name)
    store.append(missed(1, 2.0))
    assert store.load() == [reached(0, 1.0), missed(1, 2.0)]
    assert Store(tmp_path).load() == store.load()


def test_predictions_have_a_file_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(reached(0, 1.0))
    store.append(measured("jax"))
    store.append(measured("numpy"))
    assert store.load() == [reached(0, 1.0)]
    (file,) = tmp_path.glob("predictions-*.jsonl")
    lines = file.read_text().splitlines()
    assert [decoded_prediction(line.encode()).backend for line in lines] == ["jax", "numpy"]


def test_quick_records_live_apart(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    Store(folder, quick=True).append(reached(0, 1.0))
    assert Store(folder).load() == []
    assert len(Store(folder, quick=True).load()) == 1
    assert len(Store(folder / "quick").load()) == 1


def test_a_figure_that_json_has_no_number_for_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for value in (math.nan, math.inf):
        with pytest.raises(msgspec.ValidationError, match="wall_s"):
            store.append(changed(record(), wall_s=value))
    assert store.load() == []


def test_what_is_done_need_not_run_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    here, there = Machine(cpu="fast", cores=2), Machine(cpu="slow", cores=2)
    statuses = ["reached", "missed", "unsupported", "failed", "timeout", "unavailable"]
    for seed, status in enumerate(statuses):
        store.append(record(seed, status=status, provenance={"machine": here}))
    store.append(record(6, provenance={"machine": there}))
    assert set(store.done(here)) == {"key-0", "key-1", "key-2"}
    assert set(store.done(there)) == {"key-6"}
    assert set(store.done(here, also=("timeout",))) == {"key-0", "key-1", "key-2", "key-4"}
    assert [r.key for r in store.of(here, {"key-1", "key-3", "key-6"})] == ["key-1", "key-3"]
    assert [r.key for r in store.of(None, {"key-1", "key-6"})] == ["key-1", "key-6"]


def test_a_damaged_line_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        store.append(reached(seed, 1.0))
    (file,) = tmp_path.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:40] + b"\xff\n"
    file.write_bytes(b"".join(lines))
    for read in (store.load, lambda: [*store.of(None)]):
        assert [r.seed for r in read()] == [0, 2]
        assert f"{file}:2: not a record" in capsys.readouterr().err


def test_a_folder_that_is_not_there_holds_no_records(tmp_path: Path) -> None:
    store = Store(tmp_path / "absent")
    assert store.load() == [*store.of(None)] == []
    assert not store.folder.exists()


def test_of_a_trial_run_twice_the_table_takes_the_last_on_each_machine() -> None:
    first, second = missed(0, 1.0), reached(0, 2.0)
    assert latest([first, reached(1, 1.0), second]) == [second, reached(1, 1.0)]
    here, there = (
        record(0, provenance={"machine": {"cpu": cpu, "cores": 2}}) for cpu in ("fast", "slow")
    )
    assert latest([here, there, here]) == [here, there]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"cpu": "Xeon", "cores": 1}, "Xeon, 1 core"),
        ({"cpu": "Xeon", "cores": 2, "gpus": [], "memory_bytes": 1}, "Xeon, 2 cores"),
        ({"cpu": "Xeon", "cores": 16, "gpus": ["H100", "H100"]}, "Xeon, 16 cores, H100, H100"),
        (
            {"cpu": "Xeon", "cores": 2, "system": "Linux 5.1", "architecture": "x86_64"},
            "Xeon, 2 cores",
        ),
        ({"cpu": "Xeon", "cores": 2, "architecture": "AMD64"}, "Xeon, 2 cores"),
        ({"cpu": "Xeon", "cores": 2, "architecture": "i686"}, "Xeon, 2 cores, i686"),
        (
            {"cpu": "M1", "cores": 8, "system": "Darwin 23", "architecture": "arm64"},
            "M1, 8 cores, arm64, Darwin",
        ),
        ({"cpu": "M1", "cores": 8, "architecture": "aarch64"}, "M1, 8 cores, arm64"),
        (None, "None, None cores"),  # of records of long ago
    ],
)
def test_a_class_of_machines_is_its_processor_its_cores_and_its_gpus(
    facts: dict[str, Any] | None, expected: str
) -> None:
    assert record(provenance={"machine": facts}).machine_class == expected


UNKNOWN = Machine(
    cores=2, system="Linux 5.10", architecture="aarch64", memory_bytes=4, identity="a"
)


@pytest.mark.parametrize("name", [None, "", "-", "unknown", "Unknown "])
def test_a_machine_of_an_unknown_processor_is_like_itself_alone(name: str | None) -> None:
    ours = replace(UNKNOWN, cpu=name)
    after_an_update = replace(ours, system="Linux 6.1", python="3.13")
    assert ours.kind == after_an_update.kind == UNKNOWN.kind
    others = [
        replace(ours, identity="b"), replace(ours, architecture="x86_64"), replace(ours, cores=4)
    ]  # fmt: skip # one line reads better
    older = [
        replace(ours, identity=UNSET),
        replace(ours, identity=UNSET, system="Linux 6.1"),
        replace(ours, identity=UNSET, memory_bytes=8),
        replace(ours, identity=UNSET, architecture="x86_64"),
    ]
    assert len({machine.kind for machine in [ours, *others, *older]}) == 8


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("partial[n_in=8]", "partial_n_in=8"),
        ("a b/../c", "a_b_.._c"),
        ("._-x.tar.gz_.", "x.tar.gz"),
        ("X-ray.X", "X-ray.X"),
        ("", "_"),
        ("...", "_"),
        ("con", "_con"),
        ("Com7.keras", "_Com7.keras"),
        ("console", "console"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100 + "-" + hashlib.sha256(b"x" * 101).hexdigest()[:8]),
        ("y" * 101 + "\ud800", "y" * 100 + "-" + hashlib.sha256(b"y" * 101 + b"?").hexdigest()[:8]),
    ],
)
def test_a_name_of_a_file_by_hand(name: str, expected: str) -> None:
    assert file_name(name) == expected


class Clock(datetime):
    """A clock that was set to another year."""

    year_now = 2020

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Clock:
        assert tz is UTC
        return cls(cls.year_now, 1, 1, tzinfo=tz)


@pytest.mark.parametrize("years", [(2026, 2020, 2026), (2020, 2020, 2020), (2099, 1980, 2030)])
def test_whatever_the_clock_says_the_last_run_is_the_last_one(
    years: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "datetime", Clock)
    for number, year in enumerate(years):
        Clock.year_now = year
        Store(tmp_path).append(reached(number, 1.0))
    assert [r.seed for r in Store(tmp_path).load()] == [*range(len(years))]


def test_a_stamp_is_now_in_utc_or_one_second_after_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "datetime", Clock)
    Clock.year_now = 2026
    assert later_stamp([]) == "20260101T000000Z"
    assert later_stamp(["records-20251231T235959Z-0.jsonl", "other"]) == "20260101T000000Z"
    names = [f"records-{stamp}-0.jsonl" for stamp in ("20260731T235959Z", "20260101T000000Z")]
    assert later_stamp(names) == "20260801T000000Z"


@pytest.mark.parametrize("stamp", ["99991231T235959Z", "99999999T999999Z"])
def test_a_stamp_after_which_there_is_none_does_no_harm(stamp: str) -> None:
    assert later_stamp([f"records-{stamp}-0.jsonl"]) == stamp


def test_a_record_that_cannot_be_kept_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "results"
    folder.write_text("a file")
    with pytest.raises(StorageError, match="once that can be written") as caught:
        Store(folder).append(reached(0, 1.0))
    (rescued,) = tmp_path.glob("records-*-rescued-*.jsonl")
    assert str(rescued) in str(caught.value)
    folder.unlink()
    folder.mkdir()
    rescued.rename(folder / rescued.name)  # as it says
    assert Store(folder).load() == [reached(0, 1.0)]


def test_a_record_that_nothing_takes_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "results"))
    with pytest.raises(StorageError) as caught:
        Store(tmp_path / "results").append(reached(0, 1.0))
    assert str(caught.value).endswith("; the last record is printed above, since nothing takes it")
    assert reached(0, 1.0).to_json() in capsys.readouterr().err


def test_a_folder_that_is_gone_is_made_again_and_that_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "results")
    store.check_room()
    store.append(reached(0, 1.0))
    store.check_room()
    assert capsys.readouterr().err == ""
    shutil.rmtree(store.folder)
    store.append(reached(1, 1.0))
    assert "the records of this run so far are gone from here" in capsys.readouterr().err
    assert [r.seed for r in store.load()] == [1]
    store.folder.rename(tmp_path / "elsewhere")
    store.check_room()
    assert "the records of this run so far are gone from here" in capsys.readouterr().err
    store.check_room()
    assert capsys.readouterr().err == ""


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=16 * 2**20 - 1))
    store = Store(tmp_path / "new" / "results")
    with pytest.raises(StorageError) as caught:
        store.check_room()
    assert str(caught.value) == f"16 MiB are free, of 16 needed ({store.folder})"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**20))
    with pytest.raises(StorageError, match=r"^1 MiB are free, of 16 needed"):
        store.check_room()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=16 * 2**20))
    store.check_room()
    assert [*store.folder.iterdir()] == []  # whether it can be written leaves nothing


def test_before_a_trial_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        Store(tmp_path / "file").check_room()
    assert str(caught.value) == f"File exists ({tmp_path / 'file'})"


def test_two_processes_may_look_for_room_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch

    def taken(path: Path) -> None:
        touch(path)
        assert path.name == ".probe"  # hidden, and no file of records
        path.unlink()  # by the other one

    monkeypatch.setattr(Path, "touch", taken)
    Store(tmp_path).check_room()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="a folder that can be written; it is a file, or in"):
            Store(path).check_writable()
