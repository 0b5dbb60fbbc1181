"""The kit finds what is wrong with a backend, and says what to change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from echobench.errors import UsageError
from echobench.plugin.manager import Plugins
from echobench.testing import CheckResult, assert_backend, check_backend, checks
from echobench.testing.backends import _recompilation
from tests.attacks import cheats
from tests.cli.test_cli import WRONG_BACKEND
from tests.conftest import Command, paths
from tests.plugins.test_backends import ROOT, answer

SMALL = "whole[length=12,symbols=10,units=6,batch=8,sequences=3]"
BACKEND = """
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.jax import Jax

class Odd(Jax):
    name: ClassVar[str] = "odd"
    reference: ClassVar[bool] = False
    {body}

@hookimpl
def echobench_backends():
    return [Odd()]
"""


def checked(folder: Path, body: str) -> dict[str, CheckResult]:
    path = folder / "odd.py"
    path.write_text(BACKEND.format(body=body.replace("\n", "\n    ")))
    found = check_backend("odd", tasks=[SMALL], plugins=[path])
    return {finding.name: finding for finding in found}


def failures(found: dict[str, CheckResult]) -> set[str]:
    return {name for name, finding in found.items() if finding.status == "failed"}


TIMED = {
    "oracle": {"predictor"},
    "early": {"clock", "off the clock"},
    "late": {"clock", "off the clock"},
    "lazy": {"learning"},
    "unwaited": {"clock"},
    "hasty": {"learning"},
    "foreseeing": {"off the clock"},
    "jax": set(),
}
FOUND_OUT = {**TIMED, "by-length": {"recompilation"}, "padding": {"dispatch"}}
"""Checks that fail. What else cheats in a trial shows itself nowhere but there."""
UNTIMED = ("jax", "by-length", "padding", "wrong", "no-clip")
Found = Callable[[str], dict[str, CheckResult]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    wrong = tmp_path_factory.mktemp("wrong") / "wrong.py"
    wrong.write_text(WRONG_BACKEND)
    probes = (ROOT / "tests" / "probes" / f"{name}.py" for name in ("recompiling", "mistakes"))
    return [Path(cheats.__file__), *probes, wrong]


@pytest.fixture(scope="module")
def measured(files: list[Path], shared: Path) -> list[dict[str, Any]]:
    """Return what a worker measures of each backend; many in one process, which starts once.

    XLA optimizes where work is sought that is hidden from the clock: a stretch is short then.
    """
    folder = shared / "site" / "optimized"
    optimized = {"PYTHONPATH": paths(folder, os.environ["PYTHONPATH"])}
    return [_measured(files, UNTIMED, {}), _measured(files, TIMED, optimized)]


def _measured(files: list[Path], names: Iterable[str], variables: dict[str, str]) -> dict[str, Any]:
    asked = (SMALL, *map(str, files), *names)
    return dict(answer("jax", "tests.probes.clock", *asked, **variables))


@pytest.fixture
def found_in(
    files: list[Path], measured: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Found:
    """Check a backend by what was measured of it, and by the parity gate."""

    def found(name: str) -> dict[str, CheckResult]:
        several = next(each for each in measured[::-1] if name in each)
        monkeypatch.setattr(checks, "run_probe", lambda probe, trial, _: several[trial.backend])
        results = check_backend(name, tasks=[SMALL], plugins=files)
        return {each.name: each for each in results}

    return found


def test_a_wrong_learning_rate_fails_the_parity_gate(found_in: Found) -> None:
    found = found_in("wrong")
    assert failures(found) == {f"parity {SMALL}", "learning"}
    gate = found[f"parity {SMALL}"]
    assert "expected 1e-05" in gate.found
    assert "learning rate" in gate.advice
    assert {f.status for name, f in found.items() if name not in failures(found)} == {"passed"}


def test_ignored_clipping_fails_the_parity_gate_alone(found_in: Found) -> None:
    found = found_in("no-clip")
    assert failures(found) == {f"parity {SMALL}"}
    assert "clipping" in found[f"parity {SMALL}"].advice


def test_what_a_backend_can_get_wrong_around_training(tmp_path: Path) -> None:
    body = "\n".join(
        [
            "def facts(self):",
            "    return {'precision': float}",
            "def predictor(self, program):",
            "    predict = super().predictor(program)",
            "    return lambda weights, rows: predict(weights, rows)[:, 0] + 0.5",
            "def trainer(self, program, chunk):",
            "    trainer = super().trainer(program, chunk)",
            "    first = trainer.reset",
            "    trainer.reset = lambda w: None if trainer.learner is not None else first(w)",
            "    return trainer",
        ]
    )
    found = checked(tmp_path, body)
    assert {"facts", "predictor", "reset", "dispatch"} <= failures(found)
    assert "str(dtype)" in found["facts"].advice
    assert "expected integers of shape [50, 8, 5]" in found["predictor"].found
    assert "forget Adam's moments" in found["reset"].advice
    assert found["parity"].status == "skipped"


@pytest.mark.parametrize("name", FOUND_OUT)
def test_work_that_is_not_done_on_the_clock_is_found(
    name: str, found_in: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "check_parity", lambda trial, plugins: "not run")
    results = found_in(name)
    assert failures(results) >= FOUND_OUT[name]
    assert bool(failures(results)) == bool(FOUND_OUT[name])
    assert all(results[failed].advice for failed in failures(results))


def test_a_backend_that_compiles_in_every_dispatch_is_found() -> None:
    with pytest.raises(checks.FaultError, match=r"every dispatch takes 1\.9 s") as error:
        _recompilation([[1.94, 1.93], [1.80, 1.87], [1.92, 1.94]])  # measured
    assert "not in each call of `train`" in error.value.advice
    assert "0 of 3 lengths" in _recompilation([[0.4, 0.4], [0.2, 0.2], [0.1, 0.1]])


@pytest.mark.parametrize(
    ("body", "check", "found", "advice"),
    [
        (
            "def environment(self, device, threads):\n    return {'OMP_NUM_THREADS': threads}",
            "environment",
            "{'OMP_NUM_THREADS': 1}",
            "str(threads)",
        ),
        (
            "requires: ClassVar[tuple] = ('no_such_framework',)",
            "available",
            "no_such_framework not installed",
            "install what it requires",
        ),
    ],
)
def test_what_is_seen_before_anything_is_started(
    body: str, check: str, found: str, advice: str, tmp_path: Path
) -> None:
    findings = checked(tmp_path, body)
    assert failures(findings) == {check}
    assert found in findings[check].found
    assert advice in findings[check].advice
    assert findings["reset"].status == "skipped"


def test_a_backend_that_only_predicts_is_not_trained() -> None:
    found = {finding.name: finding for finding in check_backend("numpy", tasks=[SMALL])}
    assert found["devices"].status == found["facts"].status == "passed"
    assert "only predicts" in found["parity"].found
    assert not failures(found)


def test_the_command_says_what_failed_and_what_to_do(tmp_path: Path, echobench: Command) -> None:
    body = "requires: ClassVar[tuple] = ('no_such_framework',)"
    (tmp_path / "odd.py").write_text(BACKEND.format(body=body))
    done = echobench("check", "backend", "odd", "--plugin", "odd.py", "--task", SMALL)
    assert done.returncode == 1
    assert "to do: install what it requires" in " ".join(done.stdout.replace("│", " ").split())
    assert "2 passed, 1 failed" in done.stdout
    assert "loading it in a fresh process ..." in done.stderr
    as_json = echobench("check", "backend", "odd", "--plugin", "odd.py", "--task", SMALL, "--json")
    assert {f["status"] for f in json.loads(as_json.stdout)} == {"passed", "failed", "skipped"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "task", "whoel"], "unknown task 'whoel'; did you mean 'whole'?"),
        (["check", "task", "whole", "--backend", "jaxx"], "did you mean 'jax'?"),
        (["check", "backend", "jaxx"], "unknown backend 'jaxx'; did you mean 'jax'?"),
        (["check", "backend", "jax", "--task", "whoel"], "did you mean 'whole'?"),
        (["new", "task", "Mine"], "lower-case letters, digits and single hyphens"),
        (["new", "task", "whole"], "echobench has the task 'whole' already"),
        (["new", "peer", "jax"], "echobench has the backend 'jax' already"),
        (["new", "executor", "local"], "echobench has the executor 'local' already"),
        (["new", "task", "mine", "--directory", "full"], "a directory that is new or empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, echobench: Command, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = echobench(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_the_assertion_lists_the_failures(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(BACKEND.format(body="requires: ClassVar[tuple] = ('no_such_framework',)"))
    with pytest.raises(
        AssertionError, match=r"odd does not keep the rules:\navailable: no_such_fr"
    ):
        assert_backend("odd", tasks=[SMALL], plugins=[path])
    with pytest.raises(UsageError, match="did you mean 'jax'"):
        assert_backend("jaxx")


OTHERS = """
from echobench import NativeBackend, hookimpl
from echobench_plugins.backends.jax import Jax

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

