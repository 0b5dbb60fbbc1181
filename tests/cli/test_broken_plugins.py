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
from tests import gone
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
ABSENT = ("run", "--list", "--backend", "jax", "--task")


@pytest.mark.parametrize("where", ["module", "hook"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_installed_plugin_raises_makes_it_a_broken_one(
    ending: str, where: str, tmp_path: Path, forked: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import sys\n{ending}\n" if where == "module" else HOOK.format(ending)
    site = tmp_path / "site"
    site.mkdir()
    install(site, "bad", "bad_plugin", text)
    monkeypatch.setenv("PYTHONPATH", paths(site, os.environ["PYTHONPATH"]))
    done = forked("list", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 0
    (broken,) = (row for row in rows if row["kind"] == "broken plugin")
    assert (broken["name"], broken["from"]) == ("bad_plugin", "bad")
    line = 2 if where == "module" else 5
    reason = f"bad_plugin.py, line {line}: {ENDINGS[ending]}"
    assert broken["about"].startswith(reason)
    assert {"whole", "jax"} <= {row["name"] for row in rows}

    done = forked(*ABSENT, "bad_plugin")
    assert done.returncode == 2
    assert f"task 'bad_plugin': the plugin 'bad_plugin' of bad is broken: {reason}" in (done.stderr)
    done = forked(*ABSENT, "itsname")  # a plugin may provide another name than its own
    assert done.returncode == 2
    assert "unknown task 'itsname'" in done.stderr
    assert done.stderr.count("the plugin 'bad_plugin' of bad is broken") == 1
    done = forked(*ABSENT, "whole")
    assert (done.returncode, "whole jax" in done.stdout) == (0, True)


def test_the_referee_and_the_table_do_their_work_beside_a_plugin_that_exits(
    tmp_path: Path, forked: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "bad", "bad_plugin", "import sys\nsys.exit(0)\n")
    monkeypatch.setenv("PYTHONPATH", paths(site, os.environ["PYTHONPATH"]))
    (file,) = (RESULTS / "studies" / "representation").glob("*.jsonl")
    forged = tmp_path / "forged.jsonl"
    forged.write_text(file.read_text().replace('"seed":0', '"seed":7', 1))
    done = forked("validate", str(forged))
    assert done.returncode == 1
    assert " 1 error" in done.stderr
    done = forked("table", "--results", str(file.parent))
    assert (done.returncode, "partial" in done.stdout) == (0, True)
    assert "'bad_plugin' of bad is left out" in " ".join(done.stderr.split())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_plugin_file_that_ends_the_process_is_one_line_and_exit_code_2(
    ending: str, tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(f"import sys\n{ending}\n")
    done = forked("list", "--plugin", "own.py")
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"echobench: plugin file 'own.py': own.py, line 2: {ENDINGS[ending]}"
    )
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
    method: str, ending: str, tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(BACKEND.format(method=method, ending=ending))
    done = forked("list", "--plugin", "own.py", "--json")
    (odd,) = (row for row in json.loads(done.stdout) if row["name"] == "odd")
    assert (done.returncode, odd["usable"]) == (0, False)
    assert "own.py" in odd["about"]
    done = forked("run", "--plugin", "own.py", "--backend", "odd", "--task", "whole", "--quick")
    assert done.returncode == 2
    assert "own.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worker_and_the_observer_may_try_too(tmp_path: Path, forked: Command) -> None:
    text = BACKEND.format(method="configure", ending="sys.exit(0)")
    (tmp_path / "own.py").write_text(text)
    done = forked(
        "run", "--plugin", "own.py", "--backend", "odd", "--task", "whole", "--quick",
        "--threads", "1", "--observe", "watching",
    )  # fmt: skip # two lines read better
    assert done.returncode == 1
    assert "left out from here on: own.py, line 17: it ended the process" in done.stderr
    told = " ".join(done.stdout.split() + done.stderr.split())
    assert "the worker ended with exit code 0 and no result" in told


EXITS = {
    "sys.exit(0)": "it ended the process with sys.exit(0)",
    "raise typer.Exit(0)": "Exit: 0",
    "click.get_current_context().exit(0)": "Exit: 0",
    "raise type('Shown', (typer.BadParameter,), {'exit_code': 0})('no')": "Shown: no",
    "raise typer.Abort": "Abort",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise OSError('no cluster')": "OSError: no cluster",
}
EXECUTOR = """
import sys, typer
from contextlib import contextmanager
from typing import ClassVar
from echobench import Executor, Study, hookimpl
from echobench.plugin.interfaces import Connection, Variant
try:
    from typer import _click as click
    from typer._click.globals import get_current_context
    click.get_current_context = get_current_context
except ImportError:
    import click

def at(place):
    if place == "{place}":
        {ending}

class Here(Connection):
    def __init__(self, site):
        self.site, self.jobs = site, []
    def room(self):
        at("room")
        return 1
    def start(self, job):
        at("start")
        self.jobs.append(job)
        return len(self.jobs) - 1
    def ended(self, handles, seconds):
        at("ended")
        return handles
    def records(self, handle):
        at("records")
        return self.site.run_here(self.jobs[handle])
    def cancel(self, handle):
        pass

class Leaving(Executor):
    name: ClassVar[str] = "leaving"
    local: ClassVar[bool] = True
    @contextmanager
    def connect(self, job, site):
        at("connect")
        yield Here(site)
        at("close")

class Asked(Study):
    @property
    def axes(self):
        at("axes")
        return super().axes

@hookimpl
def echobench_executors():
    return [Leaving]

@hookimpl
def echobench_studies():
    variants = [Variant(label="a", task="whole", division="closed", sizes={{"units": 1}})]
    return [Asked(name="asked", question="?", variants=variants, backend="jax", seeds=1)]
"""


@pytest.mark.parametrize(
    ("place", "ending"),
    [
        *[("connect", ending) for ending in EXITS],
        *[(place, "raise typer.Exit(0)") for place in ("room", "records")],
        ("start", "raise KeyboardInterrupt"),
        ("axes", "raise typer.Exit(0)"),
    ],
)
def test_an_executor_or_a_study_that_ends_the_process_is_no_success(
    place: str, ending: str, tmp_path: Path, forked: Command
) -> None:
    text = EXECUTOR.format(place=place, ending=ending)
    (tmp_path / "own.py").write_text(text)
    (tmp_path / gone.NAME).write_text(gone.GONE)
    line = text[: text.index(f"        {ending}\n")].count("\n") + 1
    if place == "axes":
        done = forked("study", "asked", "--plugin", "own.py", "--table")
    else:
        done = forked(
            "run", "--plugin", "own.py", "--plugin", gone.NAME, "--executor", "leaving",
            "--backend", "gone", "--task", "whole", "--threads", "1",
        )  # fmt: skip # two lines read better
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    if place == "axes":
        assert last.startswith(f"echobench: {EXITS[ending]} in ")
        assert f"own.py, line {line}, ended the command" in last
    else:
        assert last == (
            f"echobench: executor 'leaving': own.py, line {line}: {EXITS[ending]}; earlier records "
            "are kept, and the same command resumes"
        )
    assert "Traceback" not in done.stderr


def test_what_our_own_verbs_and_typer_end_with_stays(tmp_path: Path, forked: Command) -> None:
    assert forked("run", "--help").returncode == 0
    assert forked("check", "task", "--help").returncode == 0
    done = forked("run", "--no-such-option")
    assert (done.returncode, "No such option" in done.stderr) == (2, True)
    done = forked("check", "task", "whole", "--no-such-option")
    assert (done.returncode, "ended the command" in done.stderr) == (2, False)


@pytest.mark.parametrize(
    "ending",
    ["raise typer.Exit(0)", "raise Unprintable", "raise UnprintableError", "Watching.gone = True"],
)
def test_an_observer_that_cannot_be_named_harms_no_trial(
    ending: str, tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(f"""
import typer
from echobench import Observer, hookimpl
from echobench.errors import UsageError

class Unprintable(BaseException):
    def __str__(self):
        raise SystemExit(0)

class UnprintableError(UsageError):
    __str__ = Unprintable.__str__

class Watching(Observer):
    gone = False
    @property
    def name(self):
        if self.gone:
            raise typer.Exit(0)
        return "watching"
    def trial_started(self, trial, results):
        {ending}
        raise SystemExit(0)
    def __eq__(self, other):
        raise SystemExit(0)

@hookimpl
def echobench_observers():
    return [Watching()]
""")
    (tmp_path / gone.NAME).write_text(gone.GONE)
    done = forked(
        "run", "--plugin", "own.py", "--plugin", gone.NAME, "--backend", "gone", "--task", "whole",
        "--threads", "1", "--observe", "watching",
    )  # fmt: skip # two lines read better
    assert "is left out from here on: " in done.stderr
    assert len([*tmp_path.rglob("*.jsonl")]) > 0
    assert "Traceback" not in done.stderr


def test_what_an_observer_requires_is_its_own_code(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text("""
import typer
from echobench import Observer, hookimpl
class Watching(Observer):
    name = "watching"
    @property
    def requires(self):
        raise typer.Exit(0)
@hookimpl
def echobench_observers():
    return [Watching()]
""")
    done = forked("run", "--plugin", "own.py", "--dry-run", "--observe", "watching")
    assert done.returncode == 2
    assert "own.py, line 8: Exit: 0" in done.stderr
    done = forked("list", "--plugin", "own.py", "--json")
    (row,) = (row for row in json.loads(done.stdout) if row["name"] == "watching")
    assert (done.returncode, row["usable"]) == (0, False)


def test_an_error_that_cannot_be_printed_is_no_success(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(
        BACKEND.format(method="versions", ending="raise Unprintable")
        + "from echobench.errors import UsageError\nclass Unprintable(UsageError):\n"
        "    def __str__(self):\n        sys.exit(0)\n"
    )
    done = forked("run", "--plugin", "own.py", "--backend", "odd", "--task", "whole", "--dry-run")
    assert done.returncode == 2
    assert done.stderr == (
        "echobench: its message cannot be printed, since its __str__ raises an exception itself\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout.buffer.close(); sys.stderr.buffer.close()",
        "sys.stdout = sys.stderr = None",
    ],
)
def test_a_plugin_that_closes_the_streams_silences_nothing(
    text: str, tmp_path: Path, forked: Command
) -> None:
    write(tmp_path / "own.py")
    (tmp_path / "own.py").write_text(f"import sys\n{text}\n" + (tmp_path / "own.py").read_text())
    done = forked("list", "--plugin", "own.py", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "short" in {row["name"] for row in json.loads(done.stdout)}
    done = forked("run", "--plugin", "own.py", "--task", "nothing-like-it")
    assert (done.returncode, "unknown task" in done.stderr) == (2, True)


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
    method: str, tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(UNSURE.format(method=method))
    (file,) = (RESULTS / "studies" / "representation").glob("*.jsonl")
    lines = file.read_text().splitlines()
    line = next(line for line in lines if '"task":"partial"' in line)
    text = line.replace('"task":"partial"', '"task":"exits"')
    (tmp_path / "other.jsonl").write_text(text + "\n")
    done = forked("validate", "other.jsonl", "--plugin", "own.py")
    assert " 1 error" in done.stderr  # the key is another's
    assert "task: unchecked: plugin file '" in done.stdout
    done = forked("table", "--results", str(file.parent), "--plugin", "own.py")
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


def test_a_good_plugin_is_no_broken_one(tmp_path: Path, forked: Command) -> None:
    write(tmp_path / "short.py")
    done = forked("list", "--plugin", "short.py")
    assert (done.returncode, done.stderr) == (0, "")
