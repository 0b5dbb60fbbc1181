"""What `echobench new` writes is installed with pip in a fresh environment, and works."""

from __future__ import annotations

import ast
import json
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from echobench.plugin.scaffold import KINDS, Kind, rendered

pytestmark = pytest.mark.slow

SMALL = "my-task[symbols=10,length=12,units=20,batch=4,sequences=3]"
Python = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("new")


@pytest.fixture(scope="module")
def python(folder: Path) -> Python:
    """Run a module in a fresh environment, in which a plugin of each kind is installed.

    It sees the heavy packages of this one.
    """
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
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    for kind in KINDS:
        run("echobench", "new", kind, f"my-{kind}")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run("pip", "install", *options, *(f"./echobench-my-{kind}" for kind in KINDS))
    return run


def test_each_new_plugin_is_listed(python: Python) -> None:
    rows = {row["name"]: row for row in json.loads(python("echobench", "list", "--json"))}
    for kind in KINDS:
        row = rows[f"my-{kind}"]
        listed = "backend" if kind == "peer" else kind
        assert (row["kind"], row["from"]) == (listed, f"echobench-my-{kind}")
    assert not [row for row in rows.values() if row["kind"] == "broken plugin"]


def test_each_new_plugin_passes_its_own_tests(python: Python) -> None:
    folders = [f"echobench-my-{kind}" for kind in KINDS]
    told = python("pytest", "-q", "-rp", "--rootdir", ".", "-p", "no:cacheprovider", *folders)
    passed = {line.split("/")[0] for line in told.splitlines() if line.startswith("PASSED ")}
    assert passed == {f"PASSED {folder}" for folder in folders}


def test_the_new_plugins_work_together(python: Python, folder: Path) -> None:
    python(
        "echobench", "run", "--task", SMALL, "--backend", "my-backend",
        "--executor", "my-executor", "--observe", "my-observer",
    )  # fmt: skip # as it is typed
    (row,) = json.loads(python("echobench", "table", "--format", "json"))
    assert (row["task"], row["backend"], row["status"]) == (SMALL, "my-backend", "reached")
    (line,) = (folder / "results" / "my-observer.txt").read_text().splitlines()
    assert line.startswith(f"{SMALL} my-backend fused open seed 0 reached ")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["recipe", "true", "backend", "echo-task", "numpy"])
def test_a_class_has_a_name_of_its_own(name: str, kind: Kind) -> None:
    text = rendered(kind, name)[f"src/echobench_{name.replace('-', '_')}/{kind.name}.py"]
    tree = ast.parse(text)
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert len({*classes}) == len(classes)
    assert not imported & {*classes}
