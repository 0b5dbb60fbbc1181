"""Plugins: found, contained when broken, refused when they clash."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from echobench.errors import PluginError, UnknownNameError
from echobench.plugin.manager import Plugins

TASK = """
from typing import ClassVar
from echobench import EchoTask, Recipe, hookimpl

class Short(EchoTask):
    "Echo three of three."
    n_in: int = 3
    n_out: int = 3
    name: ClassVar[str] = "{name}"
    recipes: ClassVar[dict] = {{"closed": Recipe(units=8, batch=23, epochs=2, evaluate_every=1)}}

    def network(self, form, units):
        from echobench import sequence_to_sequence
        return sequence_to_sequence(form, self.n_in, self.symbols, units)

@hookimpl
def {hook}():
    return [Short]
"""

OWN_JUDGE = """
from echobench import NativeBackend, hookimpl

class Own(NativeBackend):
    name = "own"
    requires = ("numpy",)
    reference = True

    def __getattr__(self, name):
        raise NotImplementedError

@hookimpl
def echobench_backends():
    Own.__abstractmethods__ = frozenset()
    return [Own()]
"""


def write(path: Path, name: str = "short", hook: str = "echobench_tasks") -> Path:
    path.write_text(TASK.format(name=name, hook=hook))
    return path


def install(folder: Path, distribution: str, module: str, text: str) -> None:
    """Lay down what pip would: a module, and metadata with an entry point."""
    sys.modules.pop(module, None)  # another test's
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[echobench]\n{module} = {module}\n")


def test_first_party_plugins_come_through_entry_points(plugins: Plugins) -> None:
    names = {e.name for e in importlib.metadata.entry_points(group="echobench")}
    assert {"whole", "partial", "jax", "tensorflow", "torch"} <= names
    assert plugins.tasks["whole"].distribution == "echobench"
    assert plugins.broken == []


def test_a_file_is_a_plugin(tmp_path: Path) -> None:
    plugins = Plugins([write(tmp_path / "short.py")])
    provided = plugins.tasks["short"]
    assert provided.plugin == f"file:{tmp_path / 'short.py'}"
    assert provided.value().framing.samples == 23


def test_only_the_named_plugins_are_loaded() -> None:
    plugins = Plugins(only=["whole", "torch"])
    assert list(plugins.tasks) == ["whole"]
    assert list(plugins.backends) == ["torch"]


def test_a_misspelled_hook_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "short.py", hook="echobench_taskz")
    with pytest.raises(PluginError, match=r"unknown hook.*echobench_taskz.*known: .*_tasks"):
        Plugins([path])


def test_a_name_taken_is_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path, "stranger", "stranger_whole", TASK.format(name="whole", hook="echobench_tasks")
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="two plugins provide the task 'whole'") as caught:
        Plugins()
    assert "of stranger" in str(caught.value)
    assert "of echobench" in str(caught.value)


def test_a_second_reference_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_JUDGE)
    with pytest.raises(PluginError, match=r"'jax' of .* and 'own' of .* only one judges"):
        Plugins([tmp_path / "own.py"])


def test_a_broken_plugin_hurts_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "bad", "bad_plugin", "raise RuntimeError('no\\nluck')")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins()
    (broken,) = plugins.broken
    assert (broken.plugin, broken.distribution) == ("bad_plugin", "bad")
    assert broken.reason == "RuntimeError: no luck"
    assert "whole" in plugins.tasks


def test_a_hook_that_raises_hurts_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TASK.format(name="short", hook="echobench_tasks")
    text += "\n@hookimpl\ndef echobench_backends():\n    raise RuntimeError('no luck')\n"
    install(tmp_path, "bad", "bad_plugin", text)
    install(tmp_path, "good", "good_plugin", TASK.format(name="long", hook="echobench_tasks"))
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins()
    assert [(b.plugin, b.reason) for b in plugins.broken] == [
        ("bad_plugin", "RuntimeError: no luck")
    ]
    assert "short" not in plugins.tasks  # a plugin is whole or broken
    assert plugins.tasks["long"].distribution == "good"
    assert {"whole", "partial"} <= set(plugins.tasks)


def test_a_hook_with_arguments_that_it_does_not_have_hurts_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TASK.format(name="short", hook="echobench_tasks").replace("tasks():", "tasks(backend):")
    install(tmp_path, "bad", "bad_plugin", text)
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins()
    (broken,) = plugins.broken
    assert "PluginValidationError" in broken.reason
    assert "whole" in plugins.tasks


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("echobench_taskz", r"plugin 'bad_plugin' implements an unknown hook.*echobench_taskz"),
        ("echobench_backends", r"plugin 'bad_plugin': expected Backend instances; received"),
    ],
)
def test_a_wrong_hook_is_an_error_that_names_the_plugin(
    hook: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "bad", "bad_plugin", TASK.format(name="short", hook=hook))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=message):
        Plugins()


def test_distributions_may_name_their_plugins_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        install(folder, name, f"{name}_plugin", TASK.format(name=name, hook="echobench_tasks"))
        (folder / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(
            f"[echobench]\nmine = {name}_plugin\n"
        )
        monkeypatch.syspath_prepend(folder)
    plugins = Plugins(only=["mine"])
    assert {name: task.distribution for name, task in plugins.tasks.items()} == {
        "one": "one",
        "two": "two",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", "SyntaxError"),
        ("x = 1", "provides nothing"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_is_no_plugin(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=message):
        Plugins([path])


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"expected an existing \.py file"):
        Plugins([tmp_path / "absent.py"])


def test_unknown_names_suggest_the_nearest(plugins: Plugins) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tensorflow'"):
        plugins.backends["tensorfow"]
