"""Who is ranked where: made-up times, and the committed records against the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echobench.analysis.leaderboard import LeaderboardRow, Standing, board, ranked, row_of
from echobench.analysis.statistics import Estimate
from echobench.plugin.manager import Plugins
from echobench.present.terminal import MARK
from echobench.trial.record import Record
from echobench.trial.trial import FIRST_TUNING_SEED, QUICK_MEASURE, trial_key
from tests.conftest import Command
from tests.records import (
    EARLIER,
    RESULTS,
    by_new_rule,
    changed,
    failed,
    missed,
    reached,
    real,
    run_again,
)


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
    assert by_name["few"] == "tied: 3 pairs, too few for an interval, which takes 6"
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
    assert len(standings) == len(shown) == 10
    for task, one in standings:
        cells = shown[task, one.row.backend]
        assert f"{one.row.reached}/{len(one.row.records)}" in cells
        median = f"{one.row.target.value:.3g} s ["
        assert any(cell.removeprefix(MARK).startswith(median) for cell in cells)


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "records-x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_machines_stand_apart_and_what_does_not_count_is_told(
    plugins: Plugins, tmp_path: Path
) -> None:
    told = real(plugins)
    later, theirs, forged = (run_again(told, plugins, 0, slower) for slower in (2.0, 3.0, 4.0))
    later["started_at"] = "2026-11-27T00:00:00.000+00:00"
    theirs["provenance"]["machine"] = {"cpu": "another", "cores": 64}
    forged.update(time_to_target_s=told["time_to_target_s"] / 10)
    forged["started_at"] = "2026-11-28T00:00:00.000+00:00"
    path = written(tmp_path, told, later, theirs, forged)
    made = board([path], plugins)
    assert made.records == 4
    assert {finding.where for finding in made.refused} == {f"{path}:4"}
    assert len({where[1] for where in made.fields}) == 2
    assert [len(one.row.records) for found in made.fields.values() for one in found] == [1, 1]
    assert made.left_out == {"run again later": 1}
    kept = [json.loads(line) for line in made.lines.values()]
    assert {line["started_at"] for line in kept} == {later["started_at"], told["started_at"]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quick": True, "sustain": 0, "certify": QUICK_MEASURE}, "smoke runs"),
        ({"seed": FIRST_TUNING_SEED, "sustain": 0}, "seeds that a search used"),
        ({"cache": True}, "compiled programs kept"),
    ],
)
def test_what_was_not_measured_to_be_ranked_is_left_out(
    changes: dict[str, Any], reason: str, plugins: Plugins, tmp_path: Path
) -> None:
    path = written(tmp_path, failed(real(plugins), **changes))
    made = board([path], plugins)
    assert (made.refused, made.fields, made.left_out) == ([], {}, {reason: 1})


def test_what_the_gate_did_not_compare_is_left_out(plugins: Plugins, tmp_path: Path) -> None:
    rehearsed, unrehearsed, unchecked = (by_new_rule(record) for record in contest()[:3])
    rehearsed["parity"]["squeezed"] = 1e-7
    unchecked["parity"] = {"passed": None}
    made = board([written(tmp_path, rehearsed, unrehearsed, unchecked)], plugins)
    assert made.refused == []
    assert made.left_out == {
        "not compared with a reference": 1,
        "their warm-up, decay and clipping not compared with the reference's": 1,
    }
    assert len(made.lines) == 1


def contest() -> list[dict[str, Any]]:
    """Return trials of the open `partial`, ten seeds on four backends."""
    (file,) = (EARLIER / "open").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return [record for record in records if record["task"] == "partial"]


def test_the_best_six_of_ten_seeds_are_not_ranked(plugins: Plugins, tmp_path: Path) -> None:
    def standings(*chosen: dict[str, Any]) -> dict[str, Standing]:
        made = board([written(tmp_path, *chosen)], plugins)
        (found,) = made.fields.values()
        return {one.row.backend: one for one in found}

    records = contest()
    whole = standings(*records)
    own = [record for record in records if record["backend"] == "flax"]
    best = sorted(own, key=lambda record: record["time_to_target_s"] or 1e9)[:6]
    others = [record for record in records if record["backend"] != "flax"]
    made = standings(*others, *best)
    assert (made["flax"].rank, made["flax"].words) == (
        None,
        "not ranked: 6 of 10 declared seeds",
    )
    assert made["flax"].against is not None  # its ratio is told all the same
    alone = standings(*others)
    assert {name: one.rank for name, one in made.items() if name != "flax"} == {
        name: one.rank for name, one in alone.items()
    }  # it outranks nobody
    assert whole["flax"].rank == 3  # by its best six it would tie for the first


def test_a_crash_is_a_trial_that_never_arrives(plugins: Plugins, tmp_path: Path) -> None:
    def row(*reasons: str) -> tuple[LeaderboardRow, dict[str, int]]:
        own = [record for record in contest() if record["backend"] == "jax"]
        own.sort(key=lambda record: record["seed"])
        crashes = [failed(one) | {"reason": why} for one, why in zip(own, reasons, strict=False)]
        made = board([written(tmp_path, *crashes, *own[len(reasons) :])], plugins)
        assert made.refused == []
        ((standing,),) = made.fields.values()
        return standing.row, dict(made.left_out)

    whole, _ = row()
    two, left_out = row("worker died by SIGSEGV", "TrainingError: no")
    assert (two.reached, len(two.records), two.target.n, left_out) == (8, 10, 10, {})
    assert (two.target.value or 0.0) > (whole.target.value or 9.0)
    six, _ = row(*["worker died by SIGSEGV"] * 6)
    assert (six.reached, six.target.value, six.target.n) == (4, None, 10)
    lost, left_out = row("lost 4 times with its machine: gone")
    assert left_out == {"not possible there, or stopped from outside": 1}
    assert str(lost.missing) == "9 of 10 declared seeds; no record of seed 0"


def test_rows_by_the_old_rule_stand_apart_and_doubts_are_told(
    plugins: Plugins, tmp_path: Path
) -> None:
    told = real(plugins)
    strict = by_new_rule(run_again(told, plugins, 0, 2.0))
    strict["clock_share"] = None
    made = board([written(tmp_path, told, strict)], plugins)
    assert made.refused == []
    notes = {
        where.certificate: [one.row.notes for one in found] for where, found in made.fields.items()
    }
    assert notes == {
        "certified by the old rule": [["certified by the old rule"]],
        "fewer than 3 in 1,000 wrong": [["its clock was not compared with a control"]],
    }


def test_rows_of_other_variables_stand_apart(plugins: Plugins, tmp_path: Path) -> None:
    told = by_new_rule(real(plugins))
    given = run_again(told, plugins, 0, 2.0)
    given["trial"]["environment"] = {"MALLOC_ARENA_MAX": "1"}
    given["key"] = trial_key(given["trial"])
    made = board([written(tmp_path, told, given)], plugins)
    assert made.refused == []
    assert {where.environment for where in made.fields} == {"", "MALLOC_ARENA_MAX=1"}


def test_an_estimate_that_is_none_bounds_nothing() -> None:
    assert ranked([times("one", 1.0)])[0].words == "alone"
    against = ranked([times("one", 1.0), row("two", [missed(5, 1.0)])])[1].against
    assert against is not None
    assert against.ratio == Estimate(None, None, None, 0)
