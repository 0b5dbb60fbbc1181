"""A folder that has smoke runs only: the table says so, and how to see them."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Command
from tests.records import record


def test_a_folder_with_smoke_runs_only_says_how_to_see_them(
    echobench: Command, tmp_path: Path
) -> None:
    done = echobench("table")
    assert done.stderr == "no records in results; make some with: echobench run\n"
    done = echobench("table", "--quick")
    assert done.stderr == "no smoke runs in results; make some with: echobench run --quick\n"
    folder = tmp_path / "results" / "quick"
    folder.mkdir(parents=True)
    records = [record(seed, trial={"quick": True}) for seed in (0, 1, 1)]
    text = "".join(f"{one.to_json()}\n" for one in records)
    (folder / "records-20260101T000000Z-000000.jsonl").write_text(text)
    done = echobench("table")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "no records in results but 2 smoke runs; echobench table --quick shows them\n"
    )
    assert "2/2" in echobench("table", "--quick").stdout
