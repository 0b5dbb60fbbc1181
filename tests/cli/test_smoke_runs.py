"""A folder that has smoke runs only: the table says so, and how to see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.flow import print_results
from tests.conftest import Command
from tests.records import record


def test_a_folder_with_smoke_runs_only_says_how_to_see_them(
    echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    done = echobench("table")
    assert done.stderr == "no records in results; make some with: echobench run\n"
    done = echobench("table", "--quick")
    assert done.stderr == "no smoke runs in results; make some with: echobench run --quick\n"
    folder = tmp_path / "results" / "quick"
    folder.mkdir()
    records = [record(seed, trial={"quick": True}) for seed in (0, 1, 1)]
    text = "".join(f"{one.to_json()}\n" for one in records)
    (folder / "records-20260101T000000Z-000000.jsonl").write_text(text)
    done = echobench("table")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "no records in results but 2 smoke runs; echobench table --quick shows them\n"
    )
    assert "2/2" in echobench("table", "--quick").stdout


def test_the_table_of_a_run_explains_its_mark(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"time_to_target_s": 1.0, "first_update_s": 0.0, "train_s": 1.0}
    print_results([record(0, **figures), record(0, backend="torch", key="b", **figures)])
    shown = capsys.readouterr().out
    assert "* 1 s" in shown
    assert "* best of those with the same task, division, by" in shown
    print_results([record(0)])
    assert "*" not in capsys.readouterr().out
