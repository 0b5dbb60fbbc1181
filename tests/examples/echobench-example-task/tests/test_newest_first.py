"""The task asks for what it says, and keeps the rules."""

import numpy as np
from echobench_example_task.newest_first import NewestFirst

from echobench.testing import assert_task


def test_the_newest_comes_first() -> None:
    inputs, targets = NewestFirst().supervised(np.arange(8))
    assert inputs.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert targets.tolist() == [[7, 6, 5]]


def test_it_keeps_the_rules() -> None:
    assert_task("newest-first")
