"""The frame: what is read in pieces and processes is what the records say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echobench.analysis import frame
from echobench.analysis.flat import FLAT_FIELDS
from echobench.analysis.frame import only, sorted_out_frame
from echobench.analysis.pairs import on_clock
from echobench.errors import UsageError
from echobench.machine import parallel
from echobench.machine.calibration import assessed
from echobench.plugin.manager import Plugins
from echobench.present import table
from echobench.store import referee
from echobench.store.folder import Store
from echobench.trial.record import TABLE_FIELDS, Parity, Record, latest
from tests.records import RESULTS, changed, missed, reached, record, rows

FOLDERS = sorted({file.parent for file in RESULTS.rglob("records-*.jsonl")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_is_the_frame_of_its_records(folder: Path) -> None:
    pd.testing.assert_frame_equal(frame.load(folder), frame.frame(Store.read(folder)))


@pytest.mark.parametrize(
    "trials",
    [[{"threads": 1}, {"threads": 2}], [{"versions": {"a": "1"}}, {"versions": {"a": "2"}}]],
)
def test_cells_of_one_name_in_two_files_stay_two(
    trials: list[dict[str, Any]], tmp_path: Path
) -> None:
    told = [record(number, trial=trial) for number, trial in enumerate(trials)]
    for number, one in enumerate(told):
        (tmp_path / f"records-{number}.jsonl").write_text(one.to_json() + "\n")
    assert frame.load(tmp_path).cell.tolist() == [one.cell for one in told]


def test_rows_hold_what_the_records_hold() -> None:
    records = latest([r for folder in FOLDERS for r in Store.read(folder)])
    told = [{name: getattr(r, name) for name in TABLE_FIELDS} for r in map(assessed, records)]
    for r, fields in zip(records, told, strict=True):
        if not r.is_first:  # its wall time has no start
            fields["wall_s"] = None
    assert not any(r.contradiction for r in records)
    by_place = sorted(told, key=lambda r: [str(r[k]) for k in frame.CELL] + [r["seed"]])
    found = rows(records)
    assert [{name: row[name] for name in TABLE_FIELDS} for row in found] == by_place


def test_only_the_first_trial_of_a_process_has_a_time_from_its_start() -> None:
    first = record(0, provenance={"process": {"id": "a", "place": 0}}, wall_s=9.0, train_s=1.0)
    later = record(1, provenance={"process": {"id": "a", "place": 1}}, wall_s=0.5, train_s=0.4)
    flat = frame.frame([first, later])
    assert [*flat.process] == ["a", "a"]
    assert [*flat.place] == [0, 1]
    assert flat.wall_s.iloc[0] == 9.0
    assert flat.wall_s.isna().tolist() == [False, True]
    assert on_clock(flat, "wall").isna().tolist() == [False, True]


def test_a_share_above_the_limit_is_empty_and_says_why() -> None:
    one, other = rows([record(0, limit_fraction=0.4), record(1, limit_fraction=3.6)])
    assert (one["limit_fraction"], one["limit_reason"]) == (0.4, None)
    assert other["limit_fraction"] is None
    assert other["limit_reason"] == "3.60x the measured matrix rate"


def with_pace(*seconds: float | None, **fields: Any) -> list[Record]:
    return [record(n, seconds_per_update=one, **fields) for n, one in enumerate(seconds)]


@pytest.mark.parametrize(
    ("records", "flags"),
    [
        (with_pace(1.0, 1.0, 1.0, 1.2), [0, 0, 0, 1]),
        (with_pace(1.0, 1.0, 1.1), [0, 0, 0]),
        (with_pace(1.0, 1.2), [0, 0]),  # which of the two?
        (with_pace(1.0, None, 1.2), [0, 0, 0]),
        (with_pace(1.0, 1.0, 1.0) + with_pace(1.2, backend="torch"), [0, 0, 0, 0]),
        (
            with_pace(1.0, 1.0, 1.0) + with_pace(1.2, provenance={"machine": {"cpu": "slow"}}),
            [0, 0, 0, 0],
        ),
    ],
    ids=["slow", "close", "two", "unknown", "backends", "machines"],
)
def test_a_trial_that_is_slower_than_its_cell_was_disturbed(
    records: list[Record], flags: list[int]
) -> None:
    assert list(frame.disturbed(frame.frame(records))) == [bool(flag) for flag in flags]


def test_a_trial_that_was_unsteady_was_disturbed_whatever_its_cell() -> None:
    times = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0, 12.0]
    points = [
        {"epoch": n, "train_s": at, "loss": 1.0, "accuracy": 0.5, "exact_match": 0.0}
        for n, at in enumerate(times, start=1)
    ]
    records = [record(0, evaluations=points), record(1, disturbances=["told by version 4"])]
    assert list(frame.disturbed(frame.frame(records))) == [True, False]


def test_pieces_in_processes_are_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [reached(0, 1.0), missed(1, 2.0), record(2, status="failed", reason='a "b"\n{},ü')]
    for number, one in enumerate(records):
        line = one.to_json()
        (tmp_path / f"records-{number}.jsonl").write_text(f"{line}\n{line[:50]}\n")
    monkeypatch.setattr(parallel, "LARGE_BYTES", 0)
    monkeypatch.setattr(table, "PIECE", 2)
    found = frame.load(tmp_path)
    pd.testing.assert_frame_equal(found, frame.frame(records))
    *complaints, last = capsys.readouterr().err.splitlines()
    assert last == "left out: 3 damaged lines"
    assert [line.split(": ")[0] for line in complaints] == [
        f"{tmp_path / f'records-{number}.jsonl'}:2" for number in range(3)
    ]
    expected = rows(records)
    assert "".join(table.render(table.ordered(found), "json")) == json.dumps(expected, indent=2)
    one_line = pd.DataFrame(expected).replace({"reason": {"\n": r"\\n"}}, regex=True)
    whole = one_line.to_csv(index=False).rstrip("\n")
    assert "".join(table.render(table.ordered(found), "csv")) == whole


@pytest.mark.parametrize("form", ["json", "csv"])
def test_no_records_are_no_rows(form: str, tmp_path: Path) -> None:
    text = "".join(table.render(table.ordered(frame.load(tmp_path)), form))
    assert text == {"json": "[]", "csv": ",".join(FLAT_FIELDS)}[form]


def test_the_latest_stands_where_its_trial_was_first() -> None:
    records = [missed(0, 1.0), reached(1, 1.0), reached(0, 2.0)]
    rows = frame.latest(frame.frame(records)).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        rows[["seed", "time_to_target_s"]],
        frame.frame(latest(records))[["seed", "time_to_target_s"]],
    )


def test_a_seed_beyond_64_bits_breaks_nothing() -> None:
    assert [row["seed"] for row in rows([changed(record(0), seed=2**70), record(1)])] == [1, 2**70]


def test_divisions_are_sorted_out_as_records_are(plugins: Plugins) -> None:
    real = next(r for r in Store.read(RESULTS / "matrix") if r.division == "open")
    task = plugins.tasks[real.trial.task].value(**real.trial.parameters)
    parity = Parity(passed=False, reference="jax fit", tolerance=1e-5, largest_difference=1.0)

    def forged(seed: int, **changes: object) -> Record:
        trial = {"source": task.source_hash(), "seed": seed}
        return changed(real, division="closed", trial=trial, seed=seed, key=str(seed), **changes)

    records = [forged(0), real, forged(1, parity=parity), reached(2, 1.0)]
    expected, told = referee.sorted_out(records, plugins)
    found, why = sorted_out_frame(frame.frame(records), plugins)
    assert why == told
    assert len(why) == 2
    pd.testing.assert_frame_equal(found, frame.frame(expected))


def test_what_older_trials_lack_is_as_usual() -> None:
    newer = {"devices": 1, "replicates": 0, "cache": False}
    assert record(trial=newer).cell == record().cell
    assert record(trial={**newer, "devices": 2}).cell != record().cell


def test_rows_are_those_that_pandas_finds() -> None:
    flat = frame.load(RESULTS / "matrix")
    found = only(flat, {"task": ["partial"], "backend": ["jax", "torch"], "seed": ["0", "2"]})
    expected = flat.query("task == 'partial' and backend in ['jax', 'torch'] and seed in [0, 2]")
    pd.testing.assert_frame_equal(found, expected)
    assert 0 < len(found) < len(flat)
    pd.testing.assert_frame_equal(only(flat, {"task": []}), flat)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"task": ["parital"]}, "--task: no record of 'parital'; did you mean 'partial'?"),
        ({"status": ["lost"]}, "--status: no record of 'lost'; there are reached, timeout"),
        ({"seed": ["77"]}, "--seed: no record of '77'; there are 0, 1, 2"),
    ],
)
def test_what_is_not_there_is_one_line(wanted: dict[str, list[str]], expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        only(frame.load(RESULTS / "matrix"), wanted)
    assert str(raised.value) == expected


def test_many_are_not_listed_and_no_escape_gets_through() -> None:
    seeds = frame.frame([record(seed) for seed in range(30)])
    with pytest.raises(UsageError, match=r"there are 30 from 0 to 29$"):
        only(seeds, {"seed": ["seven"]})
    with pytest.raises(UsageError, match=r"there are \\x1b\[2J$"):
        only(frame.frame([record(task="\x1b[2J")]), {"task": ["quite another"]})


def test_a_trial_that_failed_early_stands_in_the_row_of_the_others(tmp_path: Path) -> None:
    machine = {"cpu": "x", "cores": 2}
    ran = {"machine": machine, "path": {"compiler": "XLA"}}
    lines = [
        record(0, provenance=ran, key="0"),
        record(1, provenance={"machine": machine}, status="failed", reason="x", key="1"),
    ]
    for number, line in enumerate(lines):
        name = f"records-2026010{number + 1}T000000Z-000000.jsonl"
        (tmp_path / name).write_text(f"{line.to_json()}\n")
    for flat in (frame.load(tmp_path), frame.frame(lines)):
        assert flat.cell.nunique() == 1
        assert {*flat.cell} == {lines[0].cell}
