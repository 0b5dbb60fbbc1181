"""The command line, as a user runs it: real processes, real training, real files."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from echobench.core.training import PHASES
from tests import gone
from tests.conftest import Command
from tests.plugins.cells import ECHO
from tests.soak.harness import is_worker

pytestmark = pytest.mark.slow

Rows = Callable[..., list[dict[str, Any]]]
WHOLE = ("run", "--backend", "jax", "--task", "whole")
QUICK = Path(__file__).parents[1] / "soak" / "quick.py"

WILD = "regression[symbols=10,length=8,units=6,sequences=3,learning_rate=1e30]"

WRONG_BACKEND = """
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.jax import Jax

class Wrong(Jax):
    "Trains ten per cent too fast."
    name: ClassVar[str] = "wrong"
    reference: ClassVar[bool] = False

    def trainer(self, program, chunk):
        rate = program.recipe.learning_rate * 1.1
        program.recipe = program.recipe.model_copy(update={"learning_rate": rate})
        return super().trainer(program, chunk)

@hookimpl
def echobench_backends():
    return [Wrong()]
"""

BROKEN_TASKS = """
from typing import ClassVar
from echobench import EchoTask, Recipe, hookimpl

class AtSampling(EchoTask):
    name = "at-sampling"
    recipes = {"closed": Recipe(units=8, batch=21, epochs=2, evaluate_every=1)}

    def sample(self, rng, count):
        raise OSError("the data are gone")

class AtBuild(EchoTask):
    name = "at-build"
    recipes = AtSampling.recipes

    def network(self, form, units):
        raise ZeroDivisionError("no network today")

class MidTraining(EchoTask):
    name = "mid-training"
    recipes = AtSampling.recipes
    drawn: ClassVar[int] = 0

    def sample(self, rng, count):
        type(self).drawn += 1
        if type(self).drawn > 5:
            raise RuntimeError("tired of drawing")
        return super().sample(rng, count)

class OutOfRange(EchoTask):
    name = "out-of-range"
    recipes = AtSampling.recipes

    def sample(self, rng, count):
        return super().sample(rng, count) + 1

@hookimpl
def echobench_tasks():
    return [AtSampling, AtBuild, MidTraining, OutOfRange]
