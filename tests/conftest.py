"""What several tests use: the real command, and the plugins as users load them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echobench.plugins import Plugins

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return Plugins()


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the parity gate's references, which all workers share."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = root / "references"
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

    def run(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        kept = tmp_path / "results" / ("quick" if "--quick" in arguments else "") / "reference"
        if arguments[0] == "run" and "--dry-run" not in arguments:
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


@pytest.fixture
def rows(echobench: Command) -> Callable[..., list[dict[str, Any]]]:
    """Return the table's rows, as a script reads them."""

    def read(*arguments: str) -> list[dict[str, Any]]:
        done = echobench("table", "--format", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return read
