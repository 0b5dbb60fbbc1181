"""Plugins that end the process, or try to: each is named, and every verb does its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echobench.interrupts import SIGNALS
from tests.conftest import Command, paths
from tests.plugin.test_manager import install, write

ENDINGS = {
    "sys.exit(0)": "it ended the process with sys.exit(0)",
    "sys.exit('bye')": "it ended the process with sys.exit('bye')",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit": "GeneratorExit",
    "raise type('Odd', (BaseException,), {})('no luck')": "Odd: no luck",
    "f = lambda: f(); f()": "RecursionError: maximum recursion depth exceeded",
}
RESULTS = Path(__file__).parents[2] / "results"
HOOK = "import sys\nfrom echobench import hookimpl\n@hookimpl\ndef echobench_tasks():\n    {}\n"
ABSENT = ("run", "--dry-run", "--backend", "jax", "--task")


@pytest.mark.parametrize("where", ["module", "hook"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_installed_plugin_raises_makes_it_a_broken_one(
    ending: str, where: str, tmp_path: Path, echobench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import sys\n{ending}\n" if where == "module" else HOOK.format(ending)
    site = tmp_path / "site"
    site.mkdir()
    install(site, "bad", "bad_plugin", text)
    monkeypatch.setenv("PYTHONPATH", paths(site, os.environ["PYTHONPATH"]))
    done = echobench("list", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 0
    (broken,) = (row for row in rows if row["kind"] == "broken plugin")
    assert (broken["name"], broken["from"]) == ("bad_plugin", "bad")
    assert broken["about"].startswith(ENDINGS[ending])
    assert {"whole", "jax"} <= {row["name"] for row in rows}

    done = echobench(*ABSENT, "bad_plugin")
    assert done.returncode == 2
    assert f"task 'bad_plugin': the plugin 'bad_plugin' of bad is broken: {ENDINGS[ending]}" in (
        done.stderr
    )
    done = echobench(*ABSENT, "itsname")  # a plugin may provide another name than its own
    assert done.returncode == 2
    assert "unknown task 'itsname'" in done.stderr
    assert done.stderr.count("the plugin 'bad_plugin' of bad is broken") == 1
    done = echobench(*ABSENT, "whole")
    assert (done.returncode, "whole jax" in done.stdout) == (0, True)


def test_the_referee_and_the_table_do_their_work_beside_a_plugin_that_exits(
    tmp_path: Path, echobench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "bad", "bad_plugin", "import sys\nsys.exit(0)\n")
    monkeypatch.setenv("PYTHONPATH", paths(site, os.environ["PYTHONPATH"]))
    (file,) = (RESULTS / "studies" / "representation").glob("*.jsonl")
    forged = tmp_path / "forged.jsonl"
    forged.write_text(file.read_text().replace('"seed":0', '"seed":7', 1))
    done = echobench("validate", str(forged))
    assert done.returncode == 1
    assert " 1 error" in done.stderr
    done = echobench("table", "--results", str(file.parent))
    assert (done.returncode, "partial" in done.stdout) == (0, True)
    assert "'bad_plugin' of bad is left out" in " ".join(done.stderr.split())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_plugin_file_that_ends_the_process_is_one_line_and_exit_code_2(
    ending: str, tmp_path: Path, echobench: Command
) -> None:
    (tmp_path / "own.py").write_text(f"import sys\n{ending}\n")
    done = echobench("list", "--plugin", "own.py")
    assert done.returncode == 2
    assert done.stderr.startswith(f"echobench: plugin file 'own.py': {ENDINGS[ending]}")
    assert "Traceback" not in done.stderr


BACKEND = """
import sys
from echobench_plugins.backends.jax import Jax
from echobench import Observer, hookimpl

class Odd(Jax):
    name = "odd"
    reference = False

    def {method}(self, *arguments):
        {ending}

class Watching(Observer):
    name = "watching"

    def trial_started(self, trial, results):
        sys.exit(0)

@hookimpl
def echobench_backends():
    return [Odd()]

@hookimpl
def echobench_observers():
    return [Watching()]
