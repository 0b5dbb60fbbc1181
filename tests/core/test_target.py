"""Certification, on networks whose true error rate is known."""

from __future__ import annotations

import numpy as np
import pytest

from echobench.core import target
from echobench.core.sequences import stream
from echobench.core.task import Task
from echobench.plugin.manager import Plugins
from tests.probes.coverage import NETWORKS, Learner, certified


@pytest.fixture
def task(plugins: Plugins) -> Task:
    return plugins.tasks["partial"].value()


def test_a_perfect_learner_is_certified(task: Task) -> None:
    score = target.certify(task, Learner(task, 0.0), stream(0, "certify", 1), 1000)
    assert (score.sequences, score.tokens, score.wrong_tokens) == (1000, 42_000, 0)
    assert score.accuracy == score.exact_match == 1.0


def test_a_set_that_is_no_multiple_of_a_block_counts_exactly(task: Task) -> None:
    score = target.score(task, Learner(task, 1.0), stream(0, "measure"), 70)
    assert (score.sequences, score.wrong_sequences, score.wrong_tokens) == (70, 70, 70)
    assert score.exact_match == 0.0
    assert score.accuracy == pytest.approx(41 / 42)


def test_a_score_shows_an_echo_of_its_first_sequence(task: Task) -> None:
    score = target.score(task, Learner(task, 1.0), stream(0, "measure"), 70)
    # The partial echo: the oldest two of the first window; the first of them is one too high.
    first, second = task.sample(stream(0, "measure"), target.BLOCK)[0, :2].tolist()
    assert score.echo == ([first, second], [(first + 1) % 100, second])


def test_the_echo_shown_is_one_of_which_most_is_asked(plugins: Plugins) -> None:
    masked = plugins.tasks["masked"].value()  # the first windows lack tokens
    score = target.score(masked, Learner(masked, 0.0), stream(0, "measure"), 5)
    row = masked.sample(stream(0, "measure"), target.BLOCK)[0]
    assert score.echo == (row[:5].tolist(), row[:5].tolist())


def test_certification_stops_at_the_first_block_with_an_error(task: Task) -> None:
    learner = Learner(task, 1.0)
    score = target.certify(task, learner, stream(0, "certify"), 1000)
    assert score.wrong_sequences == score.sequences == learner.asked == target.BLOCK


@pytest.mark.parametrize(
    ("attempt", "sequences"), [(1, 1230), (2, 1596), (3, 1827), (34, 3360), (1000, 5605)]
)
def test_each_attempt_needs_more_sequences(attempt: int, sequences: int) -> None:
    assert target.needed(attempt, 0.003) == sequences
    assert target.needed(attempt, 0.0003) == pytest.approx(10 * sequences, abs=10)


@pytest.mark.parametrize("bound", [0.5, 0.06, 0.003, 1e-4])
def test_all_attempts_together_err_as_rarely_as_one_may(bound: float) -> None:
    attempts = np.arange(1, 2000)
    needed = np.array([target.needed(int(k), bound) for k in attempts])
    assert ((1 - bound) ** needed).sum() <= target.ERROR


@pytest.mark.parametrize(
    ("attempts", "trials", "most"), [(1, 400, 36), (10, 400, 36), (100, 90, 14)]
)
@pytest.mark.parametrize("rate", NETWORKS)
def test_few_trials_certify_a_network_at_the_bound(
    rate: str, attempts: int, trials: int, most: int
) -> None:
    """5% of trials may; that more than `most` do has a chance below one in a thousand."""
    assert sum(certified(NETWORKS[rate], attempts, seed) for seed in range(trials)) <= most


def test_a_network_that_is_hardly_ever_wrong_mostly_passes(task: Task) -> None:
    # (1 - 1/20000) ** 1230 = 94.0%: a certificate is no more than it says.
    passed = sum(
        not target.certify(
            task, Learner(task, 1 / 20_000, seed), stream(seed, "certify", 1), 1230
        ).wrong_tokens
        for seed in range(60)
    )
    assert passed >= 49
