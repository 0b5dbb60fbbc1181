"""Every task can be learnt: at a small size, from nothing to no wrong token."""

from __future__ import annotations

import pytest

from echobench.harness.asking import resolve
from echobench.plugin.manager import Plugins
from tests.plugins.cells import LEARNT
from tests.plugins.test_backends import answer


@pytest.fixture(scope="module")
def found() -> dict[str, list[float]]:
    """Return the accuracy of each task before and after training."""
    return dict(answer("jax", "tests.probes.learning", "jax"))


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
