"""What no line of our code may do, whoever asks: unpickle, evaluate, or hand a text to a shell.

ruff's rules (S) see most of it; here is what they leave open, with no way to ignore a line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("echobench", "plugins") for path in (ROOT / folder).rglob("*.py")
)
MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "yaml"}
CALLS = {
    "__import__", "compile", "enable_unsafe_deserialization", "eval", "exec", "os.popen",
    "os.system", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.load",
}  # fmt: skip # one line reads better
NOTHING = "exec('')"
"""Runs no code: what it is for says `echobench.interrupts.ignore`."""
REQUIRED = {
    ("load_model", "safe_mode"): True,
    ("np.load", "allow_pickle"): False,
    ("Environment", "autoescape"): True,
}
"""Arguments that a call must have, and their value."""


def broken(text: str) -> Iterator[str]:
    """Yield what source code does that it must not."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            origin = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            if {name.partition(".")[0] for name in origin} & MODULES:
                yield f"imports {origin}"
        if not isinstance(node, ast.Call) or ast.unparse(node) == NOTHING:
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        given = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
        if name in CALLS or last == "enable_unsafe_deserialization":
            yield f"calls {name}"
        if given.get("shell"):
            yield f"{name} with a shell"
        for (function, argument), value in REQUIRED.items():
            if function in (name, last) and given.get(argument) is not value:
                yield f"{name} without {argument}={value}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_unpickled_or_evaluated_and_no_shell_is_involved(path: Path) -> None:
    assert list(broken(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "import yaml", "from marshal import loads",
        "eval('1')", "exec('1')", "exec('', x)", "os.system('x')", "os.popen('x')",
        "compile('1', '', 'eval')",
        "subprocess.run('x', shell=True)", "np.load(path)", "np.load(path, allow_pickle=True)",
        "torch.load(path)", "keras.config.enable_unsafe_deserialization()",
        "keras.saving.load_model(path)", "load_model(path, safe_mode=False)",
        "jinja2.Environment(loader=x)", "Environment(autoescape=False)", "__import__('os')",
    ],
)  # fmt: skip # one line reads better
def test_what_must_not_be_is_seen(line: str) -> None:
    assert len(list(broken(line))) == 1


def test_the_sources_are_all_there() -> None:
    assert len(SOURCES) > 150
