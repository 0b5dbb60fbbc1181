"""Plugin files: each with modules of its own, and those beside it."""

from __future__ import annotations

import os
import pickle
import py_compile
import sys
from pathlib import Path

import pytest

from echobench.errors import PluginError
from echobench.plugin.manager import Plugins

TASK = """
from typing import ClassVar
import random
import {helper}
from echobench import EchoTask, Recipe, hookimpl

class Mine(EchoTask):
    "Echo, with help."
    name: ClassVar[str] = "{name}"
    recipes: ClassVar[dict] = {{"closed": Recipe(units=8, batch=7, epochs=1, evaluate_every=1)}}
    told: ClassVar[object] = {helper}.TOLD

    def help(self):
        from {helper} import deep
        import {helper}.deep as again
        assert again is deep
        return deep.TOLD, random.random()

@hookimpl
def echobench_tasks():
    return [Mine]
"""


def laid_down(folder: Path, name: str, told: str, file: str = "mine.py") -> Path:
    """Write a plugin that imports a package beside it, which imports a module beside that."""
    package = folder / "helper"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("import constants\nTOLD = constants.TOLD\n")
    (package / "deep.py").write_text("from . import TOLD\n")
    (folder / "constants.py").write_text(f"TOLD = {told!r}\n")
    (folder / file).write_text(TASK.format(name=name, helper="helper"))
    return folder / file


def test_two_files_of_one_stem_are_two_plugins_with_helpers_of_their_own(tmp_path: Path) -> None:
    files = [laid_down(tmp_path / name, name, name) for name in ("a", "b")]
    plugins = Plugins(files)
    kinds = [plugins.tasks[name].value for name in ("a", "b")]
    assert [kind.told for kind in kinds] == ["a", "b"]  # type: ignore[attr-defined]
    assert [kind().help()[0] for kind in kinds] == ["a", "b"]  # type: ignore[attr-defined]
    assert kinds[0]().source_hash() != kinds[1]().source_hash()
    assert plugins.tasks["a"].digest() != plugins.tasks["b"].digest()
    assert "helper" not in sys.modules
    for kind in kinds:
        assert pickle.loads(pickle.dumps(kind)) is kind  # noqa: S301 # what was just made here


def test_a_file_beside_is_nobodys_standard_library_or_installed_module(tmp_path: Path) -> None:
    file = laid_down(tmp_path, "mine", "ours")
    for name in ("random", "numpy", "echobench"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this one')\n")
    plugins = Plugins([file])
    assert 0 <= plugins.tasks["mine"].value().help()[1] < 1  # type: ignore[attr-defined]
    assert str(tmp_path) not in sys.path
    assert {*plugins.tasks["mine"].sources.files} == {
        "mine.py", "constants.py", "helper/__init__.py", "helper/deep.py"
    }  # fmt: skip # one line reads better


def test_a_helper_beside_comes_before_one_that_lies_loose_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = tmp_path / "loose"
    laid_down(loose, "loose", "loose")
    monkeypatch.syspath_prepend(loose)  # as Python does with the current folder
    monkeypatch.chdir(loose)
    kind = Plugins([laid_down(tmp_path / "a", "mine", "a")]).tasks["mine"].value
    assert kind.told == "a"  # type: ignore[attr-defined]


def test_a_file_given_twice_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = laid_down(tmp_path / "a", "mine", "a")
    (tmp_path / "link.py").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    spellings = [file, file, Path("a/mine.py"), Path("a/../a/mine.py"), Path("link.py")]
    plugins = Plugins(spellings)
    assert plugins.tasks["mine"].plugin == f"file:{file}"
    assert Plugins([file]).tasks["mine"].value is plugins.tasks["mine"].value


def test_a_file_of_an_installed_plugin_is_that_plugin(plugins: Plugins) -> None:
    module = plugins.tasks["copy"].sources.module
    assert module is not None
    assert Plugins([module]).tasks["copy"].plugin == "copy"


def test_a_file_is_loaded_again_once_it_or_a_module_beside_was_edited(tmp_path: Path) -> None:
    before = Plugins([laid_down(tmp_path, "mine", "before")]).tasks["mine"]
    (tmp_path / "constants.py").write_text("TOLD = 'after'\n")
    after = Plugins([tmp_path / "mine.py"]).tasks["mine"]
    assert (before.value.told, after.value.told) == ("before", "after")  # type: ignore[attr-defined]
    assert before.digest() != after.digest()


@pytest.mark.parametrize("name", ["my-task.py", "my.task.py", "1st.py", "torch.py"])
def test_a_file_may_have_any_name(name: str, tmp_path: Path) -> None:
    plugins = Plugins([laid_down(tmp_path, "mine", "a", name)])
    assert plugins.tasks["mine"].value().help()[0] == "a"  # type: ignore[attr-defined]


def test_a_helper_that_fails_breaks_its_file_alone(tmp_path: Path) -> None:
    file = laid_down(tmp_path, "mine", "a")
    (tmp_path / "constants.py").write_text("import nothing_like_it\n")
    with pytest.raises(PluginError, match=r"mine\.py.*No module named 'nothing_like_it'"):
        Plugins([file])
    (tmp_path / "constants.py").write_text("TOLD = 'mended'\n")
    assert Plugins([file]).tasks["mine"].value.told == "mended"  # type: ignore[attr-defined]


def test_bytecode_of_another_file_of_the_same_size_and_time_is_not_run(tmp_path: Path) -> None:
    file = laid_down(tmp_path, "mine", "one")
    helper = tmp_path / "constants.py"
    py_compile.compile(str(helper))  # as an import by anything else leaves it
    before = helper.stat()
    first = Plugins([file]).tasks["mine"]
    helper.write_text(helper.read_text().replace("one", "two"))
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = Plugins([file]).tasks["mine"]
    assert helper.stat().st_size == before.st_size
    assert first.digest() != second.digest()
    assert [first.value.told, second.value.told] == ["one", "two"]  # type: ignore[attr-defined]
    assert not (tmp_path / "helper" / "__pycache__").exists()


def test_the_package_that_python_takes_is_the_one_that_counts(tmp_path: Path) -> None:
    file = laid_down(tmp_path, "mine", "package")
    (tmp_path / "helper.py").write_text("TOLD = 'module'\n")
    mine = Plugins([file]).tasks["mine"]
    assert mine.value.told == "package"  # type: ignore[attr-defined]
    assert "helper.py" not in mine.sources.files
    assert "helper/__init__.py" in mine.sources.files
