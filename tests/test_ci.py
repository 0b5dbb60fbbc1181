"""What docs/ci.md shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import Command
from tests.test_docs import FENCED

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text()
BLOCKS = dict(FENCED.findall(PAGE))

# Says what it was asked; compares for real.
ECHOBENCH = f"""#!/bin/sh
echo "$0 $*"
[ "$1" = run ] || exec {sys.executable} -m echobench "$@"
"""


@pytest.fixture
def checkouts(tmp_path: Path) -> Path:
    """Return a folder with two checkouts whose records are there already."""
    (file,) = (ROOT / "results" / "speed").glob("records-*.jsonl")
    for side in ("base", "head"):
        command = tmp_path / side / ".venv" / "bin" / "echobench"
        command.parent.mkdir(parents=True)
        command.write_text(ECHOBENCH)
        command.chmod(0o755)
        (tmp_path / side / "ci").mkdir()
        records = [json.loads(line) for line in file.read_text().splitlines()]
        for record in records:  # of another run: no trial is compared with itself
            day = "-26T" if side == "head" else "-25T"
            record["started_at"] = re.sub(r"-\d\dT", day, record["started_at"])
        (tmp_path / side / "ci" / "records-0.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "measure.sh").write_text(BLOCKS["sh"])
    return tmp_path


def measure(folder: Path, seeds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "measure.sh", "base", "head"],
        cwd=folder,
        env={**os.environ, "SEEDS": str(seeds)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_measurement_takes_turns(checkouts: Path, echobench: Command) -> None:
    done = measure(checkouts, 3)
    assert done.returncode == 0, done.stderr
    asked = [shlex.split(line) for line in done.stdout.splitlines() if ".venv" in line]
    sides = [words[0].partition("/")[0] for words in asked]
    assert sides == ["base", "head", "head", "base", "base", "head", "head"]
    *runs, last = (words[1:] for words in asked)
    assert [words[words.index("--seeds") + 1] for words in runs] == ["1", "1", "2", "2", "3", "3"]
    assert last[:3] == ["compare", "base/ci", "head/ci"]
    told = echobench(*runs[-1], "--list", "--results", "elsewhere")
    assert told.stdout.splitlines() == [
        f"run   partial jax fused closed seed {seed}" for seed in range(3)
    ]


def test_a_slowdown_of_a_fifth_is_exit_code_3(checkouts: Path) -> None:
    file = checkouts / "head" / "ci" / "records-0.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        if record["engine"] == "fused":
            record["seconds_per_update"] *= 1.2
    file.write_text("\n".join(map(json.dumps, records)))
    done = measure(checkouts, 0)
    assert done.returncode == 3, done.stderr
    found = [line for line in done.stderr.splitlines() if line.startswith("regression: ")]
    *cells, everything = found
    assert len(cells) == 6  # two tasks, three backends
    assert all(" fused closed seconds_per_update: A 1.2x faster [1.2, 1.2]" in f for f in cells)
    assert f"all tasks  seconds_per_update: A {1.2 ** (6 / 20):.3g}x faster" in everything


def test_the_workflow_runs_the_measurement() -> None:
    (job,) = yaml.safe_load(BLOCKS["yaml"])["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-1] == "sh head/measure.sh base head"
    for command in commands:
        done = subprocess.run(["sh", "-n"], input=command, text=True, check=False)
        assert done.returncode == 0
