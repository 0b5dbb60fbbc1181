"""Studies and observers with a fault: each is one line, and the trials are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import gone
from tests.cli.test_faulty_plugins import DRY, OWN, line_of
from tests.conftest import Command

STUDY = """
from echobench import Study, Variant, hookimpl

@hookimpl
def echobench_studies():
    rows = [Variant(label="good", task="whole"), Variant(label="lost", task="whloe")]
    return [Study(name="ask", question="?", variants=rows, backend="jax")]
"""


def test_a_study_of_an_unknown_task_is_named_with_its_row(
    tmp_path: Path, echobench: Command
) -> None:
    (tmp_path / "own.py").write_text(STUDY)
    done = echobench("study", "ask", "--plugin", "own.py")
    assert (done.returncode, done.stderr) == (
        2,
        f"echobench: {OWN}study 'ask': variant 'lost': unknown task 'whloe'; did you mean 'whole'?"
        "\n",
    )
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("backend='nonesuch'", "unknown backend 'nonesuch'; known: "),
        ("backend='jax', timeout='soon'", "timeout: expected a time such as 90s, 10m or 2h; "),
    ],
)
def test_a_study_that_cannot_run_is_named(
    change: str, reason: str, tmp_path: Path, echobench: Command
) -> None:
    text = STUDY.replace('backend="jax"', change).replace("whloe", "whole")
    (tmp_path / "own.py").write_text(text)
    done = echobench("study", "ask", "--plugin", "own.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"echobench: {OWN}study 'ask': {reason}")
    given = ("--backend", "numpy", "--timeout", "9s", "--table")
    assert echobench("study", "ask", "--plugin", "own.py", *given).returncode == 0


def test_an_exception_that_nothing_contains_is_one_line(tmp_path: Path, echobench: Command) -> None:
    text = STUDY.replace("Study(name", "Asked(name").replace('"whloe"', '"whole"')
    text += "\nclass Asked(Study):\n    @property\n    def axes(self):\n        return 1 / 0\n"
    (tmp_path / "own.py").write_text(text)
    done = echobench("study", "ask", "--table", "--plugin", "own.py")
    assert (done.returncode, done.stderr) == (
        2, "echobench: plugin own.py, line 12: ZeroDivisionError: division by zero\n"
    )  # fmt: skip # one line reads better


OBSERVER = """
from echobench import Observer, hookimpl

class Raising(Observer):
    name = "raising"
    def trial_started(self, trial, results):
        raise OSError("no server")

class Taking(Observer):
    name = "taking"
    def trial_started(self, trial):
        pass

@hookimpl
def echobench_observers():
    return [Raising(), Taking()]
"""


def test_an_observer_that_requires_no_modules_is_named(tmp_path: Path, echobench: Command) -> None:
    text = OBSERVER.replace('"taking"', '"taking"\n    requires = "abc"')
    (tmp_path / "own.py").write_text(text)
    done = echobench(*DRY, "--task", "whole", "--plugin", "own.py", "--observe", "taking")
    line = line_of(text, "class Taking")
    assert (done.returncode, done.stderr) == (
        2,
        f"echobench: {OWN}observer 'taking': own.py, line {line}: expected `requires` to give "
        "Sequence[str]; received 'abc'\n",
    )
    assert echobench("list", "--plugin", "own.py").returncode == 0


def test_an_observer_that_raises_is_named_with_its_line(tmp_path: Path, echobench: Command) -> None:
    (tmp_path / "own.py").write_text(OBSERVER)
    (tmp_path / gone.NAME).write_text(gone.GONE)
    done = echobench(
        "run", "--plugin", "own.py", "--plugin", gone.NAME, "--backend", "gone", "--task", "whole",
        "--threads", "1", "--observe", "raising", "--observe", "taking",
    )  # fmt: skip # two lines read better
    left_out = [line for line in done.stderr.splitlines() if "is left out" in line]
    assert left_out == [
        "observer 'raising' is left out from here on: own.py, line 7: OSError: no server",
        "observer 'taking' is left out from here on: own.py, line 9: TypeError: "
        "Taking.trial_started() takes 2 positional arguments but 3 were given",
    ]
    assert len([*tmp_path.rglob("*.jsonl")]) == 1  # the trial is recorded
