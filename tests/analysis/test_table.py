"""Tables: nothing disappears, nothing is made up."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from echobench.analysis import table
from echobench.present import table as present
from echobench.trial.record import Parity, Record
from tests.records import changed, missed, reached, record, rows

FIRST_FIELDS = """
task backend engine division device seed status reason time_to_target_s last_miss_s
updates_to_target epochs_to_target seconds_per_update sequences_per_s accuracy exact_match
certified_sequences error_bound accuracy_at_tutorial_epochs import_s build_s compile_s
first_update_s train_s eval_s wall_s peak_memory_bytes limit_fraction started_at
""".split()  # noqa: SIM905 # as the documentation has them


def printed(records: list[Record], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(present.terminal(table.grouped(records), width))
    return console.export_text()


def test_json_has_the_documented_fields_in_order() -> None:
    (row,) = json.loads("".join(present.render(present.ordered([reached(0, 1.5)]), "json")))
    assert list(row) == FIRST_FIELDS
    assert row["time_to_target_s"] == 1.5
    assert row["peak_memory_bytes"] is None


def test_csv_has_a_line_a_trial_and_empty_for_not_measured() -> None:
    text = "".join(present.render(present.ordered([reached(1, 2.0), missed(0, 1.0)]), "csv"))
    first, second = csv.DictReader(io.StringIO(text))
    assert list(first) == FIRST_FIELDS
    assert [first["seed"], second["seed"]] == ["0", "1"]
    assert first["time_to_target_s"] == ""
    assert second["time_to_target_s"] == "2.0"


def test_without_misses_the_median_is_the_samples() -> None:
    (line,) = table.summary([reached(seed, s) for seed, s in enumerate([1.0, 5.0, 2.0])])
    assert line["success"] == "3/3"
    assert line["time to target"].startswith("2 s [")


def test_a_miss_is_censored_and_moves_the_median() -> None:
    # Kaplan-Meier by hand: 4 at risk at 1 (3/4 left), one censored at 1.5,
    # 2 at risk at 2 (3/8 left): the median is 2.
    records = [reached(0, 1.0), missed(1, 1.5), reached(2, 2.0), reached(3, 4.0)]
    (line,) = table.summary(records)
    assert line["success"] == "3/4"
    assert line["time to target"].startswith("2 s [")


def test_where_most_miss_the_median_is_beyond_what_was_seen() -> None:
    records = [reached(0, 1.0), missed(1, 9.0), missed(2, 9.0), missed(3, 9.0)]
    (line,) = table.summary(records)
    assert line["success"] == "1/4"
    assert line["time to target"].startswith("> 1 s")
    assert line["note"] == "missed (3x)"


def test_a_cell_without_any_result_keeps_its_row_and_reason() -> None:
    (line,) = table.summary([record(0, status="unavailable", reason="torch not installed")])
    assert (line["success"], line["time to target"]) == ("0/0", "")
    assert line["note"] == "torch not installed"


def test_other_versions_make_rows_of_their_own() -> None:
    old = reached(0, 1.0)
    new = changed(old, key="new", trial={"versions": {"jax": "9"}})
    assert len(table.summary([old, new])) == 2


def test_a_cell_that_failed_the_parity_gate_keeps_no_figure() -> None:
    parity = Parity(
        passed=False, reference="jax fit", updates=20, tolerance=1e-5, largest_difference=0.002
    )
    bad = changed(reached(0, 1.0), parity=parity)
    (row,) = rows([bad])
    assert row["status"] == "failed"
    assert row["time_to_target_s"] is None
    assert "parity gate: first losses differ from jax fit by 2.0e-03" in row["reason"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_stay_whole_and_what_does_not_fit_is_named(width: int) -> None:
    records = [
        changed(
            reached(seed, 1.0 + seed),
            accuracy=1.0,
            wall_s=2.0,
            compile_s=1.0,
            seconds_per_update=1e-3,
        )
        for seed in range(3)
    ]
    text = printed(records, width)
    assert max(map(len, text.splitlines())) <= width
    assert "partial" in text
    assert "closed" in text
    for column in ("accuracy", "wall", "compile"):
        assert column in text