"""


def test_an_open_recipe_is_taught_certified_recorded_and_resumed(
    echobench: Command, rows: Rows, tmp_path: Path, optimizing: None
) -> None:
    cell = ("--backend", "jax", "--task", "partial", "--division", "open")
    arguments = ("run", *cell, "--save-models", "models")
    done = echobench(*arguments)
    assert done.returncode == 0, done.stderr
    assert "certified 100%" in done.stderr
    assert "Expected: [" in done.stdout
    for line in (line for line in done.stdout.splitlines() if line.startswith("Expected")):
        expected, predicted = line.removeprefix("Expected: ").split(" Predicted: ")
        assert expected == predicted
    (row,) = rows()
    assert row["status"] == "reached"
    assert row["accuracy"] == row["exact_match"] == 1.0
    assert row["error_bound"] == 0.003
    assert row["last_miss_s"] <= row["time_to_target_s"] <= row["first_update_s"] + row["train_s"]
    assert row["updates_to_target"] == row["epochs_to_target"]
    assert row["peak_memory_bytes"] > 50_000_000
    assert len(list((tmp_path / "models").glob("*.keras"))) == 1

    (file,) = (tmp_path / "results").glob("*.jsonl")
    record = json.loads(file.read_text())
    assert sum(record[f"{p}_s"] for p in PHASES) == pytest.approx(record["wall_s"], rel=0.01)
    assert record["time_to_target_s"] < record["wall_to_target_s"] < record["wall_s"]
    assert len(record["after_hit"]) == 3
    echoes = [point["sample"] for point in record["evaluations"] if point["sample"]]
    assert len(echoes) == min(20, len(record["evaluations"]))
    assert echoes[0]["expected"] != echoes[0]["predicted"]
    assert echoes[-1]["expected"] == echoes[-1]["predicted"]  # where it was certified
    attempts = record["certifications"]
    assert [attempt["wrong"] > 0 for attempt in attempts] == [True] * (len(attempts) - 1) + [False]
    assert record["failed_certifications"] == len(attempts) - 1
    assert attempts[-1]["epoch"] == record["epochs_to_target"]
    needed = (math.log(20) + math.log(len(attempts) * (len(attempts) + 1))) / 0.003
    assert attempts[-1]["sequences"] == row["certified_sequences"] == math.ceil(needed)
    assert record["judge"]["certificate_wrong"] == 0
    assert record["judge"]["sequences"] == 10_000
    assert record["judge"]["wrong"] < 53  # more would exclude the bound
    assert record["fingerprint"]["passed"] is True
    assert record["parity"]["passed"] is True
    assert record["parity"]["reference"] == "jax fit"
    assert 0 <= record["parity"]["largest_difference"] < 1e-5
    path = record["provenance"]["path"]
    assert (path["compiler"], path["jit"]) == ("XLA", True)
    assert path["lstm"] == ["5 steps unrolled", "2 steps unrolled"]
    assert path["traces"]["compiling"] > 0
    assert path["traces"]["training"] == 0  # nothing was compiled again
    assert 0 < path["busy_cores"] <= len(path["affinity"]) + 0.1
    assert sum(path["threads"].values()) >= len(path["affinity"])
    assert record["provenance"]["seeds"] == {
        "rule": "fixed",
        "seeds": 1,
        "first": 0,
        "repeats": 1,
    }
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", file.read_text())

    again = echobench(*arguments)
    assert again.returncode == 0
    assert "1 of 1 trial is done" in again.stderr
    assert "Expected: [" in again.stdout
    assert len(rows()) == 1


def test_quick_runs_stay_apart_and_a_dry_run_runs_nothing(
    echobench: Command, rows: Rows, tmp_path: Path
) -> None:
    dry = echobench(*WHOLE, "--list")
    assert dry.stdout == "run   whole jax fused closed seed 0\n"
    assert not (tmp_path / "results").exists()
    fit = ("run", "--backend", "jax", "--task", ECHO, "--engine", "fit")
    quick = echobench(*fit, "--quick", "--max-epochs", "3")
    assert quick.returncode == 0, quick.stderr
    assert rows() == []
    (row,) = rows("--quick")
    assert (row["status"], row["engine"]) == ("missed", "fit")
    assert row["time_to_target_s"] is None


def test_a_backend_that_trains_something_else_is_caught_by_the_parity_gate(
    echobench: Command, rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "wrong.py").write_text(WRONG_BACKEND)
    done = echobench(
        "run", "--backend", "wrong", "--task", ECHO, "--plugin", "wrong.py", "--max-epochs", "3",
        "--unchecked",
    )  # fmt: skip # as it is typed
    assert done.returncode == 1
    assert "parity gate: first losses differ" in done.stderr
    (row,) = rows()
    assert row["status"] == "failed"
    assert row["seconds_per_update"] is None


def test_a_task_that_breaks_is_a_row_and_the_matrix_goes_on(
    echobench: Command, rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN_TASKS)
    done = echobench(
        "run", "--backend", "jax", "--task", "at-build", "--task", WILD, "--plugin", "broken.py",
        "--max-epochs", "2", "--quick",
    )  # fmt: skip # as it is typed
    assert done.returncode == 1
    assert {row["task"]: (row["status"], row["reason"]) for row in rows("--quick")} == {
        "at-build": ("failed", "plugin broken.py, line 17: ZeroDivisionError: no network today"),
        WILD.replace("1e30", "1e+30"): (
            "missed",
            "the loss is not a finite number in epoch 2",
        ),
    }
    assert "no network today" in done.stderr


def test_data_that_break_are_a_row_each(
    echobench: Command, rows: Rows, knowing: None, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN_TASKS)
    tasks = ["at-sampling", "mid-training", "out-of-range"]
    chosen = [word for task in tasks for word in ("--task", task)]
    plugins = ("--plugin", "broken.py", "--plugin", str(QUICK))
    done = echobench(
        "run", "--backend", "knowing", *chosen, *plugins, "--max-epochs", "2", "--quick"
    )
    assert done.returncode == 1
    assert {row["task"]: (row["status"], row["reason"]) for row in rows("--quick")} == {
        "at-sampling": ("failed", "plugin broken.py, line 10: OSError: the data are gone"),
        "mid-training": ("failed", "plugin broken.py, line 27: RuntimeError: tired of drawing"),
        "out-of-range": (
            "failed",
            "sample gives tokens from 1 to 100; expected 0 to 99; see: echobench check task "
            "out-of-range --plugin broken.py --plugin quick.py",
        ),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--task", "parital"], "unknown task 'parital'; did you mean 'partial'?"),
        (["run", "--backend", "jaxx"], "unknown backend 'jaxx'; did you mean 'jax'?"),
        (["run", "--task", "partial[n_out=9]"], "expected n_out <= n_in=5; received n_out=9"),
        (["run", "--seeds", "0"], "--seeds: expected 1 or more; received 0"),
        (["run", "--retries", "-1"], "--retries: expected 0 or more; received -1"),
        (
            ["run", "--memory-limit", "lots"],
            "--memory-limit: expected a size such as 500M or 4G; received 'lots'",
        ),
        (["run", "--env", "NOT_SET_HERE"], "--env NOT_SET_HERE: it is not set here; write --env"),
        (["study", "masking", "--env", "LD_PRELOAD=x.so"], "--env LD_PRELOAD: expected a variable"),
        (["tune", "--task", "whole", "--env", "TMPDIR=x"], "--env TMPDIR: echobench sets it"),
        (["run", "--env", "TZ=UTC", "--env", "TZ=CET"], "--env TZ: given twice, with different"),
        (["run", "--timeout", "soon"], "--timeout: expected a time such as 90s"),
        (["run", "--device", "tpu"], "--device: expected cpu or gpu; received 'tpu'"),
        (["run", "--plugin", "absent.py"], "expected an existing .py file"),
        (["run", "--plugin", "bad.py"], "SyntaxError"),
        (["run", "--task", "text[path=absent.txt]"], "No such file or directory"),
        (["run", "--task", "text[path=empty.txt]"], "at least two different words"),
        (["run", "--task", "text[path=binary.txt]"], "is binary"),
        (["run", "--task", "pairs"], "task pairs needs path; write --task 'pairs[path=...]'"),
        (["check", "task", "pairs"], "write echobench check task 'pairs[path=...]'"),
        (["run", "--task", "pairs[path=absent.csv]"], "absent.csv: No such file or directory"),
        (["run", "--task", "pairs[path=.]"], "a file of data, .: it is a folder"),
        (["run", "--task", "pairs[path=empty.txt]"], "at least two different sequences; empty.txt"),
        (["run", "--task", "pairs[path=bad.py]"], "different sequences; bad.py has one"),
        (["run", "--task", "copy[items"], "expected NAME or NAME[key=value,...]"),
        (["run", "--observe", "nobody"], "unknown observer 'nobody'; known: tensorboard"),
        (["study", "nothing"], "unknown study 'nothing'"),
        (
            ["run", "--task", "whole", "--results", "bad.py"],
            "expected a folder that can be written",
        ),
        (["table", "--results", "absent"], "expected a folder of records; received 'absent'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, forked: Command, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text("def f(:")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    done = forked(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not (tmp_path / "results" / "quick").exists()


def test_list_says_what_is_usable(echobench: Command) -> None:
    done = echobench("list", "--json")
    found = {(row["kind"], row["name"]): row for row in json.loads(done.stdout)}
    assert found["backend", "jax"]["usable"]
    assert "keras" in found["backend", "torch"]["about"]
    assert found["task", "partial"]["from"] == "echobench"
    assert "partial" in echobench("list").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_leaves_no_process(
    number: signal.Signals, tmp_path: Path
) -> None:
    # One unit never learns the echo.
    forever = ("run", "--backend", "jax", "--task", "whole[units=1]", "--max-epochs", "100000000")
    with subprocess.Popen(
        [sys.executable, "-m", "echobench", *forever],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        deadline = time.monotonic() + 60
        workers: list[psutil.Process] = []
        while not workers and time.monotonic() < deadline:
            time.sleep(0.2)
            workers = [*filter(is_worker, psutil.Process(parent.pid).children(recursive=True))]
        assert workers
        parent.send_signal(number)
        _, errors = parent.communicate(timeout=120)
    assert parent.returncode == 130
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    assert not [worker for worker in workers if worker.is_running()]


def test_seeds_are_a_number_or_auto(echobench: Command) -> None:
    done = echobench(*WHOLE, "--seeds", "some")
    assert done.returncode == 2
    assert done.stderr == "echobench: --seeds: expected a number or auto; received 'some'\n"
    assert echobench(*WHOLE, "--seeds", "auto").returncode == 2  # one cell has no rival


def test_host_and_home_are_told_only_where_asked(echobench: Command, tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(BROKEN_TASKS)
    (tmp_path / gone.NAME).write_text(gone.GONE)
    cell = ("run", "--backend", "gone", "--plugin", gone.NAME, "--task", "at-sampling", "--plugin")
    echobench(*cell, str(tmp_path / "short.py"))
    (file,) = (tmp_path / "results").glob("*.jsonl")
    (record,) = map(json.loads, file.read_text().splitlines())
    assert record["trial"]["plugins"] == ["file:gone.py", "file:short.py"]
    assert "host" not in record["provenance"]
    file.unlink()
    echobench(*cell, str(tmp_path / "short.py"), "--tell-host")
    (file,) = (tmp_path / "results").glob("*.jsonl")
    assert json.loads(file.read_text())["provenance"]["host"] == os.uname().nodename


@pytest.mark.parametrize("backend", ["jax", "flax", "tensorflow"])
def test_compiled_programs_are_kept_where_asked_and_noted(
    backend: str, echobench: Command, tmp_path: Path
) -> None:
    done = echobench("run", "--backend", backend, "--task", ECHO, "--max-epochs", "3",
                     "--seeds", "2", "--cache", "--unchecked")  # fmt: skip # as it is typed
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "results").glob("*.jsonl")
    cold, warm = (json.loads(line)["provenance"]["cache"] for line in file.read_text().splitlines())
    assert (cold["found"], warm["added"]) == (0, 0)
    assert warm["found"] == cold["added"] > 0
    assert (
        "compiled programs kept; kept programs used" in echobench("table", "--format", "md").stdout
    )
