"""What a run says before it begins, and of what it leaves over."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import gone
from tests.conftest import Command
from tests.terminals import on_a_terminal

Rows = Callable[..., list[dict[str, Any]]]
QUICK = Path(__file__).parents[1] / "soak" / "quick.py"
PLAN = ("run", "--task", "whole", "--task", "partial", "--backend", "jax", "--backend", "flax",
        "--division", "open", "--division", "closed", "--threads", "1")  # fmt: skip # as typed
ABSENT = """
from echobench import NativeBackend, hookimpl
from gone import Gone


class Absent(Gone):
    name = "absent"
    requires = ("no_such_framework",)

    def why_unavailable(self):
        return NativeBackend.why_unavailable(self)


@hookimpl
def echobench_backends():
    return [Absent()]
"""
WHY = "no_such_framework not installed; run: pip install no_such_framework"


@pytest.fixture
def absent(tmp_path: Path) -> tuple[str, str]:
    """Return the option that loads a backend of which the framework is not installed."""
    (tmp_path / gone.NAME).write_text(gone.GONE)
    (tmp_path / "absent.py").write_text(ABSENT)
    return ("--plugin", "absent.py")


def test_a_dry_run_is_a_table_with_its_total(
    forked: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = forked(*PLAN, "--seeds", "10", "--timeout", "3m", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    header, _, *rows = (line for line in lines if line)
    assert header.split() == [
        "task", "backend", "division", "to", "run", "done", "expected", "at", "worst"
    ]  # fmt: skip # one line reads better
    assert [row.split()[:5] for row in rows[:8]] == [
        [task, backend, division, "10", "0"]
        for task in ("partial", "whole")
        for backend in ("flax", "jax")
        for division in ("closed", "open")
    ]
    assert {row.split()[-2] for row in rows[:8]} == {"30"}  # minutes: ten times three
    assert re.fullmatch(r"80 trials, (more than )?\d.* expected.*, 4 h at worst", lines[-1])
    assert not (tmp_path / "results").exists()


def test_a_dry_run_for_scripts(forked: Command, tmp_path: Path) -> None:
    (tmp_path / gone.NAME).write_text(gone.GONE)
    own = ("run", "--backend", "gone", "--plugin", gone.NAME, "--task", "whole", "--threads", "1")
    assert forked(*own).returncode == 0
    done = forked(*own, "--seeds", "3", "--retries", "1", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["trials"], found["done"], found["unknown"]) == (3, 0, 3)
    assert found["worst_s"] == 3 * 600 * 2
    assert found["longest_s"] == found["expected_s"] + found["worst_s"]
    (cell,) = found["cells"]
    assert (cell["task"], cell["backend"], cell["engine"]) == ("whole", "gone", "native")
    assert (cell["to_run"], cell["expected_s"], cell["source"]) == (3, None, "unknown")
    *_, total, limits = forked(*own, "--seeds", "3", "--dry-run").stdout.splitlines()
    assert re.fullmatch(
        r"3 trials, more than \d.* expected \(3 of unknown length\), 30 min at worst", total.strip()
    )
    assert re.fullmatch(r"with those of unknown length up to their limits: 3\d min", limits.strip())
    refused = forked(*own, "--json")
    assert refused.returncode == 2
    assert "--json: expected --dry-run or --list beside it" in refused.stderr


def test_trials_are_listed_in_the_order_in_which_they_start(
    echobench: Command, knowing: None, rows: Rows, tmp_path: Path
) -> None:
    """The order of the plan was printed, seed by seed: no process trains in it."""
    own = ("run", "--backend", "knowing", "--task", "tiny", "--task", "tiny[symbols=3]",
           "--threads", "1", "--unchecked", "--plugin", str(QUICK))  # fmt: skip # as it is typed
    assert echobench(*own).returncode == 0
    earlier = [row["key"] for row in rows()]
    wanted = (*own, "--seeds", "4", "--forks", "2")
    listed = echobench(*wanted, "--list")
    done = echobench(*wanted, "--list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [*found[0]] == ["task", "backend", "engine", "division", "seed", "key", "status"]
    assert [trial["status"] for trial in found] == [*["reached"] * 2, *[None] * 6]
    assert listed.stdout.splitlines() == [
        f"{'run ' if trial['status'] is None else 'done'}  {trial['task']} knowing native closed "
        f"seed {trial['seed']}"
        for trial in found
    ]
    assert {trial["key"] for trial in found[:2]} == {*earlier}
    assert echobench(*wanted).returncode == 0
    began = sorted(rows(), key=lambda row: row["started_at"])
    ran = [(row["task"], row["seed"], row["key"]) for row in began if row["key"] not in earlier]
    assert [(trial["task"], trial["seed"], trial["key"]) for trial in found[2:]] == ran
    assert [seed for _, seed, _ in ran] != sorted(seed for _, seed, _ in ran)


def test_each_row_of_a_smoke_run_has_the_time_of_its_trials(forked: Command) -> None:
    """One process trains them all; its whole time stood in the row of the first."""
    done = forked(
        "run", "--backend", "jax", "--threads", "1", "--quick", "--task", "partial",
        "--task", "whole", "--timeout", "3m", "--seeds", "2", "--dry-run", "--json",
    )  # fmt: skip # as it is typed
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [cell["worst_s"] for cell in found["cells"]] == [360, 360]
    assert all(cell["source"] and cell["expected_s"] > 0 for cell in found["cells"])
    assert sum(cell["expected_s"] for cell in found["cells"]) == pytest.approx(found["expected_s"])


def test_a_budget_is_in_what_is_expected(forked: Command) -> None:
    wanted = (*PLAN, "--seeds", "10", "--dry-run", "--json")
    whole, part = (
        json.loads(forked(*wanted, *budget).stdout) for budget in ((), ("--budget", "10s"))
    )
    assert whole["begun"] == whole["trials"] == 80
    assert 0 < part["begun"] < 80
    assert 10 <= part["expected_s"] < whole["expected_s"]
    assert 600 <= part["worst_s"] < whole["worst_s"]  # the first trial outlasts it


def test_seeds_that_are_chosen_while_it_runs_are_foreseen_up_to_the_last_look(
    forked: Command,
) -> None:
    done = forked(
        "run", "--task", "whole", "--backend", "jax", "--backend", "flax", "--threads", "1",
        "--seeds", "auto", "--dry-run",
    )  # fmt: skip # as it is typed
    assert done.returncode == 0, done.stderr
    (looks,) = re.findall(r"looks after (.*) seeds", done.stderr)
    first, *_, last = map(int, looks.split(", "))
    assert f"\n{2 * first} trials, " in done.stdout
    assert f"\nup to {2 * last} trials, " in done.stdout


def test_a_backend_that_is_named_and_cannot_run_ends_it_before_anything_starts(
    forked: Command, absent: tuple[str, str], tmp_path: Path
) -> None:
    for verb in (("run", "--task", "whole"), ("study", "state"), ("tune", "--task", "partial")):
        for name, why in (("absent", WHY), ("numpy", "numpy only predicts; use echobench predict")):
            done = forked(*verb, "--backend", name, "--threads", "1", *absent)
            assert done.returncode == 2, verb
            assert done.stderr.startswith(f"echobench: --backend {name}: "), verb
            assert why in done.stderr
    assert not [*tmp_path.rglob("*.jsonl")]


def test_one_that_nobody_named_is_a_line_and_no_rows(
    forked: Command, absent: tuple[str, str], tmp_path: Path
) -> None:
    wanted = ("run", "--task", "whole", "--threads", "1", *absent)
    listed = forked(*wanted, "--list")
    assert "jax" in listed.stdout
    assert "absent" not in listed.stdout
    dry = forked(*wanted, "--dry-run")
    assert f"absent: not run here, {WHY}" in " ".join(dry.stdout.split())
    done = forked(*wanted, "--budget", "0.001s")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"not run here: absent ({WHY})"


def test_what_the_budget_leaves_over_and_how_to_go_on(forked: Command) -> None:
    wanted = (*PLAN, "--seeds", "2", "--budget", "0.001s")
    done = forked(*wanted)
    assert done.returncode == 0, done.stderr
    said, command = done.stderr.splitlines()[-2:]
    assert re.fullmatch(
        r"the budget of 0 s is spent; left over: 16 trials, .*; this goes on:", said
    )
    assert command == "echobench " + " ".join(wanted)


LONG = ("--task", "whole", "--backend", "gone", "--plugin", gone.NAME, "--threads", "1",
        "--seeds", "10")  # fmt: skip # as it is typed; nobody knows how long it takes


@pytest.mark.parametrize(("typed", "trials"), [("n\n", 0), ("\n", 0), ("y\n", 10)])
def test_a_long_run_begins_on_a_terminal_only_once_its_user_agrees(
    typed: str, trials: int, tmp_path: Path
) -> None:
    (tmp_path / gone.NAME).write_text(gone.GONE)
    command = [sys.executable, "-m", "echobench", "run", *LONG]
    code, written = on_a_terminal(command, 80, 24, term="xterm", folder=tmp_path, typed=typed)
    assert code == 0, written
    said = " ".join(written.split())
    assert "10 trials, " in said
    assert "up to their limits: 1.7 h" in said
    assert "Begin? [y/N]" in said
    assert (f"this runs it: echobench run {' '.join(LONG)} --yes" in said) == (not trials)
    files = (tmp_path / "results").glob("*.jsonl")
    assert sum(len(file.read_text().splitlines()) for file in files) == trials


@pytest.mark.parametrize("option", ["--yes", "--timeout=1m", "--budget=30m"])
def test_a_run_that_is_short_or_agreed_to_is_not_asked_about(option: str, tmp_path: Path) -> None:
    (tmp_path / gone.NAME).write_text(gone.GONE)
    command = [sys.executable, "-m", "echobench", "run", *LONG, option]
    code, written = on_a_terminal(command, 80, 24, term="xterm", folder=tmp_path)
    assert code == 0, written
    assert "Begin?" not in written


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    (tmp_path / gone.NAME).write_text(gone.GONE)
    command = [sys.executable, "-m", "echobench", "run", *LONG]
    done = subprocess.run(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Begin?" not in done.stderr
    assert "10 trials, " in done.stderr
