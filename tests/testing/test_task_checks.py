"""The kit finds what is wrong with a task, and says what to change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from echobench.errors import DataError, PluginError, UsageError
from echobench.plugin.manager import Plugins
from echobench.testing import CheckResult, assert_task, check_task, data
from echobench.testing.data import TRAINED, number_of_rows
from tests.conftest import Command
from tests.plugins.test_backends import BACKENDS, answer
from tests.test_public import FRAMEWORKS

TASK = """
from typing import ClassVar
import numpy as np
from pydantic import Field
from echobench import EchoTask, Recipe, hookimpl
from echobench.core.sequences import Framing
{top}

class Short(EchoTask):
    "Echo three of three."
    name: ClassVar[str] = "short"
    n_in: int = Field(default=3, ge=1)
    length: int = Field(default=8, ge=1)
    recipes: ClassVar[dict] = {{
        "closed": Recipe(units=8, batch=6, sequences=4, epochs=20, evaluate_every=5)
    }}
    {body}

@hookimpl
def echobench_tasks():
    return [Short]
"""


def written(path: Path, body: str) -> Path:
    """Write a task that is well but for what is given."""
    path.write_text(TASK.format(body=body.replace("\n", "\n    "), top=""))
    return path


def checked(
    folder: Path, body: str = "pass", *, backend: str = "jax", selector: str = "short"
) -> dict[str, CheckResult]:
    """Check a task that is well but for what is given; return findings by name."""
    path = written(folder / "short.py", body)
    found = check_task(selector, backends=[backend], plugins=[path])
    return {finding.name: finding for finding in found}


NEEDED = {
    "answers": {"data", "framing"},
    "chunks": {"data"},
    "fresh rows": {"data"},
    "oracle": {"data", "framing", "answers"},
    "same data": {"recipes", "data", "framing"},
}
"""What each check needs; the others need nothing."""


def failures(found: dict[str, CheckResult]) -> set[str]:
    return {name for name, finding in found.items() if finding.status == "failed"}


@pytest.mark.parametrize(
    ("body", "check", "found", "advice"),
    [
        (
            "def sample(self, rng, count):\n    return rng.random((count, self.length))",
            "data",
            "float64; expected an array of int64",
            "astype(np.int64)",
        ),
        (
            "def sample(self, rng, count):\n    return [[0] * self.length] * count",
            "data",
            "sample gives list",
            "return integers",
        ),
        (
            "def sample(self, rng, count):\n    return super().sample(rng, count).T",
            "data",
            "expected [1000, length]",
            "one row for each",
        ),
        (
            "def sample(self, rng, count):\n    return 1 + super().sample(rng, count)",
            "data",
            "tokens from 1 to 100; expected 0 to 99",
            "override `vocabulary`",
        ),
        (
            "def sample(self, rng, count):\n    return super().sample(rng, count) - 1",
            "data",
            "tokens from -1 to 98",
            "has_missing = True",
        ),
        (
            "def sample(self, rng, count):\n"
            "    rng = np.random.default_rng(0)\n"
            "    return super().sample(rng, count)",
            "fresh rows",
            "the streams 'train' of seed 0 and 'train' of seed 1 give the same 100 rows",
            "from the `rng` given to sample",
        ),
        (
            "def sample(self, rng, count):\n"
            "    first = rng.integers(0, 50, (count, 1))\n"
            "    return np.concatenate([first, super().sample(rng, count)[:, 1:]], axis=1)",
            "chunks",
            "does not give the same rows",
            "a single draw",
        ),
        (
            "@property\ndef framing(self):\n"
            "    return Framing(np.arange(6)[:, None] + np.arange(3), np.full((6, 3), 8))",
            "framing",
            "framing.targets points to positions 8 to 8 of a row of 8",
            "make framing and sample agree",
        ),
        (
            "@property\ndef framing(self):\n    return Framing([], [])",
            "framing",
            "framing.inputs: expected integers of shape [samples, n], one sample or more",
            "of shape [samples, n]",
        ),
        (
            "def sample(self, rng, count):\n"
            "    return super().sample(rng, count)[:, : 8 - (count < 10)]",
            "data",
            "rows of 8 tokens, and then of 7",
            "has_missing = True",
        ),
        (
            "def expected(self, rows):\n    return super().expected(rows)[:, :, :2]",
            "answers",
            "expected gives answers of shape [20, 6, 2]; expected [20, 6, 3]",
            "leave expected out",
        ),
        (
            "def supervised(self, row):\n    x, y = super().supervised(row)\n    return x, y + 1",
            "answers",
            "supervised gives other answers than the framing: 18 of 18 tokens",
            "leave supervised out",
        ),
        ("n_in: int = 3", "parameters", "n_in=-1 is accepted", "ge=1"),
        (
            "recipes: ClassVar[dict] = "
            "{'closed': Recipe(units=8, batch=4, epochs=2, evaluate_every=1)}",
            "recipes",
            "divides the 6 samples of a sequence: 1, 2, 3, 6; received batch=4",
            "values that its fields and the framing allow",
        ),
        (
            "recipes: ClassVar[dict] = "
            "{'open': Recipe(units=8, batch=6, epochs=2, evaluate_every=1)}",
            "recipes",
            "no closed recipe",
            "under the key 'closed'",
        ),
        (
            "def sample(self, rng, count):\n    raise RuntimeError('no\\nluck')",
            "data",
            "RuntimeError: no luck",
            "the plugin raised",
        ),
    ],
)
def test_what_numpy_can_tell(
    body: str, check: str, found: str, advice: str, tmp_path: Path
) -> None:
    findings = checked(tmp_path, body, backend="numpy")
    # Rows that are always the same are also other rows in parts.
    assert failures(findings) - {"chunks"} == {check} - {"chunks"}
    assert found in findings[check].found
    assert advice in findings[check].advice
    for name, needed in NEEDED.items():
        skipped = findings[name].status == "skipped"
        assert skipped == (check in needed), (name, findings[name])
    assert findings["network"].status == "skipped"


def test_a_task_that_imports_a_framework(tmp_path: Path, echobench: Command) -> None:
    (tmp_path / "short.py").write_text(TASK.format(body="pass", top="import torch"))
    arguments = ("--plugin", "short.py", "--backend", "numpy", "--json")
    done = echobench("check", "task", "short", *arguments)
    assert done.returncode == 1, done.stderr
    found = {f["name"]: f for f in json.loads(done.stdout)}
    assert found["imports"]["status"] == "failed"
    assert "loading it imports torch" in found["imports"]["found"]
    assert "import frameworks inside the functions" in found["imports"]["advice"]


CONSTANT = """
def sample(self, rng, count):
    rows = super().sample(rng, count)
    rows[:, 2:4] = 7
    return rows
