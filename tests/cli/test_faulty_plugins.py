"""Plugins with a fault that a stranger makes: each is one line, and the others run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from echobench.plugin.manager import Plugins
from echobench.testing.tasks import _recipes
from tests.conftest import Command, paths
from tests.plugin.test_manager import install

HEAD = """
from echobench import EchoTask, NativeBackend, Recipe, Study, Task, Variant, hookimpl

RECIPES = {"closed": Recipe(units=8, batch=23, epochs=2, evaluate_every=1)}

class Good(EchoTask):
    n_in: int = 3
    recipes = RECIPES
"""
TASKS = (
    HEAD
    + """
class NeedsPath(Good):
    name = "needs-path"
    path: str

class OpenOnly(Good):
    name = "open-only"
    recipes = {"open": RECIPES["closed"]}

class Framed(Good):
    name = "framed"
    @property
    def framing(self):
        return {}["corpus.txt"]

class Unframed(Good):
    name = "unframed"
    @property
    def framing(self):
        return None

class Fast(Good):
    name = "fast"
    def recipe(self, division):
        return "fast"

class Parameters(Good):
    name = "parameters"
    def parameters(self):
        return None

class Hashed(Good):
    name = "hashed"
    def source_hash(self):
        return 5

class Unfit(Good):
    name = "unfit"
    n_out: int = 9

@hookimpl
def echobench_tasks():
    return [NeedsPath, OpenOnly, Framed, Unframed, Fast, Parameters, Hashed, Unfit]
"""
)
OWN = "plugin file 'own.py': "
WHY = {
    "needs-path": "task needs-path needs path; write --task 'needs-path[path=...]' --plugin own.py",
    "open-only": "task open-only has no closed recipe; it has: --division open",
    "framed": f"{OWN}task 'framed': own.py, line {{}}: KeyError: 'corpus.txt'",
    "unframed": f"{OWN}task 'unframed': own.py, line {{}}: expected `framing` to give Framing; "
    "received None",
    "fast": f"{OWN}task 'fast': own.py, line {{}}: expected `recipe` to give Recipe | None; "
    "received 'fast'",
    "parameters": f"{OWN}task 'parameters': own.py, line {{}}: expected `parameters` to give "
    "dict[str, Any]; received None",
    "hashed": f"{OWN}task 'hashed': own.py, line {{}}: expected `source_hash` to give str; "
    "received 5",
    "unfit": f"{OWN}task 'unfit': own.py, line {{}}: its defaults: expected n_out <= n_in=3; "
    "received n_out=9",
}
LINES = {
    "framed": '        return {}["corpus.txt"]',
    "unframed": "    @property\n    def framing(self):\n        return None",
    "fast": "    def recipe(self",
    "parameters": "    def parameters(self",
    "hashed": "    def source_hash(self",
    "unfit": "class Unfit",
}
DRY = ("run", "--list", "--backend", "jax", "--threads", "1")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def reasons() -> dict[str, str]:
    return {
        name: why.format(line_of(TASKS, LINES[name])) if name in LINES else why
        for name, why in WHY.items()
    }


def test_tasks_that_cannot_run_are_left_out_of_all(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(TASKS)
    done = forked(*DRY, "--plugin", "own.py", "--seeds", "auto", "--engine", "fit",
                     "--engine", "fused")  # fmt: skip # auto plans several times
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    told.remove("left out: task pairs needs path; write --task 'pairs[path=...]'")  # ours
    assert sorted(told) == sorted(f"left out: {why}" for why in reasons().values())
    assert "whole jax" in done.stdout
    assert not any(f" {name}" in done.stdout for name in WHY)
    done = forked("list", "--plugin", "own.py", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert {*WHY} <= {row["name"] for row in json.loads(done.stdout)}


@pytest.mark.parametrize("name", ["needs-path", "open-only", "framed", "hashed"])
def test_a_task_that_cannot_run_is_an_error_where_it_is_named(
    name: str, tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(TASKS)
    run = ("run", "--backend", "jax", "--threads", "1", "--task", "whole", "--plugin", "own.py")
    done = forked(*run, "--task", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"echobench: {reasons()[name]}\n"
    assert not [*tmp_path.rglob("*.jsonl"), *tmp_path.rglob("logs")]  # nothing was started


def test_a_search_says_what_a_task_needs(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(TASKS)
    done = forked("tune", "--backend", "jax", "--plugin", "own.py", "--task", "needs-path")
    assert (done.returncode, done.stderr) == (2, f"echobench: {reasons()['needs-path']}\n")


def test_a_check_takes_what_a_task_needs(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(TASKS)
    done = forked("check", "task", "needs-path", "--plugin", "own.py")
    write = "write echobench check task 'needs-path[path=...]' --plugin own.py"
    assert (done.returncode, done.stderr) == (
        2, f"echobench: task needs-path needs path; {write}\n"
    )  # fmt: skip # one line reads better
    kind = Plugins([tmp_path / "own.py"]).tasks["needs-path"].value
    assert _recipes(kind, {"path": "x.csv"})  # raises where a recipe does not fit


def test_a_task_runs_with_what_it_needs(tmp_path: Path, forked: Command) -> None:
    (tmp_path / "own.py").write_text(TASKS)
    task = "needs-path[path=x.csv,length=30]"  # 28 samples: the batch of 23 becomes one of 28
    done = forked(*DRY, "--plugin", "own.py", "--task", task)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "run   needs-path[length=30,path=x.csv] jax fused closed seed 0\n"


BACKENDS = (
    HEAD
    + """
