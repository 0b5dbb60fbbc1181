"""What several tests use: the real command, and the plugins as users load them."""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings

from echobench.analysis import costs
from echobench.harness import estimate
from echobench.machine.cores import SCOPE
from echobench.plugin.manager import Plugins
from tests.warm import Warm, warm

# Nothing is timed in tests: on a machine that others load, any example may take a while.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure() -> None:
    """Let the commands that tests start take SIGHUP, also where `nohup` has it ignored.

    A process hands on that it ignores a signal; one that it handles is the default again.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no core is left with it at the end."""
    if not config.pluginmanager.hasplugin("randomly"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_exception_interact(call: pytest.CallInfo[object]) -> None:
    """End the processes that a failed test holds: their remains would fail tests after it."""
    assert call.excinfo is not None
    for entry in call.excinfo.traceback:
        for held in entry.frame.f_locals.values():
            if isinstance(held, subprocess.Popen) and held.poll() is None:
                with held:  # closes its pipes, too
                    held.kill()


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return Plugins()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the temporary folder of this process: an empty one, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of pytest share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


XLA = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
"""Flags of XLA, each of which halves the time to compile."""
SITE = """
import os
import sys

for name, value in {variables!r}.items():
    os.environ.setdefault(name, value)
if {optimized!r} not in sys.path:
    os.environ.setdefault("XLA_FLAGS", {xla!r})
if "COVERAGE_PROCESS_CONFIG" in os.environ:
    import coverage

    coverage.process_startup()
if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow" and {beside!r} not in sys.path:
    sys.modules["tensorflow"] = None
if {without!r} in sys.path:
    sys.modules["jax"] = None
"""


def known_to_xla(flag: str) -> bool:
    """Return whether JAX has a flag: XLA ends a process that is given one it does not know."""
    found = importlib.util.find_spec("jaxlib")
    assert found is not None
    name = flag.removeprefix("--").partition("=")[0].encode()
    for folder in found.submodule_search_locations or ():
        for path in Path(folder).glob("*.so"):
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
                if held.find(name) >= 0:
                    return True
    return False


@pytest.fixture(scope="session", autouse=True)
def compiled(shared: Path) -> None:
    """Let every process start and compile sooner; what it computes stays the same.

    JAX keeps what it compiles from process to process, and XLA does not optimize, which takes
    longer than the small programs of tests run for. On other backends TensorFlow is hidden from
    Keras, as where it is not installed: Keras imports it whenever a network is saved or loaded,
    which takes seconds.

    Where Python is told to keep no bytecode, commands would compile echobench itself each time;
    workers do not hear of that.

    A worker inherits next to nothing, but Python runs `sitecustomize` wherever it starts.
    What sets such a variable itself keeps its own, as `--cache` does. Under `make coverage`
    every process is measured by the same road.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ[SCOPE] = str(os.getpid())  # tests side by side do not wait for each other's cores
    variables = {
        "JAX_COMPILATION_CACHE_DIR": str(shared / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        variables["COVERAGE_PROCESS_CONFIG"] = os.environ["COVERAGE_PROCESS_CONFIG"]
    site = shared / "site"
    switches = {name: str(site / name) for name in ("beside", "optimized", "without")}
    for folder in switches.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    text = SITE.format(variables=variables, xla=" ".join(filter(known_to_xla, XLA)), **switches)
    written_at_once(site / "sitecustomize.py", text)
    os.environ["PYTHONPATH"] = paths(site, os.environ.get("PYTHONPATH", ""))


@pytest.fixture(scope="module")
def optimized(compiled: None, shared: Path) -> Iterator[None]:
    """Let XLA optimize, for tests in which it matters how long a program runs."""
    with pytest.MonkeyPatch.context() as patch:
        optimize(patch, shared)
        yield


@pytest.fixture
def optimizing(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let XLA optimize in one test of a file."""
    optimize(monkeypatch, shared)


def optimize(patch: pytest.MonkeyPatch, shared: Path) -> None:
    folder = shared / "site" / "optimized"
    patch.setenv("PYTHONPATH", paths(folder, os.environ["PYTHONPATH"]))


@pytest.fixture
def tensorflow_beside(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Keras on other backends see TensorFlow, as where all backends are installed."""
    monkeypatch.setenv("PYTHONPATH", paths(shared / "site" / "beside", os.environ["PYTHONPATH"]))


@pytest.fixture
def knowing(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test's plugins import `tests.soak.quick`, and hide JAX, as where it is not installed.

    Then nothing is the reference: trials of a backend without a framework take a moment, for
    tests of what is around a trial.
    """
    folders = (shared / "site" / "without", Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", paths(*folders, os.environ["PYTHONPATH"]))


def paths(*each: Path | str) -> str:
    return os.pathsep.join(str(path) for path in each if str(path))


def written_at_once(path: Path, text: str) -> None:
    """Write a file of which nobody sees a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


@pytest.fixture(scope="session")
def references(shared: Path) -> Path:
    """Return a folder for the parity gate's references, which all workers share."""
    folder = shared / "references"
    folder.mkdir(exist_ok=True)
    return folder


def copied(source: Path, target: Path) -> None:
    """Bring files that are not there yet; others may do the same at the same time."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.json"):
        if not (target / file.name).exists():
            beside = target / f".{file.name}.{os.getpid()}"
            shutil.copy(file, beside)
            beside.replace(target / file.name)


@pytest.fixture
def echobench(tmp_path: Path, references: Path) -> Command:
    """Run the real command line in an empty folder.

    A reference is found out once: `run` keeps it beside the records by its cell, and finds it
    there, as it would in a folder that has been used before.
    """

    def run(*arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        kept = tmp_path / "results" / ("quick" if "--quick" in arguments else "") / "reference"
        if arguments[0] == "run" and not {"--dry-run", "--list"} & {*arguments}:
            copied(references, kept)
        done = started(*arguments, timeout=timeout)
        if kept.is_dir():
            copied(kept, references)
        return done

    def started(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "echobench", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def _warm(compiled: None) -> Iterator[Warm]:
    with warm() as process:
        yield process


@pytest.fixture
def forked(tmp_path: Path, _warm: Warm) -> Command:
    """Run the command line in an empty folder, without the time of its imports: see `Warm`.

    `tests.times` counts what the commands of a file take for the last of its tests.
    """

    def run(*arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return _warm.run(*arguments, folder=tmp_path, timeout=timeout)

    return run


@pytest.fixture
def rows(echobench: Command) -> Callable[..., list[dict[str, Any]]]:
    """Return the table's rows, as a script reads them."""

    def read(*arguments: str) -> list[dict[str, Any]]:
        done = echobench("table", "--format", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return read


@pytest.fixture
def without_asides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what the committed records' jobs took beside their trials: records here say it."""
    known = msgspec.structs.replace(costs.shipped(), asides={})
    monkeypatch.setattr(estimate, "shipped", lambda: known)