@property
def framing(self):
    return Framing(np.arange(6)[:, None] + np.arange(3), np.full((6, 3), [2, 3, 2]))
def supervised(self, row):
    return row[self.framing.inputs], row[self.framing.targets]
""".strip()
NOISE = """
def sample(self, rng, count):
    return rng.integers(0, self.symbols, (count, 2 * self.length), dtype=np.int64)
@property
def framing(self):
    echo = Framing.shifted(self.length, self.n_in, self.n_in)
    return Framing(echo.inputs, self.length + echo.targets)
def supervised(self, row):
    return row[self.framing.inputs], row[self.framing.targets]
""".strip()
TWO_TOKENS = """
def network(self, form, units):
    from echobench.core.architectures import many_to_one
    return many_to_one(form, self.n_in, 2, units)
""".strip()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, CheckResult]]:
    """Return the findings, by name, of tasks whose networks are trained in a single process."""
    folder = tmp_path_factory.mktemp("measured")
    arguments: list[str] = []
    for body, selector in (CONSTANT, "short"), (NOISE, "short[n_in=6]"), (TWO_TOKENS, "short"):
        arguments += [str(written(folder / f"{len(arguments)}.py", body)), selector]
    bodies = ("constant", "noise", "two tokens")
    told = answer("jax", "tests.probes.checking", *arguments)
    found = [map(CheckResult.model_validate, each) for each in told]
    return {body: {one.name: one for one in each} for body, each in zip(bodies, found, strict=True)}


def test_answers_that_are_always_the_same(measured: dict[str, dict[str, CheckResult]]) -> None:
    found = measured["constant"]
    assert failures(found) == {"shuffled answers"}
    assert "do not depend on its input" in found["shuffled answers"].found
    assert "always the same" in found["shuffled answers"].advice
    assert found["network"].status == "passed"


def test_random_answers_are_a_warning_where_inputs_come_again(tmp_path: Path) -> None:
    found = checked(tmp_path, NOISE, backend="numpy", selector="short[symbols=5]")
    assert failures(found) == set()
    assert found["oracle"].status == "warning"
    assert "do not follow from the inputs: of " in found["oracle"].found
    assert found["fresh rows"].status == "passed"  # 5 to the power of 16 rows


def test_random_answers_to_inputs_that_never_come_again_are_a_warning(
    measured: dict[str, dict[str, CheckResult]],
) -> None:
    found = measured["noise"]
    assert failures(found) == set()
    assert [name for name, one in found.items() if one.status == "warning"] == ["learning"]
    assert "no more than by always giving the most frequent answer, 1." in found["learning"].found


def test_a_small_task_passes_with_a_warning_that_hides_no_other_check(
    tmp_path: Path, echobench: Command
) -> None:
    """The only one that is checked to the end, on all backends."""
    written(tmp_path / "short.py", "pass")
    small = ("short[symbols=2,length=4]", "--plugin", "short.py")
    done = echobench("check", "task", *small, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {f["name"]: f for f in json.loads(done.stdout)}
    assert found["fresh rows"]["status"] == "warning"
    assert "of 16 different rows, 3,000 of 3,000" in found["fresh rows"]["found"]
    assert "rng.for_training" in found["fresh rows"]["advice"]
    assert {f["status"] for name, f in found.items() if name != "fresh rows"} == {"passed"}
    assert {*found["same data"]["found"].replace(",", "").split()} >= {"process", *BACKENDS}


def test_rows_for_training_and_for_evaluation_are_no_small_task(tmp_path: Path) -> None:
    body = """
