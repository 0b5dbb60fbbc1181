"""Streams that are closed, full or left by their reader, and consoles of any size: real ones."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.harness import Harness
from tests.terminals import on_a_terminal

ROOT = Path(__file__).parents[2]
SPEED = ROOT / "results" / "speed"
ECHOBENCH = [sys.executable, "-m", "echobench"]
TABLE = ["table"]
GATE = ["compare", "engine=fused", "engine=fit", "--fail-if", "seconds_per_update>+1%"]
CURSOR = re.compile(r"\x1b\[[?0-9;]*[A-HJKhlsu]|\r")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TRIALS = 3


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of records whose table is made sooner than that of all."""
    folder = tmp_path_factory.mktemp("few")
    (file,) = SPEED.glob("*.jsonl")
    records = {line: json.loads(line) for line in file.read_text().splitlines()}
    kept = [
        f"{line}\n"
        for line, record in records.items()
        if record["task"] == "partial" and record["backend"] in ("jax", "torch")
    ]
    (folder / file.name).write_text("".join(kept))
    return folder


def shell(
    command: list[str], redirection: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run echobench with a shell's redirection; its own exit code is the last line of stdout."""
    line = f"{{ {shlex.join([*ECHOBENCH, *command])} {redirection}; echo $? >&3; }} 3>&1"
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=True,
    )


def code(done: subprocess.CompletedProcess[str]) -> int:
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("command", "expected"), [(TABLE, 0), (["run", "--nope"], 2), (GATE, 3)], ids=["0", "2", "3"]
)
@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_exit_code(
    command: list[str], expected: int, redirection: str, few: Path
) -> None:
    done = shell([*command, "--results", str(few)], redirection)
    assert (code(done), "Traceback" in done.stderr) == (expected, False)
    if ">&-" not in redirection.replace("2>&-", "") and command is TABLE:
        rows = [line.split()[:2] for line in done.stdout.splitlines()]
        assert rows.count(["partial", "jax"]) == rows.count(["partial", "torch"]) == 2


@pytest.mark.parametrize(
    ("command", "expected"), [([*TABLE, "--format", "json"], 0), (GATE, 3)], ids=["0", "3"]
)
@pytest.mark.parametrize("both", ["", "2>&1"])
def test_a_reader_that_goes_away_changes_no_exit_code(
    command: list[str], expected: int, both: str
) -> None:
    command = [*ECHOBENCH, *command, "--results", str(SPEED)]  # all: more than a pipe holds
    line = f"{{ {shlex.join(command)} {both}; echo $? >&3; }} 3>&2 | head -c 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert len(done.stdout) == 1
    assert done.stderr.splitlines()[-1] == str(expected)
    assert "Traceback" not in done.stderr
    assert both == "" or done.stderr == f"{expected}\n"


def test_what_could_not_be_written_is_an_error(few: Path) -> None:
    results = ["--results", str(few)]
    done = shell([*TABLE, *results], ">/dev/full")
    assert code(done) == 1
    why = "echobench: stdout: No space left on device; what follows was not written\n"
    assert done.stderr == why
    assert code(shell([*GATE, *results], ">/dev/full")) == 3  # the gate's own answer stands


@pytest.mark.parametrize("left", ["| head -n 1", ">&- 2>&-", "2>&1 | head -n 1", ">/dev/full 2>&1"])
def test_a_run_that_nobody_reads_runs_and_records_everything(left: str, tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=TRIALS)
    line = f"{shlex.join(harness.command)} {left}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    found, damaged = harness.records()
    # A file that was opened as descriptor 1 would hold what is printed.
    assert (sum(found.values()), damaged) == (TRIALS, [])


@pytest.mark.parametrize(
    "variables",
    [
        {"FORCE_COLOR": "1"},
        {"CLICOLOR_FORCE": "1"},
        {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"},
        {"FORCE_COLOR": "1", "NO_COLOR": "1", "GITHUB_ACTIONS": "true"},
    ],
    ids=str,
)
def test_without_a_terminal_nothing_moves(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    harness = Harness(tmp_path, seeds=1)
    with harness.start(output=subprocess.PIPE) as running:
        table, progress = running.communicate()
    assert progress.startswith("[1/1] tiny knowing native closed seed 0 ...\n")
    assert not CURSOR.search(table + progress)
    coloured = {"FORCE_COLOR", "CLICOLOR_FORCE"} & variables.keys()
    assert bool(COLOUR.search(table)) == bool(coloured), table
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", table)) <= ("NO_COLOR" not in variables)


@pytest.mark.parametrize("command", [["list"], ["run", "--help"]], ids=["list", "help"])
def test_a_size_that_is_none_is_ignored(command: list[str]) -> None:
    plain = shell(command, "", COLUMNS="80")
    for variable in ("COLUMNS=0", "COLUMNS=²", "LINES=0"):
        name, value = variable.split("=")
        done = shell(command, "", **{"COLUMNS": "80", name: value})
        assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr), variable


@pytest.mark.parametrize(
    ("columns", "lines", "term"),
    [(80, 24, "xterm"), (1, 1, "xterm"), (0, 0, "xterm"), (80, 24, "dumb")],
)
def test_a_terminal_of_any_size_shows_a_run(
    columns: int, lines: int, term: str, tmp_path: Path
) -> None:
    harness = Harness(tmp_path, seeds=1, task="tiny[nap=0.2]")
    ended, seen = on_a_terminal([*harness.command, "--watch"], columns, lines, term=term)
    assert ended == 0, seen
    assert "Traceback" not in seen
    assert sum(harness.records()[0].values()) == 1
    assert ("\x1b[?25l" in seen) == (term != "dumb")  # the cursor is hidden while it animates
    if term == "dumb":
        assert "\x1b" not in seen
        assert "[1/1] tiny[nap=0.2]" in seen