class Own(NativeBackend):
    name = "own"
    requires = ("numpy",)
    keras_backend = "jax"
    def environment(self, device, threads): return {}
    def configure(self, device, threads): pass
    def devices(self): return ["cpu"]
    def trainer(self, program, chunk): pass
    def predictor(self, program): pass
    def facts(self): return {}

class Versions(Own):
    name = "versions"
    def versions(self): return None

class Environment(Own):
    name = "environment"
    def environment(self, device, threads): raise OSError("no driver")

class Why(Own):
    name = "why"
    def why_unavailable(self): return 5

class Engines(Own):
    name = "engines"
    engines = "fit"

class OddEngine(Own):
    name = "odd-engine"
    engines = ("native", "odd")

class Trains(Own):
    name = "trains"
    trains = "no"

class OneModule(Own):
    name = "one-module"
    requires = "numpy"

class NoModules(Own):
    name = "no-modules"
    requires = None

class NoModule(Own):
    name = "no-module"
    requires = ("numpy", "num py")

class Variable(Own):
    name = "variable"
    def environment(self, device, threads): return {"A=B": "1"}

class Cached(Own):
    name = "cached"
    def cache_environment(self, folder): return {"A": "x\\0y"}

@hookimpl
def echobench_backends():
    return [Own(), Versions(), Environment(), Why(), Engines(), OddEngine(), Trains(), OneModule(),
            NoModules(), NoModule(), Variable(), Cached()]