def sample(self, rng, count):
    rows = np.arange(40).repeat(8).reshape(40, 8) + np.arange(8)
    return (rows[:30] if rng.for_training else rows[30:])[rng.integers(0, len(rows) - 30, count)]
""".strip()
    found = checked(tmp_path, body.replace("len(rows) - 30", "10"), backend="numpy")
    assert found["fresh rows"].status == "passed"
    assert "no evaluation row is among 10,000 training rows, all 10" in found["fresh rows"].found


@pytest.mark.parametrize("size", [8, 300, 10_000, 200_000])
def test_the_number_of_rows_is_estimated_from_those_that_come_again(size: int) -> None:
    drawn = np.random.default_rng(size).integers(0, size, TRAINED)
    found, is_exact = number_of_rows(Counter(drawn.tolist()).values())
    assert is_exact == (size < 1000)
    assert found == pytest.approx(size, rel=0 if is_exact else 0.15)
    # Of rows that are not equally likely it is a lower bound.
    odd = np.where(drawn % 2 == 0, drawn // 100, drawn)
    assert number_of_rows(Counter(odd.tolist()).values())[0] <= 1.1 * size


def test_what_cannot_be_made_at_all_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bare.py"
    path.write_text(
        "from echobench import Task, hookimpl\n\nclass Bare(Task):\n    name = 'bare'\n\n"
        "@hookimpl\ndef echobench_tasks():\n    return [Bare]\n"
    )
    with pytest.raises(PluginError, match="the class Bare to define framing, network, sample"):
        check_task("bare", backends=["numpy"], plugins=[path])


def test_a_network_of_the_wrong_shape(measured: dict[str, dict[str, CheckResult]]) -> None:
    found = measured["two tokens"]
    assert failures(found) == {"network"}
    assert "output is [samples, 2, 100]; expected [samples, 3, 100]" in found["network"].found
    assert "framing.targets.shape[1]" in found["network"].advice
    assert found["parity"].status == "skipped"


def test_a_network_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    found = checked(tmp_path, "def network(self, form, units):\n    raise KeyError('no network')")
    assert failures(found) == {"network"}
    assert "on jax: plugin short.py, line 18: KeyError: 'no network'" in found["network"].found
    assert "echobench run --quick --backend jax" in found["network"].advice


def test_what_is_wrong_is_one_assertion(tmp_path: Path) -> None:
    path = written(tmp_path / "short.py", "n_in: int = 3")
    with pytest.raises(
        AssertionError, match=r"short does not keep the rules:\nparameters: .* -> bound it"
    ):
        assert_task("short", backends=["numpy"], plugins=[path])


def test_what_the_user_got_wrong_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'whole'"):
        check_task("whoel")
    with pytest.raises(UsageError, match="received n_out=9"):
        check_task("partial[n_out=9]")
    with pytest.raises(UsageError, match="did you mean 'jax'"):
        check_task("whole", backends=["jaxx"])


def test_the_kit_brings_no_framework() -> None:
    # Its workers would: they are kept from starting, since this is about the parent.
    code = (
        "import sys\n"
        "from echobench.harness import process\n"
        "from echobench.testing import check_task\n"
        "def run_worker(*arguments): raise OSError('not started')\n"
        "process.run_worker = run_worker\n"
        "found = {one.name: one for one in check_task('whole[batch=7]', backends=['jax'])}\n"
        "assert 'not started' in found['network'].found, found\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & FRAMEWORKS


def test_a_task_on_a_file_is_checked_with_its_file(plugins: Plugins, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("\n".join(f"w{k},v{k % 2}" for k in range(40)))
    kind = plugins.tasks["pairs"].value
    held_out = kind(path=str(tmp_path / "pairs.csv"), test_share=0.5)
    assert data.check_fresh_rows(held_out, None).startswith("no row of the test set")
    by_heart = kind(path=str(tmp_path / "pairs.csv"))
    assert "its records say so" in data.check_fresh_rows(by_heart, None)

    class Unsaid(kind):  # type: ignore[misc, valid-type] # a class that a plugin loads
        is_test_trained_on: ClassVar[bool] = False

    with pytest.raises(DataError, match="40 of the 40 rows of the test set"):
        data.check_fresh_rows(Unsaid(path=str(tmp_path / "pairs.csv")), None)
