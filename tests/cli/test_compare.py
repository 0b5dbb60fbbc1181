"""`echobench compare` and `validate` on real records, as a user and a CI job run them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Command

RESULTS = Path(__file__).parents[2] / "results"
MATRIX = ("--results", str(RESULTS / "matrix"))


def test_two_engines_of_the_matrix(forked: Command) -> None:
    done = forked("compare", "engine=fused", "engine=fit", *MATRIX, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = {(r["task"], r["cell"], r["metric"]): r for r in json.loads(done.stdout)}
    row = rows["whole", "torch closed", "seconds_per_update"]
    assert row["ratio"] > 10
    assert (row["pairs"], row["low"]) == (3, None)
    missed = rows["partial", "torch closed", "time_to_target_s"]
    assert (missed["bounded"], missed["silent"]) == (3, 0)
    assert missed["verdict"].startswith("too few pairs to say; median ratio at least ")


def test_a_peer_and_a_backend_of_keras_are_compared_each_by_its_engine(forked: Command) -> None:
    done = forked("compare", "backend=jax", "backend=flax", "--results", f"{RESULTS / 'open'}")
    assert done.returncode == 0, done.stderr
    assert "careful: jax fused against flax native: the sides have no engine" in done.stderr
    assert "all tasks" in done.stdout
    assert "an interval takes" not in done.stdout


def test_a_cell_against_itself_shows_no_difference(forked: Command) -> None:
    sides = (f"{RESULTS / 'repeats'}[repeat=0]", f"{RESULTS / 'repeats'}[repeat=1]")
    done = forked("compare", *sides, "--format", "json", "--fail-if", "seconds_per_update>+2%")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["metric"] for row in rows} >= {"time_to_target_s", "seconds_per_update"}
    assert min(row["pairs"] for row in rows) >= 6
    assert all(row["verdict"].startswith("no difference ") for row in rows)


def test_a_regression_is_exit_code_3(forked: Command, tmp_path: Path) -> None:
    (source,) = (RESULTS / "repeats").glob("records-*.jsonl")
    slower = []
    for line in source.read_text().splitlines():
        record = json.loads(line)
        record["seconds_per_update"] *= 1.5
        slower.append(json.dumps(record))
    (tmp_path / "slower.jsonl").write_text("\n".join(slower))
    sides = (str(source), "slower.jsonl")
    done = forked("compare", *sides, "--fail-if", "seconds_per_update>+10%")
    assert done.returncode == 3, done.stderr
    assert "regression: partial" in done.stderr
    assert "A 1.5x faster [1.5, 1.5]" in done.stdout
    assert forked("compare", *sides, "--fail-if", "seconds_per_update>+60%").returncode == 0


def test_a_limit_that_cannot_be_decided_is_exit_code_4(forked: Command) -> None:
    limit = ("--metric", "seconds_per_update", "--fail-if", "seconds_per_update>+1%")
    sides = ("engine=fused", "engine=fit", *MATRIX)
    done = forked("compare", *sides, *limit)
    assert done.returncode == 4, done.stderr
    undecided = [line for line in done.stderr.splitlines() if line.startswith("undecided: ")]
    assert (
        done.stdout.count("an interval takes 6 pairs of trials; one of times takes 5 processes")
        == 1
    )
    assert "each is a 95% interval" not in done.stdout
    assert len(undecided) == 12  # two tasks, three backends, two divisions: three seeds each
    why = "whole torch closed seconds_per_update: 3 pairs, too few for an interval, which takes 6"
    assert f"undecided: {why}" in undecided
    done = forked("compare", *sides, *limit, "--allow-undecided")
    assert (done.returncode, f"undecided: {why}" in done.stderr.splitlines()) == (0, True)


OLD = str(RESULTS / "repeats") + "[repeat=0]"


def altered(path: Path, **changes: object) -> None:
    """Write the first repeats of `results/repeats`, with other fields in those of `partial`."""
    (source,) = (RESULTS / "repeats").glob("records-*.jsonl")
    records = [json.loads(line) for line in source.read_text().splitlines()]
    kept = [
        {
            **record,
            "started_at": "2026-11-30T00:00:00.000+00:00",
            **(changes if record["task"] == "partial" else {}),
        }
        for record in records
        if record["trial"].get("repeat", 0) == 0
    ]
    path.write_text("\n".join(map(json.dumps, kept)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "failed", "reason": "SIGSEGV", "seconds_per_update": None},
         "0 pairs, too few for an interval, which takes 6; B: 8 failed (SIGSEGV)"),
        ({"seconds_per_update": None},
         "0 pairs, too few for an interval, which takes 6; B: 8 reached"),
        ({"backend": "flax"}, "B has no trial of it"),
    ],
    ids=["all failed", "not measured", "not there"],
)  # fmt: skip # one line a case reads better
def test_a_side_that_shows_nothing_is_no_pass(
    changes: dict[str, object], why: str, forked: Command, tmp_path: Path
) -> None:
    altered(tmp_path / "new.jsonl", **changes)
    limit = ("--fail-if", "seconds_per_update>+50%")
    done = forked("compare", OLD, "new.jsonl", *limit)
    assert done.returncode == 4, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("undecided: ")]
    assert told == [f"undecided: partial jax fused open seconds_per_update: {why}"]
    # A regression elsewhere comes first.
    text = (tmp_path / "new.jsonl").read_text().splitlines()
    slower = [json.loads(line) for line in text]
    for record in slower:
        if record["task"] == "whole":
            record["seconds_per_update"] *= 2
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, slower)))
    done = forked("compare", OLD, "new.jsonl", *limit, "--allow-undecided")
    assert done.returncode == 3, done.stderr
    assert told[0] in done.stderr.splitlines()


def test_sides_without_a_pair_are_undecided_only_where_there_is_a_limit(
    forked: Command, tmp_path: Path
) -> None:
    (source,) = (RESULTS / "repeats").glob("records-*.jsonl")
    other = json.loads(source.read_text().splitlines()[0])
    other["provenance"]["machine"] = {**other["provenance"]["machine"], "cpu": "another"}
    (tmp_path / "new.jsonl").write_text(json.dumps(other))
    assert forked("compare", OLD, "new.jsonl").returncode == 2
    done = forked("compare", OLD, "new.jsonl", "--fail-if", "wall_s>+10%")
    assert done.returncode == 4, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("undecided: ")]
    assert len(told) == 2  # two tasks
    assert any("wall_s: B has no trial of it; B ran it on another, " in line for line in told)
    assert any(line.startswith("careful: only B has ") for line in done.stderr.splitlines())


def test_no_trial_is_compared_with_itself(forked: Command) -> None:
    limit = ("--fail-if", "seconds_per_update>+10%")
    for more in ((), limit):
        done = forked("compare", OLD, OLD, *more)
        assert done.returncode == 2, done.stderr
        assert "no trial is compared with itself" in done.stderr
    done = forked("compare", "engine=fused", MATRIX[1], *MATRIX, *limit)
    lines = [line for line in done.stderr.splitlines() if line.startswith("careful: ")]
    assert any("are A's too: none is compared with itself" in line for line in lines)
    assert "careful: B says no engine: its fit is compared" in lines


def test_a_limit_says_which_command_compares_sides_without_pairs(forked: Command) -> None:
    where = ("--results", str(RESULTS / "open"))
    hint = "to compare these: echobench compare "
    done = forked("compare", "engine=fused", "engine=native", *where)
    assert hint in done.stderr, done.stderr
    limited = forked("compare", "engine=fused", "engine=native", *where, "--fail-if", "wall_s>+10%")
    assert limited.returncode == 4
    assert hint in limited.stderr


def test_bad_sides_are_one_line_and_exit_code_2(forked: Command) -> None:
    for arguments in (
        ("compare", "colour=red", "engine=fit", *MATRIX),
        ("compare", "absent", "engine=fit", *MATRIX),
        ("compare", "engine=fused", "backend=none", *MATRIX),
        ("compare", "engine=fused", "engine=fit", *MATRIX, "--metric", "speed"),
        ("compare", "engine=fused", "engine=fit", *MATRIX, "--fail-if", "fast"),
        ("compare", "engine=fused", "engine=fit", *MATRIX, "--allow-undecided"),
        ("validate", "absent"),
    ):
        done = forked(*arguments)
        assert done.returncode == 2, arguments
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_the_referee_on_files(forked: Command, tmp_path: Path) -> None:
    done = forked("validate", str(RESULTS / "matrix"))
    assert done.returncode == 0, done.stdout
    assert "72 records, 0 errors" in done.stderr
    (source,) = (RESULTS / "matrix").glob("records-*.jsonl")
    record = json.loads(source.read_text().splitlines()[0])
    (tmp_path / "forged.jsonl").write_text(json.dumps({**record, "wall_s": 0.001}))
    done = forked("validate", "forged.jsonl", "--json")
    assert done.returncode == 1
    assert re.search(
        r"^1 record, (1 error|\d+ errors), (1 warning|\d+ warnings)$", done.stderr, re.M
    )
    assert "ledger" in {finding["about"] for finding in json.loads(done.stdout)}


def test_the_clock_of_the_table(forked: Command) -> None:
    tables = [
        forked("table", *MATRIX, "--clock", clock, "--format", "md").stdout
        for clock in ("train", "compile", "wall")
    ]
    assert len(set(tables)) == 3
