"""Plugins: found, contained when broken, refused when they clash."""

from __future__ import annotations

import importlib.metadata
import re
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
    with pytest.raises(
        PluginError,
        match=r"short\.py': short\.py, line 16: unknown hook 'echobench_taskz'.*'echobench_tasks'",
    ):
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
    assert broken.reason == "bad_plugin.py, line 1: RuntimeError: no luck"
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
        ("bad_plugin", "bad_plugin.py, line 22: RuntimeError: no luck")
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
    assert broken.reason == (
        "bad_plugin.py, line 16: expected `def echobench_tasks()`, without arguments; received "
        "`def echobench_tasks(backend)`"
    )
    assert "whole" in plugins.tasks


TASKS = "\n@hookimpl\ndef echobench_tasks():\n    return {}\n"
WITH_REFERENCE = OWN_JUDGE.replace(
    "    reference = True", "    @property\n    def reference(self):\n        raise SystemExit(0)"
)
SHORT = TASK.format(name="short", hook="echobench_tasks").partition("\n@hookimpl")[0]
UNPRINTABLE = """
class Unprintable(Exception):
    def __str__(self):
        raise SystemExit(0)
    __repr__ = __str__
"""
WRONG = {
    "misspelt": (
        TASK.format(name="short", hook="echobench_taskz"),
        "wrong.py, line 16: unknown hook 'echobench_taskz'; did you mean 'echobench_tasks'?",
    ),
    "another type": (
        TASK.format(name="short", hook="echobench_backends"),
        "wrong.py, line 16: echobench_backends: expected a list of Backend instances; received one "
        "with the class Short in it",
    ),
    "a text": (
        SHORT + TASKS.format("'abc'"),
        "wrong.py, line 16: echobench_tasks: expected a list of Task classes; received 'abc'",
    ),
    "a class": (
        SHORT + TASKS.format("Short"),
        "wrong.py, line 16: echobench_tasks: expected a list of Task classes; received the class "
        "Short",
    ),
    "an instance": (
        SHORT + TASKS.format("Short()"),
        "wrong.py, line 16: echobench_tasks: expected a list of Task classes; received Short(",
    ),
    "a generator that exits": (
        SHORT + "\n@hookimpl\ndef echobench_tasks():\n    yield Short\n    raise SystemExit(0)\n",
        "wrong.py, line 19: it ended the process with sys.exit(0)",
    ),
    "no name": (
        SHORT.replace('    name: ClassVar[str] = "short"\n', "") + TASKS.format("[Short]"),
        "wrong.py, line 5: the class Short: expected a name of lower-case letters, digits and "
        "single hyphens, a letter first, such as my-echo; received None",
    ),
    "a name that is none": (
        SHORT.replace('"short"', "None") + TASKS.format("[Short]"),
        "wrong.py, line 5: the class Short: expected a name of lower-case letters, digits and "
        "single hyphens, a letter first, such as my-echo; received None",
    ),
    "a name that raises": (
        OWN_JUDGE.replace('name = "own"', "name = property(lambda self: 1 / 0)"),
        "wrong.py, line 5: ZeroDivisionError: division by zero",
    ),
    "a reference that exits": (
        WITH_REFERENCE, "wrong.py, line 9: it ended the process with sys.exit(0)"
    ),
    "unprintable": (
        UNPRINTABLE + "raise Unprintable",
        "wrong.py, line 6: Unprintable: its message cannot be printed, since its __str__ raises",
    ),
    "an unprintable code": (
        UNPRINTABLE + "raise SystemExit(Unprintable())",
        "wrong.py, line 6: it raised an exception that cannot be printed",
    ),
    "an unprintable value": (
        SHORT + UNPRINTABLE + TASKS.format("[Unprintable()]"),
        "wrong.py, line 21: echobench_tasks: expected a list of Task classes; received one with a "
        "value whose __repr__ raises an exception: it ended the process with sys.exit(0) in it",
    ),
    "a class of its own": (
        f"{SHORT}\nclass Odd:\n    @property\n    def __class__(self):\n        raise SystemExit\n"
        + TASKS.format("Odd()"),
        "wrong.py, line 19: it ended the process with sys.exit(None)",
    ),
}  # fmt: skip # a line for each reads better


@pytest.mark.parametrize("fault", WRONG)
def test_an_installed_plugin_that_is_wrong_is_broken_and_a_file_is_an_error(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, reason = WRONG[fault]
    install(tmp_path, "bad", "wrong", text)
    with pytest.raises(PluginError, match=re.escape(f"wrong.py': {reason}")):
        Plugins([tmp_path / "wrong.py"])
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins()
    ((name, distribution, told),) = [(b.plugin, b.distribution, b.reason) for b in plugins.broken]
    assert (name, distribution) == ("wrong", "bad")
    assert told.startswith(reason)
    assert {"whole", "jax"} <= {*plugins.tasks, *plugins.backends}


def test_what_says_nonsense_of_itself_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fileless", "malformed", "nameless", "replaced"):
        install(tmp_path, name, name, TASK.format(name=name, hook="echobench_tasks"))
    (tmp_path / "fileless.py").write_text("__file__ = 5\n")
    info = tmp_path / "malformed-1.0.dist-info"
    (info / "entry_points.txt").write_text("[echobench]\nmalformed = !!! not valid\n")
    (tmp_path / "nameless-1.0.dist-info" / "METADATA").unlink()
    (tmp_path / "replaced.py").write_text(
        "import sys\nclass Odd:\n    def __getattr__(self, name):\n        raise SystemExit(0)\n"
        "sys.modules[__name__] = Odd()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins()
    assert {broken.plugin: broken.reason for broken in plugins.broken} == {
        "fileless": "expected __file__ to be a path; received 5",
        "malformed": "expected an entry point of the form MODULE; received !!! not valid",
        "nameless": "expected its distribution's METADATA to name it",
        "replaced": "replaced.py, line 4: it ended the process with sys.exit(0)",
    }
    assert {"whole", "partial"} <= set(plugins.tasks)
    for name in ("fileless", "replaced"):
        del sys.modules[name]  # others look at the files of all modules


def test_streams_that_a_plugin_takes_away_are_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import sys\nsys.stdin = sys.stdout = sys.stderr = None\n"
    install(tmp_path, "quiet", "quiet", text + TASK.format(name="q", hook="echobench_tasks"))
    monkeypatch.syspath_prepend(tmp_path)
    before = sys.stdin, sys.stdout, sys.stderr
    assert "q" in Plugins().tasks
    assert (sys.stdin, sys.stdout, sys.stderr) == before


def test_a_helper_that_raises_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "helper.py").write_text("import json\n\njson.loads('{')\n")
    (tmp_path / "my-own.py").write_text("from parts import helper\n")
    with pytest.raises(PluginError, match=r"my-own\.py': parts/helper\.py, line 3: JSONDecodeE"):
        Plugins([tmp_path / "my-own.py"])
    (tmp_path / "parts" / "helper.py").unlink()
    with pytest.raises(PluginError, match=r"my-own\.py': my-own\.py, line 1: ImportError"):
        Plugins([tmp_path / "my-own.py"])


def test_what_a_value_raises_later_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_JUDGE.replace("reference = True", "reference = False"))
    backend = Plugins([tmp_path / "own.py"]).backends["own"]
    with pytest.raises(
        PluginError, match=r"own\.py': backend 'own': own\.py, line 10: NotImplementedError"
    ):
        backend.call(lambda value: value.absent)  # type: ignore[attr-defined]


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