"""
)
WHY_BACKEND = {
    "versions": ("    def versions", "expected `versions` to give dict[str, str]; received None"),
    "environment": ("    def environment(self, device, threads): raise", "OSError: no driver"),
    "why": ("    def why_un", "expected `why_unavailable` to give str | None; received 5"),
    "engines": ("class Engines", "expected `engines` to give Sequence[str]; received 'fit'"),
    "odd-engine": (
        "class OddEngine",
        "expected `engines` to give some of fused, fit, native, compiled; "
        "received ('native', 'odd')",
    ),
    "trains": ("class Trains", "expected `trains` to give bool; received 'no'"),
    "one-module": (
        "class OneModule",
        "expected `requires` to give Sequence[str]; received 'numpy'",
    ),
    "no-modules": ("class NoModules", "expected `requires` to give Sequence[str]; received None"),
    "no-module": (
        "class NoModule(",
        "expected `requires` to give names of modules, such as ('jax',); "
        "received ('numpy', 'num py')",
    ),
    "variable": (
        '    def environment(self, device, threads): return {"A=B"',
        "expected `environment` to give variables that a process can have, without = in a name and "
        "without NUL; received {'A=B': '1'}",
    ),
    "cached": (
        "    def cache_environment",
        "expected `cache_environment` to give variables that a process "
        "can have, without = in a name and without NUL; received {'A': 'x\\x00y'}",
    ),
}


def test_backends_that_cannot_plan_are_left_out_unless_named(
    tmp_path: Path, forked: Command
) -> None:
    (tmp_path / "own.py").write_text(BACKENDS)
    why = {
        name: f"{OWN}backend {name!r}: own.py, line {line_of(BACKENDS, part)}: {reason}"
        for name, (part, reason) in WHY_BACKEND.items()
    }
    run = ("run", "--threads", "1", "--task", "whole", "--plugin", "own.py")
    done = forked(*run, "--list")
    assert done.returncode == 0
    assert sorted(done.stderr.splitlines()) == sorted(f"left out: {one}" for one in why.values())
    assert "whole own native" in done.stdout
    assert "whole jax fused" in done.stdout
    for name, reason in why.items():
        done = forked(*run, "--backend", name)
        assert (done.returncode, done.stderr) == (2, f"echobench: {reason}\n")
    done = forked("list", "--plugin", "own.py", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0
    assert [rows[name]["usable"] for name in ("own", "versions", "why")] == [True, False, False]


HOOK = "\n@hookimpl\ndef echobench_tasks():\n    return {}\n"
MINE = HEAD + "\nclass Mine(Good):\n    name = 'mine'\n"
BROKEN = {
    "abstract": (
        HEAD + "class Mine(Task):\n    name = 'mine'\n" + HOOK.format("[Mine]"), "class Mine",
        "expected the class Mine to define framing, network, sample, as Task asks; received a "
        "class without",
    ),
    "recipeless": (
        (MINE + HOOK.format("[Mine]")).replace("    recipes = RECIPES\n", ""), "class Mine",
        "expected the class Mine to define `recipes`, a Recipe for closed or open; received None",
    ),
    "misspelt_division": (
        (MINE + HOOK.format("[Mine]")).replace('{"closed"', '{"closde"'), "class Mine",
        "expected the class Mine to define `recipes`, a Recipe for closed or open; received "
        "{'closde': Recipe(units=8, batch=23, ",
    ),
    "dict_recipe": (
        (MINE + HOOK.format("[Mine]")).replace("Recipe(units", "dict(units"), "class Mine",
        "expected the class Mine to define `recipes`, a Recipe for closed or open; received "
        "{'closed': {'units': 8, ",
    ),
    "bad_recipe": (
        (MINE + HOOK.format("[Mine]")).replace("units=8", "units=0"), "RECIPES =",
        "ValidationError: Recipe: expected units to be greater than or equal to 1; received 0",
    ),
    "unannotated": (
        MINE + "    size = 3\n" + HOOK.format("[Mine]"), "class Mine",
        "PydanticUserError: A non-annotated attribute was detected: `size = 3`.",
    ),
    "badly_named": (
        MINE.replace("'mine'", "'Bad Task!'") + HOOK.format("[Mine]"), "class Mine",
        "the class Mine: expected a name of lower-case letters, digits and single hyphens, a "
        "letter first, such as my-echo; received 'Bad Task!'",
    ),
    "forgetful": (
        MINE + HOOK.format("[Mine]").replace("return ", ""), "@hookimpl",
        "echobench_tasks: expected a list of Task classes; received None; end the function with "
        "`return [...]`",
    ),
    "twice": (
        MINE + HOOK.format("[Mine, Mine]"), "@hookimpl",
        "echobench_tasks: expected names that differ; received 'mine' twice",
    ),
    "studying": (
        HEAD + "@hookimpl\ndef echobench_studies():\n    return [Study(name='ask', question='?', "
        "variants=[], backend='jax')]\n", "    return [Study",
        "ValidationError: Study: List should have at least 1 item after validation, not 0; "
        "received variants=[]",
    ),
}  # fmt: skip # text, place and reason stand together


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_is_broken_is_one_line(fault: str, tmp_path: Path, forked: Command) -> None:
    text, part, reason = BROKEN[fault]
    (tmp_path / "own.py").write_text(text)
    done = forked("list", "--plugin", "own.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"echobench: {OWN}own.py, line {line_of(text, part)}: {reason}")
    assert "https:" not in done.stderr


def test_no_installed_plugin_that_is_broken_harms_a_command(
    tmp_path: Path, forked: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault, (text, _, _) in BROKEN.items():
        install(tmp_path, fault, fault, text)
    install(tmp_path, "empty", "empty", "")
    monkeypatch.setenv("PYTHONPATH", paths(tmp_path, os.environ["PYTHONPATH"]))
    done = forked(*DRY, "--task", "whole")
    assert (done.returncode, done.stdout) == (0, "run   whole jax fused closed seed 0\n")
    told = done.stderr.splitlines()
    assert len(told) == len(BROKEN) + 1
    for fault, (text, part, reason) in BROKEN.items():
        start = f"plugin {fault!r} of {fault} is left out, since it is broken: {fault}.py, line "
        assert any(one.startswith(f"{start}{line_of(text, part)}: {reason}") for one in told)
    assert any("'empty' of empty" in one and "it provides nothing" in one for one in told)
    assert "https:" not in done.stderr
