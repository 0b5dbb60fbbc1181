"""`echobench compare` and `validate` on real records, as a user and a CI job run them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Command

RESULTS = Path(__file__).parents[2] / "results"
MATRIX = ("--results", str(RESULTS / "matrix"))


def test_two_engines_of_the_matrix(echobench: Command) -> None:
    done = echobench("compare", "engine=fused", "engine=fit", *MATRIX, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = {(r["task"], r["cell"], r["metric"]): r for r in json.loads(done.stdout)}
    row = rows["whole", "torch closed", "seconds_per_update"]
    assert row["ratio"] > 10
    assert (row["pairs"], row["low"]) == (3, None)
    missed = rows["partial", "torch closed", "time_to_target_s"]
    assert (missed["bounded"], missed["silent"]) == (3, 0)
    assert missed["verdict"].startswith("not shown, by the median A at least ")


def test_a_cell_against_itself_shows_no_difference(echobench: Command) -> None:
    sides = (f"{RESULTS / 'repeats'}[repeat=0]", f"{RESULTS / 'repeats'}[repeat=1]")
    done = echobench("compare", *sides, "--format", "json", "--fail-if", "seconds_per_update>+2%")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["metric"] for row in rows} >= {"time_to_target_s", "seconds_per_update"}
    assert min(row["pairs"] for row in rows) >= 6
    assert all(row["verdict"].startswith("no difference ") for row in rows)


def test_a_regression_is_exit_code_3(echobench: Command, tmp_path: Path) -> None:
    (source,) = (RESULTS / "repeats").glob("records-*.jsonl")
    slower = []
    for line in source.read_text().splitlines():
        record = json.loads(line)
        record["seconds_per_update"] *= 1.5
        slower.append(json.dumps(record))
    (tmp_path / "slower.jsonl").write_text("\n".join(slower))
    sides = (str(source), "slower.jsonl")
    done = echobench("compare", *sides, "--fail-if", "seconds_per_update>+10%")
    assert done.returncode == 3, done.stderr
    assert "regression: partial" in done.stderr
    assert "A 1.5x faster [1.5, 1.5]" in done.stdout
    assert echobench("compare", *sides, "--fail-if", "seconds_per_update>+60%").returncode == 0


def test_a_limit_that_cannot_be_decided_is_told(echobench: Command) -> None:
    limit = ("--metric", "seconds_per_update", "--fail-if", "seconds_per_update>+1%")
    done = echobench("compare", "engine=fused", "engine=fit", *MATRIX, *limit)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "--fail-if cannot decide" in line]
    assert any("whole torch closed seconds_per_update: 3 pairs, too few" in one for one in told)


def test_bad_sides_are_one_line_and_exit_code_2(echobench: Command) -> None:
    for arguments in (
        ("compare", "colour=red", "engine=fit", *MATRIX),
        ("compare", "absent", "engine=fit", *MATRIX),
        ("compare", "engine=fused", "backend=none", *MATRIX),
        ("compare", "engine=fused", "engine=fit", *MATRIX, "--metric", "speed"),
        ("compare", "engine=fused", "engine=fit", *MATRIX, "--fail-if", "fast"),
        ("validate", "absent"),
    ):
        done = echobench(*arguments)
        assert done.returncode == 2, arguments
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_the_referee_on_files(echobench: Command, tmp_path: Path) -> None:
    done = echobench("validate", str(RESULTS / "matrix"))
    assert done.returncode == 0, done.stdout
    assert "72 records, 0 errors" in done.stderr
    (source,) = (RESULTS / "matrix").glob("records-*.jsonl")
    record = json.loads(source.read_text().splitlines()[0])
    (tmp_path / "forged.jsonl").write_text(json.dumps({**record, "wall_s": 0.001}))
    done = echobench("validate", "forged.jsonl", "--json")
    assert done.returncode == 1
    assert "ledger" in {finding["about"] for finding in json.loads(done.stdout)}


def test_the_clock_of_the_table(echobench: Command) -> None:
    tables = [
        echobench("table", *MATRIX, "--clock", clock, "--format", "md").stdout
        for clock in ("train", "compile", "wall")
    ]
    assert len(set(tables)) == 3
