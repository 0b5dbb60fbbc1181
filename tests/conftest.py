"""What several tests use: the real command, and the plugins as users load them."""

from __future__ import annotations

import json
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


@pytest.fixture
def echobench(tmp_path: Path) -> Command:
    """Run the real command line in an empty folder."""

    def run(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
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