"""


@pytest.mark.parametrize("method", ["versions", "why_unavailable"])
@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise KeyboardInterrupt", "raise OSError"])
def test_a_backend_that_ends_the_process_later_is_named(
    method: str, ending: str, tmp_path: Path, echobench: Command
) -> None:
    (tmp_path / "own.py").write_text(BACKEND.format(method=method, ending=ending))
    done = echobench("list", "--plugin", "own.py", "--json")
    (odd,) = (row for row in json.loads(done.stdout) if row["name"] == "odd")
    assert (done.returncode, odd["usable"]) == (0, False)
    assert "own.py" in odd["about"]
    done = echobench("run", "--plugin", "own.py", "--backend", "odd", "--task", "whole", "--quick")
    assert done.returncode == 2
    assert "own.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worker_and_the_observer_may_try_too(tmp_path: Path, echobench: Command) -> None:
    text = BACKEND.format(method="configure", ending="sys.exit(0)")
    (tmp_path / "own.py").write_text(text)
    done = echobench(
        "run", "--plugin", "own.py", "--backend", "odd", "--task", "whole", "--quick",
        "--threads", "1", "--observe", "watching",
    )  # fmt: skip # two lines read better
    assert done.returncode == 1
    assert "observer 'watching' is left out from here on: it ended the process" in done.stderr
    told = " ".join(done.stdout.split() + done.stderr.split())
    assert "the worker ended with exit code 0 and no result" in told


def test_an_executor_that_ends_the_process_is_no_success(
    tmp_path: Path, echobench: Command
) -> None:
    (tmp_path / "own.py").write_text("""
import sys
from echobench import Executor, hookimpl

class Leaving(Executor):
    name = "leaving"

    def connect(self, job, site):
        sys.exit(0)

@hookimpl
def echobench_executors():
    return [Leaving]
""")
    done = echobench(
        "run", "--plugin", "own.py", "--executor", "leaving", "--backend", "numpy",
        "--task", "whole", "--quick",
    )  # fmt: skip # two lines read better
    assert done.returncode == 2
    assert "echobench: sys.exit(0) in " in done.stderr
    assert "own.py, line 9, ended the command" in done.stderr


UNSURE = """
from echobench_plugins.tasks.whole import Whole
from echobench import hookimpl
import sys

class Exits(Whole):
    name = "exits"

    def {method}(self, *arguments):
        sys.exit(0)

@hookimpl
def echobench_tasks():
    return [Exits]
"""


@pytest.mark.parametrize("method", ["source_hash", "recipe"])
def test_a_task_that_ends_the_process_while_records_are_checked_ends_nothing(
    method: str, tmp_path: Path, echobench: Command
) -> None:
    (tmp_path / "own.py").write_text(UNSURE.format(method=method))
    (file,) = (RESULTS / "studies" / "representation").glob("*.jsonl")
    lines = file.read_text().splitlines()
    line = next(line for line in lines if '"task":"partial"' in line)
    text = line.replace('"task":"partial"', '"task":"exits"')
    (tmp_path / "other.jsonl").write_text(text + "\n")
    done = echobench("validate", "other.jsonl", "--plugin", "own.py")
    assert " 1 error" in done.stderr  # the key is another's
    assert "task: unchecked: plugin 'file:" in done.stdout
    done = echobench("table", "--results", str(file.parent), "--plugin", "own.py")
    assert (done.returncode, "partial" in done.stdout) == (0, True)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_real_interrupt_while_a_plugin_is_imported_is_one(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import pathlib, time\npathlib.Path('there').touch()\n"
        "try:\n    time.sleep(60)\nexcept BaseException:\n    raise RuntimeError('mine')\n"
    )
    command = [sys.executable, "-m", "echobench", "list", "--plugin", "own.py"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "there").exists():
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 130
    assert told.startswith("interrupted: ")


def test_a_good_plugin_is_no_broken_one(tmp_path: Path, echobench: Command) -> None:
    write(tmp_path / "short.py")
    done = echobench("list", "--plugin", "short.py")
    assert (done.returncode, done.stderr) == (0, "")
