"""A record stands in the division that its recipe says, whatever it says itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echobench.plugin.manager import Plugins
from echobench.store.referee import sorted_out
from echobench.trial.record import Record
from tests import records
from tests.conftest import Command


@pytest.fixture(scope="module")
def real(plugins: Plugins) -> Record:
    return Record.from_dict(records.real(plugins))


def with_recipe(record: Record, **changes: object) -> Record:
    told = record.to_dict()
    told["trial"]["recipe"].update(changes)
    return Record.from_dict(told)


def test_a_closed_record_stays(real: Record, plugins: Plugins) -> None:
    assert sorted_out([real], plugins) == ([real], [])


def test_a_tuned_one_moves_to_open_and_what_differs_is_named(
    real: Record, plugins: Plugins
) -> None:
    forged = with_recipe(real, units=256, learning_rate=0.02)
    (moved,), (why,) = sorted_out([forged], plugins)
    assert (moved.division, moved.trial.division) == ("open", "open")
    assert "recorded as closed, counts as open: units=256 instead of" in why
    assert "learning_rate=0.02 instead of 0.001" in why
    (unreadable,), (why,) = sorted_out([with_recipe(real, units=0)], plugins)
    assert unreadable.division == "open"
    assert "its recipe is none" in why


def test_what_is_not_installed_here_is_taken_at_its_word(real: Record, plugins: Plugins) -> None:
    forged = with_recipe(real, units=256)
    elsewhere = records.changed(forged, trial={"source": "0" * 12})
    assert sorted_out([elsewhere], plugins) == ([elsewhere], [])


def test_the_table_shows_it_where_it_belongs(
    real: Record, echobench: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    forged = with_recipe(real, units=256)
    (folder / "records-x.jsonl").write_text(forged.to_json() + "\n")
    done = echobench("table", "--results", "elsewhere", "--format", "json")
    assert [row["division"] for row in json.loads(done.stdout)] == ["open"]
    assert "counts as open: units=256" in echobench("table", "--results", "elsewhere").stdout
