"""Rows that look alike: which is which, which is newer, and in what they differ."""

from __future__ import annotations

from typing import Any

import pytest

from echobench.analysis import table
from echobench.analysis.twins import alike
from echobench.present.sentences import verdicts
from echobench.present.table import FIRST_RUN, lines
from echobench.trial.record import Record
from tests.analysis.test_flat import SETTINGS
from tests.records import changed, record

OLD, NEW = "521f" + 8 * "0", "55c2" + 8 * "0"


def ran(seed: int, at: str, **trial: Any) -> Record:
    began = f"2026-11-{at}:07.250+00:00"
    return record(seed, trial={"task_source": OLD, **trial}, key=f"{at}{seed}", started_at=began)


def first_runs(*records: Record) -> list[str]:
    return [line.get(FIRST_RUN, "") for line in lines(table.grouped(records))]


def test_of_rows_that_an_edit_made_it_is_said_which_is_newer_and_why() -> None:
    old = [ran(0, "28T20:01"), ran(1, "28T20:02")]
    new = [ran(0, "28T21:28", task_source=NEW), ran(1, "28T21:30", task_source=NEW)]
    assert first_runs(*new, *old) == ["28 Nov 20:01", "28 Nov 21:28"]
    assert alike([*new, *old]) == [
        "partial jax fused closed: 2 rows, since the task's source files changed "
        "(521f… until 28 Nov 21:28 UTC, then 55c2…)"
    ]
    both = ran(2, "28T22:00", task_source=NEW, backend_source="b")
    (line,) = alike([*old, *new, both])
    assert line == (
        "partial jax fused closed: 3 rows, since the task's source files changed "
        "(521f… until 28 Nov 21:28 UTC, then 55c2…) and the backend's source files changed "
        "(not set until 28 Nov 22:00 UTC, then b)"
    )


def test_rows_that_were_run_in_turns_are_numbered_by_their_first_run() -> None:
    short, long = {"max_epochs": 5}, {"max_epochs": 50}
    records = [
        ran(0, "28T20:01", **short), ran(0, "28T20:02", **long),
        ran(1, "28T20:03", **short), ran(1, "28T20:04", **long),
    ]  # fmt: skip # a line a seed
    assert first_runs(*records) == ["28 Nov 20:01", "28 Nov 20:02"]
    (line,) = alike(records)
    assert line.endswith("2 rows, of different epochs allowed (--max-epochs) (5, 50)")
    same_time = [ran(0, "28T20:01", **trial) for trial in (short, long)]
    assert first_runs(*same_time) == ["1 of 2", "2 of 2"]
    unknown = [changed(one, started_at="yesterday") for one in records]
    assert first_runs(*unknown) == ["1 of 2", "2 of 2"]
    seconds = [changed(record(0, trial=t), started_at=f"2026-11-28T20:01:0{n}+00:00")
               for n, t in enumerate((short, long))]  # fmt: skip # short enough
    assert first_runs(*seconds) == ["28 Nov 2026 20:01:00", "28 Nov 2026 20:01:01"]


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_of_any_two_cells_are_told_apart(name: str) -> None:
    records = [record(0), record(0, trial={name: SETTINGS[name]}, key="other")]
    # As read: what a table prints of each row's names and conditions, without figures.
    figures = {*table.COLUMNS, "note", "success"}
    told = [
        {n: text for n, text in line.items() if n not in figures and n != "units"}
        for line in lines(table.grouped(records))
    ]
    assert len(told) == 2
    assert told[0] != told[1]


def test_rows_that_a_column_tells_apart_need_no_note() -> None:
    for trial in ({"threads": 7}, {"environment": {"TZ": "UTC"}}, {"smt": True}, {"bound": 0.01}):
        assert alike([record(0), record(0, trial=trial)]) == []
    long = [{"XLA_FLAGS": f"--first=1234 {middle * 9} --last=12345"} for middle in "ab"]
    (line,) = alike([record(0, trial={"environment": given}) for given in long])
    assert "2 rows, of different variable XLA_FLAGS (--first=1234 aaaaa" in line


def test_a_trial_that_failed_early_is_no_row_of_its_own() -> None:
    slow = [record(1, provenance={"path": {"compiler": "none"}})]
    fast = [record(2, provenance={"path": {"compiler": "inductor"}})]
    (line,) = alike([*slow, *fast])
    assert line.endswith("2 rows, of different compiler (inductor, none)")
    failed = record(3, status="failed", reason="x")
    assert alike([failed, *fast]) == []  # it stands in the row of the others


def test_a_sentence_names_a_row_by_its_first_run() -> None:
    rows = [
        changed(ran(seed, f"28T{hour}:0{seed}", task_source=source), seconds_per_update=pace)
        for hour, source, pace in ((20, OLD, 1.0), (21, NEW, 2.0))
        for seed in range(7)
    ]
    (sentence, *_) = verdicts(table.grouped([changed(r, status="missed") for r in rows]))
    assert "jax (28 Nov 20:00) made an update" in sentence
    assert "faster than jax (28 Nov 21:00)" in sentence
