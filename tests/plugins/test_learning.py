"""Every task can be learnt: at a small size, from nothing to no wrong token."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.cells import LEARNT
from tests.plugins.test_backends import ROOT


@pytest.fixture(scope="module")
def found() -> dict[str, list[float]]:
    """Return the accuracy of each task before and after training."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.probes.learning", "jax"],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("selector", LEARNT)
def test_a_task_is_learnt(selector: str, found: dict[str, list[float]]) -> None:
    before, after = found[selector]
    assert before < 0.6
    assert after > 0.99


def test_no_task_is_forgotten(plugins: Plugins) -> None:
    taught = {resolve(selector, "open", plugins)[1].name for selector in LEARNT}
    ours = {name for name, task in plugins.tasks.items() if task.distribution == "echobench"}
    # The two echoes of the tutorial are taught at full size: tests/cli/test_cli.py and
    # tests/harness/test_predicting.py.
    assert taught | {"whole", "partial"} == ours
