"""A signal at any moment: one line, exit code 130, no work left half done."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIELDED = """
import os, signal
from echobench import interrupts
interrupts.catch()
try:
    with interrupts.shielded():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        print("whole")
    print("not reached")
except KeyboardInterrupt:
    # A second one does not cut short what the first began.
    try:
        raise OSError
    except OSError:
        os.kill(os.getpid(), signal.SIGINT)
        with interrupts.shielded():
            os.kill(os.getpid(), signal.SIGINT)
        print("in order")
print("asked once")
"""
DROPPED = """
import os, signal, time
from echobench import interrupts
interrupts.catch()
class Signalled:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
class Broken:
    def __del__(self):
        raise OSError("this is told")
Broken()
try:
    Signalled()
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""
AS_TEXT = """
exec("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
"""
LATE = """
import os, signal
from echobench import cli, interrupts
interrupts.catch()
real = interrupts.ignore
def late():
    os.kill(os.getpid(), signal.SIGTERM)
    real()
interrupts.ignore = late
cli._run = {run}
cli.main()
"""
NOHUP = """
import os, signal
from echobench import interrupts
interrupts.catch()
os.kill(os.getpid(), signal.SIGHUP)
print("outlived")
"""


def test_an_interrupt_waits_for_what_must_be_whole_and_a_second_one_for_the_first() -> None:
    done = subprocess.run([sys.executable, "-c", SHIELDED], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["whole", "in order", "asked once"]
    assert done.stderr == ""


def test_an_interrupt_comes_again_where_python_drops_it() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True)
    assert done.stdout == "interrupted\n"
    assert done.stderr.count("Exception ignored") == 1
    assert done.stderr.endswith("OSError: this is told\n")


def test_an_interrupt_while_a_text_is_run_has_the_exit_code_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "as_text.py").write_text(AS_TEXT)
    command = [sys.executable, "-m", "echobench", "run", "--dry-run", "--plugin", "as_text.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was begun\n")


@pytest.mark.parametrize("run", ["lambda: 0", "lambda: os.kill(os.getpid(), signal.SIGINT)"])
def test_an_interrupt_at_the_very_end_is_one_line_too(run: str) -> None:
    command = [sys.executable, "-c", LATE.format(run=run)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was begun\n")


def test_what_was_started_to_outlive_its_terminal_does() -> None:
    command = ["nohup", sys.executable, "-c", NOHUP]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "outlived\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_a_table_is_printed(number: signal.Signals) -> None:
    # Nobody reads it: it is printed for as long as that.
    command = [sys.executable, "-m", "echobench", "table", "--format", "json"]
    with subprocess.Popen(
        [*command, "--results", str(ROOT / "results" / "speed")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == "["
        process.send_signal(number)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted: nothing was begun\n"


SWALLOWED = """
import os, signal
from echobench import interrupts

interrupts.catch()
try:
    raise KeyboardInterrupt  # a plugin's own
except KeyboardInterrupt as error:
    interrupts.pass_on(error)
    print("contained")
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass  # as a library does that raises its own in place of ours
try:
    raise KeyboardInterrupt
except KeyboardInterrupt as error:
    interrupts.pass_on(error)
    print("lost")
"""


def test_an_interrupt_that_a_library_raises_in_place_of_ours_is_one() -> None:
    command = [sys.executable, "-c", SWALLOWED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "contained\n"
    assert done.returncode == -signal.SIGINT
