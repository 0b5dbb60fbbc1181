"""The referee: our own records pass, forged ones do not; a tuned record stands in open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echobench.plugin.manager import Plugins
from echobench.store.referee import Finding, sorted_out, validate
from echobench.trial.record import Record
from tests.conftest import Command
from tests.records import RESULTS, changed, real

Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(plugins: Plugins) -> Told:
    return real(plugins)


@pytest.fixture(scope="module")
def closed(told: Told) -> Record:
    return Record.from_dict(told)


def findings(folder: Path, plugins: Plugins, *records: Told) -> list[Finding]:
    path = folder / "records-x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found, count = validate([path], plugins)
    assert count == len(records)
    return found


def test_our_own_records_can_be_true(plugins: Plugins) -> None:
    found, count = validate(sorted(RESULTS.rglob("records-*.jsonl")), plugins)
    assert count > 150
    assert [finding for finding in found if finding.severity == "error"] == []


def test_a_real_record_passes(told: Told, plugins: Plugins, tmp_path: Path) -> None:
    assert findings(tmp_path, plugins, told) == []


def faster(record: Told) -> None:
    record["time_to_target_s"] /= 10


def all_faster(record: Told) -> None:
    faster(record)
    record["last_miss_s"] /= 10
    for point in record["evaluations"]:
        point["train_s"] /= 10


def tuned(record: Told) -> None:
    record["trial"]["recipe"]["learning_rate"] = 0.02


FORGERIES: list[tuple[Callable[[Told], None], str, str]] = [
    (lambda r: r.update(wall_s=r["wall_s"] / 2), "ledger", "add up to wall_s"),
    (lambda r: r.update(eval_s=None), "ledger", "some are empty"),
    (faster, "time_to_target_s", "expected last_miss_s <= it"),
    (all_faster, "time_to_target_s", "of updates_to_target x seconds_per_update"),
    (lambda r: r.update(accuracy=0.999), "accuracy", "expected accuracy and exact match 1"),
    (lambda r: r.update(certified_sequences=10), "certified_sequences", "expected 1000"),
    (lambda r: r.update(error_bound=1e-5), "error_bound", "expected 0.003"),
    (lambda r: r.update(sequences_per_s=1e9), "sequences_per_s", "received 1e+09"),
    (lambda r: r.update(epochs_to_target=7), "evaluations", "at epochs_to_target"),
    (lambda r: r["evaluations"].reverse(), "evaluations", "that rise"),
    (lambda r: r["evaluations"][0].update(epoch=1), "evaluations", "expected one each 100 epochs"),
    (lambda r: r.update(status="missed"), "error_bound", "expected empty in a trial that is"),
    (lambda r: r.update(accuracy_at_tutorial_epochs=1.5), "accuracy_at_tutorial_epochs", "0..1"),
    (lambda r: r.update(compile_s=-1.0), "compile_s", "expected 0 or more"),
    (lambda r: r["parity"].update(largest_difference=1.0), "parity", "passed is not what"),
    (lambda r: r.update(backend="torch"), "backend", "expected the trial's 'jax'"),
    (tuned, "key", "the digest of the trial"),
    (tuned, "division", "is open, not closed: learning_rate=0.02 instead of 0.001"),
    (lambda r: r["trial"].pop("versions"), "damaged", "missing required field `versions`"),
    (lambda r: r.update(colour="red"), "damaged", "unknown field `colour`"),
    (lambda r: r.pop("task"), "damaged", "missing required field `task`"),
    (lambda r: r.update(colour="red", schema_version=99), "newer", "by a newer echobench"),
]


@pytest.mark.parametrize(("forge", "about", "message"), FORGERIES)
def test_a_forged_record_is_found(
    forge: Callable[[Told], None],
    about: str,
    message: str,
    told: Told,
    plugins: Plugins,
    tmp_path: Path,
) -> None:
    forged = json.loads(json.dumps(told))
    forge(forged)
    found = [f for f in findings(tmp_path, plugins, forged) if f.severity == "error"]
    assert any(f.about == about and message in f.message for f in found), found
    assert all(f.where.endswith("records-x.jsonl:1") for f in found)


def test_duplicates_and_repeated_runs_are_visible(
    told: Told, plugins: Plugins, tmp_path: Path
) -> None:
    later = {**told, "started_at": "2030-01-01T00:00:00.000+00:00"}
    other = {**told, "log_tail": ["another"]}
    same, unlike, repeated = findings(tmp_path, plugins, told, told, other, later)
    assert (same.severity, same.about) == ("error", "duplicate")
    assert same.message.startswith("the same record as ")
    assert (unlike.severity, unlike.about) == ("error", "duplicate")
    assert unlike.message.startswith("the same trial, started at the same time, as ")
    assert (repeated.severity, repeated.about) == ("warning", "repeated")


def test_a_name_that_is_twice_in_an_object_is_found(
    told: Told, plugins: Plugins, tmp_path: Path
) -> None:
    path = tmp_path / "records-x.jsonl"
    path.write_text(json.dumps(told)[:-1] + ', "seed": 3, "seed": 0}\n')
    found, _ = validate([path], plugins)
    assert [(f.severity, f.about) for f in found] == [("error", "seed")]


def test_what_cannot_be_checked_is_a_warning(told: Told, plugins: Plugins, tmp_path: Path) -> None:
    def about(**changes: Any) -> set[tuple[Any, str]]:
        trial = {**told["trial"], **changes}
        found = findings(tmp_path, plugins, {**told, "trial": trial})
        return {(f.severity, f.about) for f in found} - {("error", "key")}

    assert about(task="elsewhere") == {("warning", "division")}
    assert about(source="0" * 12) == {("warning", "task source")}


def with_recipe(record: Record, **changes: object) -> Record:
    fields = record.to_dict()
    fields["trial"]["recipe"].update(changes)
    return Record.from_dict(fields)


def test_a_closed_record_stays(closed: Record, plugins: Plugins) -> None:
    assert sorted_out([closed], plugins) == ([closed], [])


def test_a_tuned_one_moves_to_open_and_what_differs_is_named(
    closed: Record, plugins: Plugins
) -> None:
    forged = with_recipe(closed, units=256, learning_rate=0.02)
    (moved,), (why,) = sorted_out([forged], plugins)
    assert (moved.division, moved.trial.division) == ("open", "open")
    assert "recorded as closed, counts as open: units=256 instead of" in why
    assert "learning_rate=0.02 instead of 0.001" in why
    (unreadable,), (why,) = sorted_out([with_recipe(closed, units=0)], plugins)
    assert unreadable.division == "open"
    assert "its recipe is none" in why


def test_what_is_not_installed_here_is_taken_at_its_word(closed: Record, plugins: Plugins) -> None:
    forged = with_recipe(closed, units=256)
    elsewhere = changed(forged, trial={"source": "0" * 12})
    assert sorted_out([elsewhere], plugins) == ([elsewhere], [])


def test_the_table_shows_it_where_it_belongs(
    closed: Record, echobench: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    forged = with_recipe(closed, units=256)
    (folder / "records-x.jsonl").write_text(forged.to_json() + "\n")
    done = echobench("table", "--results", "elsewhere", "--format", "json")
    assert [row["division"] for row in json.loads(done.stdout)] == ["open"]
    assert "counts as open: units=256" in echobench("table", "--results", "elsewhere").stdout
