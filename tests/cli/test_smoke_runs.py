"""A folder that has smoke runs only: the table says so, and how to see them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from echobench.analysis.smoke import smoke_answer
from echobench.flow import print_results
from echobench.harness.plan import Selection, plan
from echobench.harness.references import References
from echobench.plugin.manager import Plugins
from echobench.present.progress import result_message
from echobench.store.folder import Store
from echobench.trial.job import PARITY_UPDATES, Reference
from echobench.trial.record import Parity, Record
from echobench.trial.trial import Trial
from tests.conftest import Command
from tests.records import TRIAL, record
from tests.soak.harness import PLUGIN


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
    done = echobench("compare", "backend=jax", "backend=torch")
    assert (done.returncode, done.stdout) == (2, "")
    seen = "no records in results but 2 smoke runs; echobench table --quick shows them"
    assert f"compare: {seen}, and they measure nothing to compare\n" in done.stderr
    done = echobench("report")
    assert done.returncode == 2
    assert f"report: {seen}\n" in done.stderr
    assert not (tmp_path / "report.html").exists()
    shown = echobench("table", "--quick").stdout
    assert re.search(r"partial +jax .* smoke run *\n", shown)
    assert "smoke runs: none of these figures is a measurement" in shown


def test_a_smoke_run_answers_whether_its_cells_work(echobench: Command, tmp_path: Path) -> None:
    plugins = Plugins([PLUGIN])
    (trial,) = plan(Selection(backends=["knowing"], tasks=["tiny"], threads=1, quick=True), plugins)
    path = References(plugins, Store(tmp_path / "results", quick=True)).path(trial)
    assert path is not None  # the base install has the reference's backend
    path.parent.mkdir(parents=True)
    losses = [1.0] * PARITY_UPDATES
    path.write_text(Reference(name="ones", losses=losses).model_dump_json())
    command = ["run", "--backend", "knowing", "--task", "tiny", "--threads", "1", "--quick",
               "--plugin", str(PLUGIN)]  # fmt: skip # as it is typed
    done = echobench(*command)
    assert "tiny knowing native closed seed 0: ran " in done.stderr
    assert "missed" not in done.stdout + done.stderr
    assert "Expected: [" not in done.stdout
    *_, last = done.stdout.splitlines()
    assert last == (
        "1 of 1 cell starts, agrees with the reference in its first updates and ends in a record; "
        "smoke runs measure nothing"
    )


def planned(*backends: str) -> list[Trial]:
    return [Trial(**{**TRIAL, "backend": backend, "quick": True}) for backend in backends]


def ended(trial: Trial, **fields: Any) -> Record:
    parity = fields.pop("parity", Parity(passed=True, reference="r"))
    return record(0, key=trial.key, parity=parity, trial={"quick": True}, **fields)


def test_the_answer_counts_what_failed_was_not_compared_or_did_not_run() -> None:
    a, b, c, d, e, f = trials = planned(*"abcdef")
    records = [
        ended(a, status="failed", reason="killed"),  # run again
        ended(a, status="missed"),
        ended(b, status="missed", parity=Parity(passed=None)),
        ended(c, status="failed", reason="killed"),
        ended(d, status="reached", parity=Parity(passed=False, reference="r")),
        ended(e, status="unsupported", reason="no such layer"),
    ]
    assert f.key not in {one.key for one in records}
    assert smoke_answer(trials, records) == (
        "1 of 6 cells starts, agrees with the reference in its first updates and ends in a record; "
        "1 not compared with a reference (partial b fused closed); "
        "2 failed (partial c fused closed, partial d fused closed); "
        "1 unsupported (partial e fused closed); 1 without a record (partial f fused closed); "
        "smoke runs measure nothing"
    )
    assert smoke_answer(trials[:1], records[:1]).startswith("0 of 1 cell start, ")


def test_the_line_of_a_smoke_run_says_that_it_ran() -> None:
    (trial,) = planned("jax")
    named = "partial jax fused closed seed 0"
    for status in ("reached", "missed"):
        assert result_message(ended(trial, status=status, epochs=20)) == f"{named}: ran 20 epochs"
    failed = ended(trial, status="failed", reason="killed")
    assert result_message(failed).startswith(f"{named}: failed, killed")
    contradicted = ended(trial, status="missed", parity=Parity(passed=False, reference="r"))
    assert result_message(contradicted).startswith(f"{named}: failed, parity gate: ")
    unchecked = ended(trial, status="missed", epochs=1, parity=Parity(passed=None))
    said = result_message(unchecked)
    assert said == f"{named}: ran 1 epoch; not compared with a reference"


def test_the_table_of_a_run_explains_its_mark(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"time_to_target_s": 1.0, "first_update_s": 0.0, "train_s": 1.0}
    print_results([record(0, **figures), record(0, backend="torch", key="b", **figures)])
    shown = capsys.readouterr().out
    assert "* 1 s" in shown
    assert "* best of those with the same task, division, by" in shown
    print_results([record(0)])
    assert "*" not in capsys.readouterr().out


def test_the_table_of_a_run_has_the_notes_of_the_table_on_conditions_and_intervals(
    echobench: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        record(
            seed,
            seconds_per_update=1.0 + seed / 100,
            trial={"side_by_side": 2},
            provenance={"process": {"id": f"{seed // 3}", "place": seed % 3}},
        )
        for seed in range(6)
    ]
    print_results(records)
    shown = capsys.readouterr().out.splitlines()
    expected = [
        "partial jax fused closed: times of 2 processes have no interval, which takes 5",
        "all cells: 2 jobs side by side (--jobs)",
    ]
    assert not {*expected} - {*shown}
    (tmp_path / "results").mkdir()
    text = "".join(f"{one.to_json()}\n" for one in records)
    (tmp_path / "results" / "records-20260101T000000Z-000000.jsonl").write_text(text)
    assert not {*expected} - {*echobench("table").stdout.splitlines()}
