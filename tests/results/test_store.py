"""The folder of records: what is written is there, what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.errors import UsageError
from echobench.results.prediction import Prediction
from echobench.results.store import Store, latest
from tests.results.records import measured, missed, reached, record


def test_a_record_is_one_line_on_disk_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(reached(0, 1.0))
    (file,) = tmp_path.glob("*.jsonl")
    assert file.read_text().count("\n") == 1
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
    assert [Prediction.model_validate_json(line).backend for line in lines] == ["jax", "numpy"]


def test_quick_records_live_apart(tmp_path: Path) -> None:
    Store(tmp_path, quick=True).append(reached(0, 1.0))
    assert Store(tmp_path).load() == []
    assert len(Store(tmp_path, quick=True).load()) == 1


def test_what_is_done_need_not_run_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    here, there = {"cpu": "fast", "cores": 2}, {"cpu": "slow", "cores": 2}
    statuses = ["reached", "missed", "unsupported", "failed", "timeout", "unavailable"]
    for seed, status in enumerate(statuses):
        store.append(record(seed, status=status, provenance={"machine": here}))
    store.append(record(6, provenance={"machine": there}))
    assert set(store.done(here)) == {"key-0", "key-1", "key-2"}
    assert set(store.done(there)) == {"key-6"}
    assert set(store.done(here, keys={"key-1", "key-3", "key-6"})) == {"key-1"}


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
    assert [r.seed for r in store.load()] == [0, 2]
    assert f"{file}:2: not a record" in capsys.readouterr().err


def test_of_a_trial_run_twice_the_table_takes_the_last() -> None:
    first, second = missed(0, 1.0), reached(0, 2.0)
    assert latest([first, reached(1, 1.0), second]) == [second, reached(1, 1.0)]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="expected a folder that can be written"):
        Store(tmp_path / "file").check_writable()
