"""Certification, on networks whose true error rate is known."""

from __future__ import annotations

import numpy as np
import pytest

from echobench.core import target
from echobench.core.sequences import Integers, stream
from echobench.core.task import Task
from echobench.plugins import Plugins


@pytest.fixture
def task(plugins: Plugins) -> Task:
    return plugins.task("partial").value()


class Learner:
    """Right, but for one token of a sequence with the given probability."""

    def __init__(self, task: Task, error_rate: float, seed: int = 0) -> None:
        self.task, self.error_rate = task, error_rate
        self.rng = np.random.default_rng(seed)
        self.asked = 0

    def __call__(self, rows: Integers) -> Integers:
        self.asked += len(rows)
        answers = self.task.expected(rows).copy()
        wrong = self.rng.random(len(rows)) < self.error_rate
        answers[wrong, 0, 0] = (answers[wrong, 0, 0] + 1) % 100
        return answers


def test_a_perfect_learner_is_certified_with_the_rule_of_three(task: Task) -> None:
    score = target.certify(task, Learner(task, 0.0), stream(0, "certify"), 1000)
    assert (score.sequences, score.tokens, score.wrong_tokens) == (1000, 42_000, 0)
    assert score.error_bound == 0.003
    assert score.accuracy == score.exact_match == 1.0


def test_a_set_that_is_no_multiple_of_a_block_counts_exactly(task: Task) -> None:
    score = target.score(task, Learner(task, 1.0), stream(0, "measure"), 70)
    assert (score.sequences, score.wrong_sequences, score.wrong_tokens) == (70, 70, 70)
    assert score.exact_match == 0.0
    assert score.accuracy == pytest.approx(41 / 42)
    assert score.error_bound is None


def test_certification_stops_at_the_first_block_with_an_error(task: Task) -> None:
    learner = Learner(task, 1.0)
    score = target.certify(task, learner, stream(0, "certify"), 1000)
    assert score.wrong_sequences == score.sequences == learner.asked == target.BLOCK


def test_a_learner_wrong_once_in_200_is_refused_as_often_as_it_must_be(task: Task) -> None:
    # Certified with probability (1 - 1/200) ** 1000 = 0.67%: of 200 tries, at most 8
    # but once in ten thousand runs of this test with fresh seeds (these are fixed).
    rng = stream(0, "certify")
    clean = sum(
        target.certify(task, Learner(task, 1 / 200, seed), rng, 1000).wrong_tokens == 0
        for seed in range(200)
    )
    assert clean <= 8
