"""docs/architecture.md says which files a trial goes through: a real run is watched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from echobench.harness.plan import Selection, plan
from echobench.harness.references import References
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import PARITY_UPDATES, Reference
from tests.soak.harness import PLUGIN

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
MOST_FILES = 13

WATCHED = r"""
import os, subprocess, sys, traceback

calls = {}

def watch(module, name):
    original = getattr(module, name)
    def call(*arguments, **options):
        calls[name] = [frame.filename for frame in traceback.extract_stack()]
        return original(*arguments, **options)
    setattr(module, name, call)

from echobench.cli import app
from echobench.harness import plan, validation

# Here a trial is planned, its worker started, its result made a record, its line synced.
watch(plan, "_trial")
watch(subprocess, "Popen")
watch(validation, "validated")
watch(os, "fsync")
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
with open("worker") as file:
    trained = file.read().splitlines()
stages = (calls["_trial"], calls["Popen"], trained, calls["validated"], calls["fsync"])
print("FILES", *(file for stage in stages for file in stage), sep="\n")
"""
IN_THE_WORKER = """

class Watched(Knowing):
    name: ClassVar[str] = "watched"

    def program(self, task: Task, recipe: Recipe) -> Any:
        import traceback

        with open({file!r}, "w") as file:
            file.write("\\n".join(frame.filename for frame in traceback.extract_stack()))
        return super().program(task, recipe)


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Watched()]
"""


def files_on_the_way(folder: Path) -> list[str]:
    """Return our files on the call stacks of a trial's way, in order of their first call."""
    plugin = folder / "watched.py"
    text, _, _ = PLUGIN.read_text().partition("\n\n@hookimpl\ndef echobench_backends")
    plugin.write_text(text + IN_THE_WORKER.format(file=str(folder / "worker")))
    selection = Selection(tasks=["tiny"], backends=["watched"], threads=1)
    plugins = Plugins([plugin])
    (trial,) = plan(selection, plugins)
    reference = References(plugins, Store(folder / "results")).path(trial)
    assert reference is not None
    reference.parent.mkdir(parents=True)
    losses = [1.0] * PARITY_UPDATES
    reference.write_text(Reference(name="ones", losses=losses).model_dump_json())
    command = ["run", "--task", "tiny", "--backend", "watched", "--threads", "1", "--unchecked"]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command, "--plugin", str(plugin)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "certified 100%" in done.stderr
    _, _, listed = done.stdout.partition("FILES\n")
    ours = {str(ROOT / name) for name in ("echobench", "plugins")}
    paths = [Path(line) for line in dict.fromkeys(listed.splitlines())]
    entry = ROOT / "echobench" / "cli" / "__init__.py"  # it calls the verb, whichever it is
    found = [path for path in paths if any(map(path.is_relative_to, ours)) and path != entry]
    return [path.relative_to(ROOT).as_posix() for path in found]


def test_a_trial_goes_through_the_files_that_are_listed(tmp_path: Path) -> None:
    listed = re.findall(r"^\d+\. `([\w/]+\.py)`", PAGE, re.MULTILINE)
    assert files_on_the_way(tmp_path) == listed
    assert len(listed) <= MOST_FILES


def test_every_room_is_described() -> None:
    rooms = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "echobench").iterdir()
        if not path.name.startswith(("_", ".")) and (path.suffix == ".py" or path.is_dir())
    }
    assert set(re.findall(r"`([\w.]+/?)`", PAGE.partition("## The flow")[0])) >= rooms
