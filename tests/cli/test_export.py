"""`echobench export`, and what the real pytest-benchmark makes of it."""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from echobench.errors import UsageError
from echobench.present.benchmarks import of_one_machine
from echobench.trial.record import Record
from tests.conftest import Command
from tests.test_docs import FENCED

RESULTS = Path(__file__).parents[2] / "results"
FORMAT = ("export", "--format", "pytest-benchmark")


def lines(folder: str) -> list[dict[str, Any]]:
    (file,) = (RESULTS / folder).glob("records-*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def tool(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pytest_benchmark_reads_it(echobench: Command, tmp_path: Path) -> None:
    told = (*FORMAT, "--results", str(RESULTS / "repeats"), "--output", "repeats.json")
    done = echobench(*told)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "repeats.json").read_text())
    repeated = document["benchmarks"]
    assert [b["name"] for b in repeated] == ["partial-jax-fused-open", "whole-jax-fused-open"]
    records = lines("repeats")
    for benchmark in repeated:
        own = [r for r in records if r["task"] == benchmark["params"]["task"]]
        assert benchmark["group"] == f"{own[0]['task']} open"
        own.sort(key=lambda r: (r["seed"], r["started_at"]))
        seconds = [r["seconds_per_update"] for r in own]
        found, told_beside = benchmark["stats"], benchmark["extra_info"]
        assert (found["rounds"], found["iterations"], found["data"]) == (16, 1, seconds)
        assert found["median"] == pytest.approx(np.median(seconds))
        assert found["mean"] == pytest.approx(np.mean(seconds))
        assert found["stddev"] == pytest.approx(np.std(seconds, ddof=1))
        assert (found["min"], found["max"]) == (min(seconds), max(seconds))
        # Half of the values on each side, the convention of the tool.
        ordered = sorted(seconds)
        assert (found["q1"], found["q3"]) == (np.median(ordered[:8]), np.median(ordered[8:]))
        hits = [r["time_to_target_s"] for r in own]
        assert told_beside["success"] == "16/16"
        assert told_beside["time_to_target_s"]["median"] == pytest.approx(np.median(hits))
        assert told_beside["limit_fraction"] == np.median([r["limit_fraction"] for r in own])
    newest = max(records, key=lambda r: r["started_at"])
    assert document["datetime"] == newest["started_at"]
    assert document["commit_info"]["id"] == newest["provenance"]["git"]["commit"]
    assert document["machine_info"]["cpu"] == {"brand_raw": "AMD EPYC", "count": 2}


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(RESULTS)
    page = (RESULTS.parent / "docs" / "pytest-benchmark.md").read_text()
    commands = [shlex.split(line) for line in FENCED.findall(page)[0][1].splitlines()]
    assert [words[0] for words in commands] == ["echobench", *["pytest-benchmark"] * 2]
    shown = [tool(words[0].replace("-", "_"), *words[1:], cwd=tmp_path) for words in commands]
    assert "whole-torch-native-native-open" in shown[1]
    assert "benchmark 'backend=torch-native': 2 tests" in shown[2]


def test_misses_are_told_beside_the_statistics(echobench: Command) -> None:
    metric = ("--metric", "time_to_target_s")
    done = echobench(*FORMAT, "--results", str(RESULTS / "matrix"), *metric)
    assert done.returncode == 0, done.stderr
    found = {b["name"]: b for b in json.loads(done.stdout)["benchmarks"]}
    cells: dict[str, list[dict[str, Any]]] = {}
    for r in lines("matrix"):
        name = "-".join(r[key] for key in ("task", "backend", "engine", "division"))
        cells.setdefault(name, []).append(r)
    some = {name for name, own in cells.items() if any(r["status"] == "reached" for r in own)}
    assert {*found} == some < {*cells}
    for name, own in cells.items():
        hits = [r["time_to_target_s"] for r in own if r["status"] == "reached"]
        if len(hits) < len(own):
            line = f"careful: {name}: time_to_target_s of {len(hits)} of {len(own)} trials"
            assert line in done.stderr.splitlines()
        if hits:
            beside = found[name]["extra_info"]
            censored = [r["first_update_s"] + r["train_s"] for r in own if r["status"] != "reached"]
            curve = stats.ecdf(stats.CensoredData(hits, right=censored)).sf
            # Where the curve is one half for a while, the middle of that while.
            half, below = (curve.quantiles[curve.probabilities <= 0.5 + e] for e in (1e-9, -1e-9))
            assert beside["success"] == f"{len(hits)}/{len(own)}"
            middle = pytest.approx((half[0] + below[0]) / 2) if len(below) else None
            assert beside["time_to_target_s"]["median"] == middle
            assert found[name]["stats"]["mean"] == pytest.approx(statistics.mean(hits))


def test_a_file_is_of_one_machine(echobench: Command, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    records = [lines("open")[0], lines("repeats")[0]]
    (mixed / "records-0.jsonl").write_text("\n".join(map(json.dumps, records)))
    done = echobench(*FORMAT, "--results", "mixed")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "'AMD EPYC, 1 core'" in line
    assert "'AMD EPYC, 2 cores'" in line
    assert "--machine" in line
    both = [Record.from_dict(r) for r in records]
    assert of_one_machine(both, "2 cores") == [both[1]]
    with pytest.raises(UsageError, match="choose with --machine"):
        of_one_machine(both, "abacus")


def test_names_are_distinct_and_obey_no_terminal(echobench: Command, tmp_path: Path) -> None:
    record = lines("repeats")[0]
    trial = record["trial"]
    other = {**trial, "threads": 1, "versions": {**trial["versions"], "jax": "1"}}
    forged = {**record, "key": "forged", "task": "\x1b[31mred", "backend": "<b>"}
    records = [
        record,
        {**record, "key": "other", "trial": other},
        {**forged, "trial": {**trial, "seed": 0, "task": "\x1b[31mred"}},
    ]
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "records-0.jsonl").write_text("\n".join(map(json.dumps, records)))
    done = echobench(*FORMAT, "--results", "three", "-o", "three.json")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "three.json").read_text())
    name = f"{record['task']}-jax-fused-open"
    assert {b["name"]: b["param"] for b in document["benchmarks"]} == {
        f"{name}[threads=2,jax=0.10.2]": "threads=2,jax=0.10.2",
        f"{name}[threads=1,jax=1]": "threads=1,jax=1",
        "31mred-b-fused-open": None,
    }
    assert "\x1b" not in tool("pytest_benchmark", "compare", "three.json", cwd=tmp_path)


def test_what_cannot_be_exported_is_one_line(echobench: Command) -> None:
    real = str(RESULTS / "repeats")
    for arguments in (
        ("--results", "absent"),
        ("--results", real, "--output", "no/such/folder/file.json"),
    ):
        done = echobench(*FORMAT, *arguments)
        assert done.returncode == 2, arguments
        assert len(done.stderr.splitlines()) == 1, done.stderr
