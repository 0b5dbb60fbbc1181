"""A plugin that was edited is another one: its trials run again, in a row of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Command

QUICK = Path(__file__).parents[1] / "soak" / "quick.py"
RUN = ("run", "--plugin", "plugins/own.py", "--plugin", str(QUICK), "--backend", "own",
       "--task", "tiny", "--threads", "1", "--quick")  # fmt: skip # as it is typed
OWN = """
from echobench import hookimpl
from tests.soak.quick import Knowing

class Own(Knowing):
    name = "own"

    def trainer(self, program, chunk):
        import helper
        return super().trainer(program, chunk + helper.MORE)

    def environment(self, device, threads):
        {}
        return super().environment(device, threads)

@hookimpl
def echobench_backends():
    return [Own()]
"""


@pytest.fixture
def folder(knowing: None, tmp_path: Path) -> Path:
    """Return a folder with a backend, and the module that it imports when it trains."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "own.py").write_text(OWN.format("pass"))
    (folder / "helper.py").write_text("MORE = 0\n")
    return folder


def test_an_edited_plugin_runs_again_and_is_told_from_what_it_was(
    folder: Path, tmp_path: Path, echobench: Command
) -> None:
    assert echobench(*RUN).returncode == 0
    shutil.copytree(tmp_path / "results", tmp_path / "old")
    (folder / "helper.py").write_text("MORE = 1\n")
    done = echobench(*RUN)
    assert done.returncode == 0
    assert "are done" not in done.stderr

    done = echobench("table", "--quick")
    told = " ".join(done.stdout.split())
    assert "closed: 2 rows, since the backend's source files changed (" in told
    # The newer of two records is in both folders; what only the latter has was run after the edit.
    (new,) = (
        file
        for file in (tmp_path / "results" / "quick").glob("records-*.jsonl")
        if not (tmp_path / "old" / "quick" / file.name).exists()
    )
    done = echobench("compare", "old/quick", str(new), "--metric", "wall_s")
    assert "careful: different backend source: A has own " in done.stderr
    assert "different task source" not in done.stderr

    (folder / "helper.py").write_text("MORE = 0\n")  # and it is what it was
    assert "1 of 1 trial is done" in echobench(*RUN).stderr


def test_a_plugin_edited_while_it_runs_trains_nothing(folder: Path, echobench: Command) -> None:
    # The parent has planned when it asks for the worker's variables.
    edit = "__import__('pathlib').Path(__file__).with_name('helper.py').write_text('MORE = 2')"
    (folder / "own.py").write_text(OWN.format(edit))
    done = echobench(*RUN)
    assert done.returncode == 1
    told = " ".join((done.stdout + done.stderr).split())
    assert "the source of backend own is another here" in told
