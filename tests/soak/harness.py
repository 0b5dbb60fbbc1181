"""A harness with quick trials, to be killed and watched: its command, its folder, what is left.

The trials are real: a worker process each, with its guard, its log and its record. Only the
backend (`quick.py`) learns nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil

from echobench.harness.plan import Selection, plan
from echobench.harness.process import MODULE
from echobench.harness.references import References
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.trial.job import PARITY_UPDATES, Reference
from echobench.trial.trial import Trial

PLUGIN = Path(__file__).with_name("quick.py")
MARK = "ECHOBENCH_SOAK"
"""A variable of the harness' environment."""


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker of a trial, or its guard."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it was another child, and has ended
        return MODULE in process.cmdline()
    return False


class Harness:
    """A plan, the folder of its records, and the command that works through it.

    Args:
        folder: for all of it; the records are in `results/`, temporary files in `tmp/`.
        seeds: trials of the plan.
        task: which, of `quick.py`.
    """

    def __init__(self, folder: Path, seeds: int, task: str = "tiny") -> None:
        self.results, self.temporary = folder / "results", folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._arguments = ["--backend", "knowing", "--task", task, "--threads", "1",
                           "--seeds", str(seeds), "--forks", str(seeds),
                           "--unchecked"]  # fmt: skip # as it is typed
        selection = Selection(backends=["knowing"], tasks=[task], threads=1, seeds=seeds)
        plugins = Plugins([PLUGIN])
        self.trials: list[Trial] = plan(selection, plugins)
        path = References(plugins, Store(self.results)).path(self.trials[0])
        assert path is not None  # the base install has the reference's backend
        path.parent.mkdir(parents=True, exist_ok=True)
        losses = [1.0] * PARITY_UPDATES
        path.write_text(Reference(name="ones", losses=losses).model_dump_json())

    @property
    def command(self) -> list[str]:
        """The command that works through the plan."""
        # Not the current folder's modules, as the command `echobench`.
        command = [sys.executable, "-P", "-m", "echobench", "run", *self._arguments]
        return [*command, "--plugin", str(PLUGIN), "--results", str(self.results)]

    def start(self, *more: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start the command in a process group of its own.

        Args:
            more: further arguments.
            output: what takes its standard output and error.
        """
        return subprocess.Popen(
            [*self.command, *more],
            stdout=output,
            stderr=subprocess.STDOUT if output != subprocess.PIPE else output,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary), MARK: str(self.results)},
            start_new_session=True,
        )

    def records(self) -> tuple[Counter[str], list[str]]:
        """Return how often each trial is recorded as reached, and the lines that are damaged.

        They are read as JSON, without what echobench reads them with.
        """
        found: Counter[str] = Counter()
        damaged = []
        for path in sorted(self.results.glob("records-*.jsonl")):
            for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
                if not line:
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    damaged.append(f"{path}:{number}")
                    continue
                if record["status"] == "reached" and record["parity"]["passed"]:
                    found[record["key"]] += 1
                else:
                    damaged.append(f"{path}:{number}: {record['status']} {record['reason']}")
        return found, damaged

    def processes(self) -> list[psutil.Process]:
        """Return what runs of all that was ever started here: harnesses, guards and workers."""
        found = []
        for process in psutil.process_iter():
            try:
                told = process.environ()
                ours = str(self.temporary) in told.get("TMPDIR", "")
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue  # it has ended, or is not ours to see
        return found

    def leftovers(self) -> list[Path]:
        """Return what lies in the temporary folder, and beside the records half written."""
        hidden = [path for path in self.results.rglob(".*") if path.name != ".claims"]
        return [*self.temporary.iterdir(), *hidden]
