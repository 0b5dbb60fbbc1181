"""Who is ranked where: made-up times, and the committed records against the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echobench.analysis.leaderboard import LeaderboardRow, board, ranked, row_of
from echobench.analysis.statistics import Estimate
from echobench.plugin.manager import Plugins
from echobench.present.terminal import MARK
from echobench.trial.record import Record
from echobench.trial.trial import FIRST_TUNING_SEED
from tests.conftest import Command
from tests.records import RESULTS, changed, missed, reached, real


def row(name: str, records: list[Record]) -> LeaderboardRow:
    records = [changed(one, backend=name) for one in records]
    return row_of(records, records[0].cell)


def times(name: str, *seconds: float) -> LeaderboardRow:
    return row(name, [reached(seed, value) for seed, value in enumerate(seconds)])


def test_a_rank_counts_those_that_are_shown_to_be_faster() -> None:
    fast = times("fast", *(1.0 + seed / 100 for seed in range(8)))
    like = times("like", *(1.0 + seed / 100 + (-1) ** seed * 0.01 for seed in range(8)))
    slow = times("slow", *(2.0 + seed / 100 for seed in range(8)))
    few = times("few", 9.0, 9.0, 9.0)
    never = row("never", [missed(seed, 0.5) for seed in range(8)])
    found = ranked([never, slow, few, like, fast])
    assert [(one.row.backend, one.rank) for one in found] == [
        ("fast", 1),
        ("like", 1),
        ("few", 1),  # three pairs show nothing
        ("slow", 3),
        ("never", None),
    ]
    by_name = {one.row.backend: one.words for one in found}
    assert by_name["fast"] == "lowest median"
    assert by_name["like"].startswith("tied: ")
    assert by_name["few"] == "tied: 3 of 6 pairs that an interval needs"
    assert by_name["slow"].startswith("1.9")
    assert by_name["never"] == "not ranked"


def test_the_committed_records_stand_as_the_table_has_them(
    plugins: Plugins, echobench: Command
) -> None:
    files = sorted((RESULTS / "open").glob("*.jsonl"))
    made = board(files, plugins)
    table = echobench("table", "--results", str(RESULTS / "open"), "--format", "md").stdout
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    shown = {(cells[0], cells[1]): cells for cells in lines[2:]}
    assert made.refused == []
    standings = [(where[2], one) for where, found in made.fields.items() for one in found]
    assert len(standings) == len(shown) == 8
    for task, one in standings:
        cells = shown[task, one.row.backend]
        assert f"{one.row.reached}/{len(one.row.records)}" in cells
        median = f"{one.row.target.value:.3g} s ["
        assert any(cell.removeprefix(MARK).startswith(median) for cell in cells)


def copies(told: dict[str, Any], folder: Path, **machines: dict[str, Any]) -> Path:
    path = folder / "records-x.jsonl"
    with path.open("w") as file:
        for changes in machines.values():
            provenance = {**told["provenance"], **changes.pop("provenance", {})}
            file.write(json.dumps({**told, **changes, "provenance": provenance}) + "\n")
    return path


def test_machines_stand_apart_and_what_does_not_count_is_told(
    plugins: Plugins, tmp_path: Path
) -> None:
    told = real(plugins)
    path = copies(
        told,
        tmp_path,
        ours={},
        later={"started_at": "2030-01-01T00:00:00.000+00:00"},
        theirs={"provenance": {"machine": {"cpu": "another", "cores": 64}}},
        forged={"time_to_target_s": told["time_to_target_s"] / 10, "started_at": "2031"},
    )
    made = board([path], plugins)
    assert made.records == 4
    assert {finding.where for finding in made.refused} == {f"{path}:4"}
    assert len({where[1] for where in made.fields}) == 2
    assert [len(one.row.records) for found in made.fields.values() for one in found] == [1, 1]
    assert made.left_out == {"run again later": 1}
    kept = [json.loads(line) for line in made.lines.values()]
    assert {line["started_at"] for line in kept} == {
        "2030-01-01T00:00:00.000+00:00",
        told["started_at"],
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quick": True}, "smoke runs"),
        ({"seed": FIRST_TUNING_SEED}, "seeds that a search used"),
        ({"cache": True}, "compiled programs kept"),
    ],
)
def test_what_was_not_measured_to_be_ranked_is_left_out(
    changes: dict[str, Any], reason: str, plugins: Plugins, tmp_path: Path
) -> None:
    from echobench.trial.trial import trial_key

    told = real(plugins)
    trial = {**told["trial"], **changes}
    seed = {"seed": changes["seed"]} if "seed" in changes else {}
    path = copies(told, tmp_path, one={"trial": trial, "key": trial_key(trial), **seed})
    made = board([path], plugins)
    assert (made.refused, made.fields, made.left_out) == ([], {}, {reason: 1})


def test_an_estimate_that_is_none_bounds_nothing() -> None:
    assert ranked([times("one", 1.0)])[0].words == "alone"
    against = ranked([times("one", 1.0), row("two", [missed(5, 1.0)])])[1].against
    assert against is not None
    assert against.ratio == Estimate(None, None, None, 0)
