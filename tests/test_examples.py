"""Strangers' distributions, installed with pip in a fresh environment, from end to end."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent / "examples"
Python = Callable[..., str]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Run a module in a fresh environment that sees the heavy packages of this one."""
    folder = tmp_path_factory.mktemp("stranger")
    home = folder / "environment"
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    # Not a bare path: the .pth files in there, such as that of an editable install, count too.
    heavy = sysconfig.get_path("purelib")
    (site / "heavy.pth").write_text(f"import site; site.addsitedir({heavy!r})\n")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(home / "bin" / "python"), "-m", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def install(python: Python, *distributions: Path) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    python("pip", "install", *options, *map(str, distributions))


@pytest.fixture(scope="module")
def examples(python: Python, tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Return `python`, with both examples installed."""
    copies = tmp_path_factory.mktemp("examples")
    names = ("echobench-example-task", "echobench-example-backend")
    for name in names:
        copy(EXAMPLES / name, copies / name)
    install(python, *(copies / name for name in names))
    return python


def copy(source: Path, target: Path) -> None:
    """Copy what is part of a distribution: building one leaves folders in it."""
    for path in source.rglob("*"):
        if path.suffix in {".py", ".toml"} and "build" not in path.parts:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path.read_text())


def test_what_strangers_wrote_is_listed(examples: Python) -> None:
    rows = {
        (row["kind"], row["name"]): row
        for row in json.loads(examples("echobench", "list", "--json"))
    }
    assert rows["task", "newest-first"]["from"] == "echobench-example-task"
    assert rows["backend", "jax-stepwise"]["from"] == "echobench-example-backend"
    assert rows["backend", "jax-stepwise"]["usable"]
    assert not [row for row in rows.values() if row["kind"] == "broken plugin"]


def test_a_strangers_task_keeps_the_rules_on_a_strangers_backend(examples: Python) -> None:
    arguments = ("check", "task", "newest-first", "--backend", "jax-stepwise", "--json")
    findings = json.loads(examples("echobench", *arguments))
    assert {finding["status"] for finding in findings} == {"passed"}


def test_a_strangers_task_is_learnt_on_a_strangers_backend(examples: Python) -> None:
    examples("echobench", "run", "--task", "newest-first", "--backend", "jax-stepwise")
    (row,) = json.loads(examples("echobench", "table", "--format", "json"))
    assert (row["task"], row["backend"], row["status"]) == (
        "newest-first",
        "jax-stepwise",
        "reached",
    )


def test_a_new_task_installs_and_passes_its_own_tests(python: Python, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    python("echobench", "new", "task", "my-own", "--directory", str(folder))
    install(python, folder)
    rows = json.loads(python("echobench", "list", "--json"))
    (row,) = (row for row in rows if row["name"] == "my-own")
    assert (row["kind"], row["from"]) == ("task", "echobench-my-own")
    python("pytest", "-q", "-p", "no:cacheprovider", str(folder))
