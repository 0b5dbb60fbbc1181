"""What a plugin is made of: all that it imports from beside it, and nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from echobench.plugin.manager import Plugins
from echobench.plugin.sources import Sources


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


FILES = {
    "own": "import a\nfrom b import thing\nfrom c import d as e\nimport os, numpy, echobench\n"
    "def later():\n    import f.g\n    if False:\n        import h\n",
    "a": "import own\nimport i\n", "b": "thing = 1", "c/d": "from . import k\nfrom ..up import x",
    "c/k": "", "f/g": "", "f/unused": "", "h": "", "i": "this is no Python", "unused": "",
}  # fmt: skip # in fewer lines it reads better


def test_imports_are_followed_and_what_is_not_imported_is_left_out(tmp_path: Path) -> None:
    sources = Sources(written(tmp_path, FILES) / "own.py")
    assert list(sources.files) == [
        "a.py", "b.py", "c/d.py", "c/k.py", "f/g.py", "h.py", "i.py", "own.py"
    ]  # fmt: skip # one line reads better


@pytest.mark.parametrize("name", ["own", "a", "c/k", "f/g", "h"])
def test_each_of_the_files_counts(name: str, tmp_path: Path) -> None:
    digests = {
        Sources(written(tmp_path / folder, {**FILES, **changes}) / "own.py").digest
        for folder, changes in {
            "here": {},
            "elsewhere": {},
            "idle": {"unused": "x = 1"},
            "edited": {name: FILES[name] + "\n# edited"},
        }.items()
    }
    assert len(digests) == 2


def test_line_ends_are_no_difference(tmp_path: Path) -> None:
    (tmp_path / "unix.py").write_bytes(b"x = 1\ny = 2\n")
    unix = Sources(tmp_path / "unix.py").digest
    (tmp_path / "unix.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    assert Sources(tmp_path / "unix.py").digest == unix


def test_an_installed_plugin_is_of_its_package(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A framework is imported inside functions, and so is what helps with it.
    assert {"backends/torch.py", "backends/_frameworks.py"} < {
        *plugins.backends["torch"].sources.files
    }
    files = {
        "pack/__init__": "",
        "pack/part/__init__": "ours = 1",
        "pack/part/own": "from pack.shared import x\nfrom ..more import y\nimport numpy",
        "pack/shared": "x = 1",
        "pack/more": "y = 1",
        "pack/unused": "",
    }
    written(tmp_path, files)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("pack.part.own")
    sources = Sources.of_module("pack.part.own")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        del sys.modules[name]
    assert list(sources.files) == [
        "__init__.py", "more.py", "part/__init__.py", "part/own.py", "shared.py"
    ]  # fmt: skip # one line reads better


def test_the_sources_of_a_single_module_leave_its_neighbours_in_site_packages_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = written(tmp_path / "site-packages", {"lonely": "import neighbour", "neighbour": ""})
    monkeypatch.syspath_prepend(site)
    __import__("lonely")
    assert list(Sources.of_module("lonely").files) == ["lonely.py"]
    assert Sources.of_module("sys").digest == ""


def test_a_package_comes_before_a_module_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"helper": "N = 1", "helper/__init__": "N = 2", "helper/sub": ""}
    written(tmp_path, {"own": "from helper import N, sub", **both})
    assert list(Sources(tmp_path / "own.py").files) == [
        "helper/__init__.py", "helper/sub.py", "own.py"
    ]  # fmt: skip # one line reads better
    site = {"twice/__init__": "", "twice/own": "from .helper import N"}
    written(tmp_path / "site", {**site, **{f"twice/{name}": text for name, text in both.items()}})
    monkeypatch.syspath_prepend(tmp_path / "site")
    module = importlib.import_module("twice.own")
    assert module.N == 2
    assert "helper/__init__.py" in Sources.of_module("twice.own").files
    assert "helper.py" not in Sources.of_module("twice.own").files


def test_all_that_a_star_may_import_from_a_package_counts(tmp_path: Path) -> None:
    files = {
        "helper/__init__": "__all__ = ['sub', 'deep']",
        "helper/sub": "import more",
        "helper/deep/__init__": "",
        "helper/deep/unseen": "",
        "more": "",
        "unused": "",
    }
    written(tmp_path, {"own": "from helper import *", **files})
    assert list(Sources(tmp_path / "own.py").files) == [
        "helper/__init__.py", "helper/deep/__init__.py", "helper/sub.py", "more.py", "own.py"
    ]  # fmt: skip # one line reads better


@pytest.mark.parametrize("line", ["from pack.helper import N", "from pack import helper"])
def test_a_plugin_file_may_call_its_own_folder_by_the_name_of_its_package(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"pack/__init__": "", "pack/own": line, "pack/helper": "N = 1", "pack/unused": ""}
    own = written(tmp_path / "on_path", files) / "pack" / "own.py"
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert list(Sources(own).files) == ["own.py"]  # the name is nothing's, or another package's
    monkeypatch.syspath_prepend(tmp_path / "on_path")
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert list(Sources(own).files) == ["__init__.py", "helper.py", "own.py"]