class Unready(Jax):
    name = "unready"
    reference = False
    def why_unavailable(self): raise OSError("no driver")

class Nothing(Own):
    name = "nothing"
    requires = None

@hookimpl
def echobench_backends():
    return [Own(), Unready()]
"""


def test_what_echobench_imports_itself_is_no_framework(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OTHERS)
    plugins = Plugins([tmp_path / "own.py"])
    for plugin, task in (plugins.backends["own"].plugin, ""), ("whole", "whole"):
        assert checks.check_imports(plugin, plugins, task) == "loading it imports no framework"
    (tmp_path / "own.py").write_text(f"import jax\n{OTHERS}")
    found = checks.run_check(
        "imports", lambda: checks.check_imports(plugins.backends["own"].plugin, plugins)
    )
    assert (found.status, found.found) == ("failed", "loading it imports jax, jaxlib")


def test_a_broken_backend_fails_no_check_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = OTHERS.replace("Unready()]", "Unready(), Nothing()]")
    (tmp_path / "broken.py").write_text(text)
    plugins = Plugins([tmp_path / "broken.py"])
    assert checks.check_imports("whole", plugins, "whole") == "loading it imports no framework"
    assert next(backend.name for backend in checks.usable_backends(plugins)) == "jax"
    told = capsys.readouterr().err
    assert "backend 'nothing': broken.py, line " in told
    assert "expected `requires` to give Sequence[str]; received None" in told
    assert "backend 'unready': broken.py, line 19: OSError: no driver" in told
    # The check of its own plugin blames it.
    own = plugins.backends["nothing"].plugin
    found = checks.run_check("imports", lambda: checks.check_imports(own, plugins))
    assert found.status == "failed"
    assert "backend 'nothing': broken.py, line " in found.found
