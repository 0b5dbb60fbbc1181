"""Each line of a folder is read once, including those that other processes append."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.store import progress_log as module
from echobench.store.folder import Store
from echobench.store.progress_log import ProgressLog
from echobench.store.reading import decoded
from echobench.trial.record import INTERRUPTED, Judgement, Machine, Parity, Record
from tests.records import changed, missed, reached, record

HERE, THERE = Machine(cpu="fast", cores=2), Machine(cpu="slow", cores=2)


def test_what_is_done_on_this_machine_need_not_run_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    statuses = ["reached", "missed", "unsupported", "failed", "timeout", "unavailable"]
    for seed, status in enumerate(statuses):
        store.append(record(seed, status=status, provenance={"machine": HERE}))
    store.append(record(6, provenance={"machine": THERE}))
    assert set(ProgressLog(tmp_path, HERE).finished()) == {"key-0", "key-1", "key-2"}
    assert set(ProgressLog(tmp_path, HERE).finished(also=("timeout",))) == {
        "key-0",
        "key-1",
        "key-2",
        "key-4",
    }
    assert set(ProgressLog(tmp_path, THERE).finished()) == {"key-6"}
    assert set(ProgressLog(tmp_path, HERE, {"key-1", "key-3", "key-6"}).finished()) == {"key-1"}
    assert set(ProgressLog(tmp_path / "absent", HERE).finished()) == set()


def test_what_others_add_is_seen_and_each_line_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []

    def counted(line: bytes) -> Record:
        read.append(line)
        return decoded(line)

    monkeypatch.setattr(module, "decoded", counted)
    ours, others = Store(tmp_path), Store(tmp_path)
    ours.append(reached(0, 1.0))
    progress_log = ProgressLog(tmp_path)
    assert set(progress_log.finished()) == {"key-0"}
    assert progress_log.update() == {}
    others.append(record(1, status="failed"))
    ours.append(reached(2, 1.0))
    assert progress_log.update() == {"key-1": True, "key-2": False}
    others.append(reached(1, 1.0))
    failed = Parity(passed=False)
    others.append(changed(reached(3, 1.0), parity=failed))
    assert progress_log.update() == {"key-1": False, "key-2": False, "key-3": True}
    assert len(read) == 5


def test_what_others_add_fails_and_runs_again_as_it_would_here(tmp_path: Path) -> None:
    compared, unchecked = ProgressLog(tmp_path), ProgressLog(tmp_path)
    compared.finished(compared=True)
    unchecked.finished()
    others = Store(tmp_path)
    ungated = changed(reached(0, 1.0), parity=Parity(passed=None))
    diverged = changed(missed(1, 1.0), parity=Parity(passed=None), diverged_epoch=1)
    unjudged = changed(reached(2, 1.0), judge=Judgement(by="a judge", failure=INTERRUPTED))
    others.append(ungated, diverged, unjudged)
    assert compared.update() == {"key-0": True, "key-1": False}
    assert unchecked.update() == {"key-0": False, "key-1": False, "key-2": False}


def test_a_line_counts_when_it_is_whole_and_a_damaged_one_never(tmp_path: Path) -> None:
    progress_log = ProgressLog(tmp_path)
    progress_log.skip_existing()
    line = reached(0, 1.0).to_json().encode() + b"\n"
    with (tmp_path / "records-1.jsonl").open("ab", buffering=0) as file:
        file.write(b"\xff not a record\n")
        file.write(line[:100])
        assert progress_log.update() == {}
        file.write(line[100:])
        assert progress_log.update() == {"key-0": False}


def test_what_is_skipped_is_not_read(tmp_path: Path) -> None:
    Store(tmp_path).append(reached(0, 1.0))
    progress_log = ProgressLog(tmp_path)
    progress_log.skip_existing()
    Store(tmp_path).append(reached(1, 1.0))
    assert progress_log.update() == {"key-1": False}


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "records-1.jsonl"
    lines = [reached(seed, 1.0).to_json() + "\n" for seed in range(3)]
    file.write_text("".join(lines[:2]))
    progress_log = ProgressLog(tmp_path)
    assert set(progress_log.finished()) == {"key-0", "key-1"}
    file.write_text(lines[2])
    assert progress_log.update() == {"key-2": False}
    beside = tmp_path / "new"
    beside.write_text("".join(lines))
    beside.replace(file)
    assert progress_log.update().keys() == {"key-0", "key-1", "key-2"}


def test_a_trial_that_no_reference_gated_is_not_done_where_there_is_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    unchecked = Parity(passed=None)
    for seed, parity in enumerate([Parity(passed=True), unchecked, unchecked]):
        store.append(changed(reached(seed, 1.0), parity=parity))
    store.append(changed(reached(0, 1.0), parity=unchecked))  # the last one counts
    store.append(changed(reached(1, 1.0), parity=Parity(passed=True)))
    store.append(changed(reached(3, 1.0), parity=unchecked, diverged_epoch=4))
    store.append(changed(reached(4, 1.0), parity=Parity(passed=False)))
    log = ProgressLog(tmp_path)
    assert set(log.finished(compared=True)) == {"key-1", "key-3", "key-4"}
    assert [key for key, failed in log.earlier.items() if failed] == ["key-4"]
    assert len(ProgressLog(tmp_path).finished()) == 5
