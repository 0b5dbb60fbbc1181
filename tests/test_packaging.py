"""The wheel, installed in a fresh environment outside the checkout, is whole."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent

SCRIPT = """
import importlib.metadata, json, pathlib, sys
import echobench
points = importlib.metadata.entry_points(group="echobench")
assert "site-packages" in echobench.__file__, echobench.__file__
names = [point.name for point in points if point.load()]
assert (pathlib.Path(echobench.__file__).parent / "py.typed").exists()
print(json.dumps(names))
"""


def test_every_package_is_named() -> None:
    # A wheel would leave out one that is not; an editable install would not show it.
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = [*ROOT.glob("echobench/**/__init__.py"), *ROOT.glob("plugins/**/__init__.py")]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    assert set(named) == {name.replace("plugins", "echobench_plugins", 1) for name in packages}


def test_the_wheel_brings_every_entry_point(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    # The base install without its heavy half: loading plugins needs no framework.
    names = "msgspec pluggy pydantic numpy typer rich psutil threadpoolctl"
    light = names.split()
    constraints = str(ROOT / "constraints.txt")
    pip = [python, "-m", "pip", "install", "--quiet", "-c", constraints]
    subprocess.run([*pip, *light], check=True, capture_output=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, capture_output=True)
    done = subprocess.run(
        [python, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(json.loads(done.stdout)) == set(project["entry-points"]["echobench"])
    listed = subprocess.run(
        [str(home / "bin" / "echobench"), "list", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tensorflow not installed" in listed.stdout
