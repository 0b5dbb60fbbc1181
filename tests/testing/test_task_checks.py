"""The kit finds what is wrong with a task, and says what to change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from echobench.errors import UsageError
from echobench.testing import CheckResult, assert_task, check_task
from tests.conftest import Command
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


def checked(folder: Path, body: str = "pass", top: str = "") -> dict[str, CheckResult]:
    """Check a task that is well but for what is given; return findings by name."""
    path = folder / "short.py"
    path.write_text(TASK.format(body=body.replace("\n", "\n    "), top=top))
    found = check_task("short", backends=["jax"], plugins=[path])
    return {finding.name: finding for finding in found}


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
            "evaluation rows are among 10,000 training rows",
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
            "positions 0 to 7",
        ),
        (
            "def supervised(self, row):\n    x, y = super().supervised(row)\n    return x, y + 1",
            "answers",
            "do not give the same answers",
            "leave expected and supervised out",
        ),
        ("n_in: int = 3", "parameters", "n_in=-1 is accepted", "ge=1"),
        (
            "recipes: ClassVar[dict] = "
            "{'closed': Recipe(units=8, batch=4, epochs=2, evaluate_every=1)}",
            "recipes",
            "batch=4 does not divide the 6 samples",
            "choose one of 1, 2, 3, 6",
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
    findings = checked(tmp_path, body)
    # Rows that are always the same are also other rows in parts.
    assert failures(findings) - {"chunks"} == {check} - {"chunks"}
    assert found in findings[check].found
    assert advice in findings[check].advice
    workers = [f for name, f in findings.items() if name in {"network", "parity", "cost"}]
    assert all(finding.status == "skipped" for finding in workers)


def test_a_task_that_imports_a_framework(tmp_path: Path, echobench: Command) -> None:
    (tmp_path / "short.py").write_text(TASK.format(body="pass", top="import torch"))
    done = echobench("check", "task", "short", "--plugin", "short.py", "--json")
    assert done.returncode == 1, done.stderr
    found = {f["name"]: f for f in json.loads(done.stdout)}
    assert found["imports"]["status"] == "failed"
    assert "loading it imports torch" in found["imports"]["found"]
    assert "import frameworks inside the functions" in found["imports"]["advice"]


def test_answers_that_are_always_the_same(tmp_path: Path) -> None:
    body = "\n".join(
        [
            "def sample(self, rng, count):",
            "    rows = super().sample(rng, count)",
            "    rows[:, 2:4] = 7",
            "    return rows",
            "@property",
            "def framing(self):",
            "    return Framing(np.arange(6)[:, None] + np.arange(3), np.full((6, 3), [2, 3, 2]))",
            "def supervised(self, row):",
            "    return row[self.framing.inputs], row[self.framing.targets]",
        ]
    )
    found = checked(tmp_path, body)
    assert failures(found) == {"shuffled answers"}
    assert "do not depend on its input" in found["shuffled answers"].found
    assert "always the same" in found["shuffled answers"].advice
    assert found["network"].status == "passed"


def test_a_network_of_the_wrong_shape(tmp_path: Path) -> None:
    body = "\n".join(
        [
            "def network(self, form, units):",
            "    from echobench.core.architectures import many_to_one",
            "    return many_to_one(form, self.n_in, 2, units)",
        ]
    )
    found = checked(tmp_path, body)
    assert failures(found) == {"network"}
    assert "output is [samples, 2, 100]; expected [samples, 3, 100]" in found["network"].found
    assert "framing.targets.shape[1]" in found["network"].advice
    assert found["parity"].status == "skipped"


def test_a_network_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    found = checked(tmp_path, "def network(self, form, units):\n    raise KeyError('no network')")
    assert failures(found) == {"network"}
    assert "on jax: KeyError: 'no network'" in found["network"].found
    assert "echobench run --quick --backend jax" in found["network"].advice


def test_what_is_wrong_is_one_assertion(tmp_path: Path) -> None:
    path = tmp_path / "short.py"
    path.write_text(TASK.format(body="n_in: int = 3", top=""))
    with pytest.raises(
        AssertionError, match=r"short does not keep the rules:\nparameters: .* -> bound it"
    ):
        assert_task("short", backends=["jax"], plugins=[path])


def test_what_the_user_got_wrong_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'whole'"):
        check_task("whoel")
    with pytest.raises(UsageError, match="received n_out=9"):
        check_task("partial[n_out=9]")
    with pytest.raises(UsageError, match="did you mean 'jax'"):
        check_task("whole", backends=["jaxx"])


def test_the_kit_brings_no_framework() -> None:
    code = (
        "import sys; from echobench.testing import check_task\n"
        "check_task('whole[batch=7]', backends=['jax'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    # Its workers would: they are kept from starting, since this is about the parent.
    code = "from echobench.harness import launch\nlaunch._run_worker = lambda *_: {}\n" + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & FRAMEWORKS
