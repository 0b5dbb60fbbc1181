"""A verb that judges, and has nothing to judge, does not say that all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.records import RESULTS


@pytest.mark.parametrize(
    "verb",
    [
        ("validate",),
        ("validate", "--repair"),
        ("audit",),
        ("leaderboard",),
        ("merge", "--into", "a"),
    ],
)
@pytest.mark.parametrize("files", [[], ["records-1.jsonl"]], ids=["no file", "an empty file"])
def test_no_records_are_wrong_usage(
    verb: tuple[str, ...], files: list[str], echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    for name in files:
        (tmp_path / "here" / name).write_text("\n")
    done = echobench(verb[0], "here", *verb[1:])
    assert done.returncode == 2, done.stderr
    assert "no record" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_site_without_a_row_and_an_audit_of_no_trial_fail(
    echobench: Command, tmp_path: Path
) -> None:
    (file,) = (RESULTS / "repeats").glob("records-*.jsonl")
    told = json.loads(file.read_text().splitlines()[0])
    gone = {**told, "task": "gone", "trial": {**told["trial"], "task": "gone", "label": "gone"}}
    (tmp_path / "records-1.jsonl").write_text(json.dumps(gone))
    done = echobench("audit", "records-1.jsonl")
    assert done.returncode == 1, done.stdout
    assert "nothing was audited" in done.stderr
    (tmp_path / "records-1.jsonl").write_text(json.dumps({**told, "wall_s": 0.001}))
    done = echobench("leaderboard", "records-1.jsonl")
    assert done.returncode == 1, done.stdout
    assert "0 rows of 1 record, 1 refused" in done.stderr
    assert "wall_s" in (tmp_path / "site" / "refused.html").read_text()
