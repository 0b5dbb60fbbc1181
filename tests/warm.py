"""A process that has imported the command line, and forks one process for each command.

Most of a short command's time goes into imports, which are the same for all. What a command itself
does is done as by `python -m echobench`, in a process of its own: its folder, environment, streams
and exit code are real. What is about a start, a stream or a signal is tested with a real start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

SERVER = """
import json, os, runpy, signal, sys

from echobench import cli, flow  # what most commands import
from echobench.present import outlook, progress, terminal

first = len(os.environ.get("PYTHONPATH", "").split(os.pathsep))
for line in sys.stdin.buffer:
    asked = json.loads(line)
    if asked["arguments"][0] in ("compare", "table"):
        import scipy.stats
        from echobench.analysis import comparison, footnotes, gate, table  # with pandas
    child = os.fork()
    if not child:
        break
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    sys.exit()
for number, name in enumerate([os.devnull, *asked["streams"]]):
    opened = os.open(name, os.O_WRONLY if number else os.O_RDONLY)
    os.dup2(opened, number)
    os.close(opened)
os.chdir(asked["folder"])
os.environ.clear()
os.environ.update(asked["environment"])
searched = os.environ.get("PYTHONPATH", "").split(os.pathsep)
sys.path[: 1 + first] = [asked["folder"], *searched]
sys.argv[1:] = asked["arguments"]
runpy.run_module("echobench", run_name="__main__", alter_sys=True)
"""


class Warm:
    """The process; `run` has it run a command."""

    def __init__(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill the process and the command that it runs, if any."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process."""
        with self._process:
            self.kill()

    def run(
        self, *arguments: str, folder: Path, timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Run echobench in a folder, with this process's environment."""
        if self._process.poll() is not None:  # an earlier command took too long
            self.close()
            self._process = self._started()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            streams = (out, err)
            asked = {
                "arguments": arguments,
                "folder": str(folder),
                "environment": {**os.environ},
                "streams": [stream.name for stream in streams],
            }
            timer = threading.Timer(timeout, self.kill)
            timer.daemon = True
            timer.start()
            try:
                print(json.dumps(asked), file=self._process.stdin, flush=True)
                code = self._process.stdout.readline()
            finally:
                timer.cancel()
            assert code, "the process that runs commands has ended"
            written = (stream.read().decode() for stream in streams)
            return subprocess.CompletedProcess(arguments, int(code), *written)


@contextlib.contextmanager
def warm() -> Iterator[Warm]:
    """Return the process, which ends with the block."""
    process = Warm()
    try:
        yield process
    finally:
        process.close()
