"""Statistics against closed forms, and against simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echobench.analysis.pairs import Verdict
from echobench.analysis.statistics import (
    FEWEST_PAIRS,
    MANY_PAIRS,
    Estimate,
    censored_median,
    disagreement,
    ratio,
    widened_tail,
)

TIMES = st.lists(st.floats(0.1, 100, allow_subnormal=False), min_size=1, max_size=20)


@given(TIMES)
def test_without_misses_the_median_is_the_first_time_half_have_hit(times: list[float]) -> None:
    found = censored_median(times, [])
    assert found.value == sorted(times)[(len(times) - 1) // 2]


def test_kaplan_meier_by_hand() -> None:
    # 5 at risk at 1 (4/5), one censored at 1.5, 3 at risk at 2 (8/15), one censored
    # at 3, one at risk at 4 (0): the median is 4.
    found = censored_median([1.0, 2.0, 4.0], [1.5, 3.0])
    assert (found.value, found.n) == (4.0, 5)


def test_a_median_that_most_did_not_reach_is_not_known() -> None:
    found = censored_median([1.0], [9.0, 9.0, 9.0])
    assert (found.value, found.high, found.n) == (None, None, 4)
    assert censored_median([], [9.0, 9.0]) == (None, None, None, 2)
    assert censored_median([3.0], []) == (3.0, None, None, 1)


def test_the_interval_of_the_median_by_hand() -> None:
    hits, ended = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], [2.5, 6.5, 9.5]
    survival, variance, low, high = 1.0, 0.0, None, None
    for time in hits[:-1]:
        at_risk = sum(other >= time for other in hits + ended)
        survival *= 1 - 1 / at_risk
        variance += 1 / (at_risk * (at_risk - 1))  # Greenwood's
        wide = stats.norm.ppf(0.975) * np.sqrt(variance) / np.log(survival)
        lower, upper = sorted(survival ** np.exp(side * wide) for side in (-1, 1))
        low = time if low is None and lower <= 0.5 else low
        high = time if high is None and upper <= 0.5 else high
    found = censored_median(hits, ended)
    assert low is not None
    assert high is not None
    assert low < (found.value or 0) < high
    assert (found.low, found.high, found.n) == (low, high, 13)


def test_a_watch_that_ended_before_the_first_hit_is_no_end_of_the_interval() -> None:
    # At 1 the band is not defined: nobody has hit yet.
    found = censored_median([5.0, 6.0, 7.0, 8.0, 9.0, 10.0], [1.0])
    assert (found.value, found.n) == (7.0, 7)
    assert found.low == 5.0


def test_the_interval_of_the_median_holds_the_truth() -> None:
    # Exponential times, censored at 1.5: the median is ln 2.
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        times = rng.exponential(size=30)
        found = censored_median(times[times <= 1.5], np.full((times > 1.5).sum(), 1.5))
        low, high = found.low or 0.0, found.high or np.inf
        held += low <= np.log(2) <= high
    assert held / 400 >= 0.92


@given(TIMES, st.floats(0.1, 10))
def test_a_constant_ratio_is_found(times: list[float], factor: float) -> None:
    found = ratio([factor] * len(times))
    assert found.value == pytest.approx(factor)
    assert (found.low is None) == (len(times) < FEWEST_PAIRS)


def test_several_tasks_are_their_geometric_mean() -> None:
    assert ratio([2.0, 2.0, 5.0], [8.0]).value == pytest.approx(4.0)
    assert ratio([2.0] * 9, [8.0] * 3).low is None  # as sure as its weakest task


@pytest.mark.parametrize("noise", ["normal", "outliers"])
@pytest.mark.parametrize("pairs", [FEWEST_PAIRS, 12])
def test_the_interval_of_a_ratio_holds_the_truth(
    pairs: int, noise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echobench.analysis.statistics.RESAMPLES", 999)  # 4 x 400 bootstraps
    rng, held = np.random.default_rng(pairs), 0
    for _ in range(400):
        logs = rng.normal(np.log(1.2), 0.03, pairs)
        if noise == "outliers":
            logs += (rng.random(pairs) < 0.1) * rng.laplace(0, 0.3, pairs)
        found = ratio(np.exp(logs))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.2 <= found.high
    assert 0.93 <= held / 400 <= 0.995


def test_of_many_pairs_the_interval_is_that_of_the_order_statistics() -> None:
    # Of 100, the 40th and the 61st: Conover's table. They hold the median with 96.5%.
    found = ratio(np.exp(np.random.default_rng(0).permutation(np.arange(1, 101))))
    assert found.value == pytest.approx(np.exp(50.5))
    assert (np.log(found.low or 0), np.log(found.high or 0)) == pytest.approx((40, 61))
    assert (found.n, MANY_PAIRS) == (100, 100)


@pytest.mark.parametrize(("n", "student"), [(6, 2.571), (10, 2.262), (31, 2.042)])
def test_a_tail_is_widened_by_student_and_by_the_bias_of_the_variance(
    n: int, student: float
) -> None:
    # Student's 97.5% point as tables have it, for n - 1 degrees of freedom.
    expected = stats.norm.sf(student * (n / (n - 1)) ** 0.5)
    assert widened_tail(n) == pytest.approx(expected, rel=2e-3)
    assert widened_tail(n) < 0.025


def test_the_interval_of_twelve_pairs_is_a_percentile_of_all_resamples() -> None:
    ratios = 1.1 ** np.arange(1, 13)
    found = ratio(ratios)
    # The median lies between the 6th and the 7th of twelve draws; the k-th value, or less,
    # is the m-th draw if at least m draws are.
    lower, upper = (
        ratios[np.searchsorted(stats.binom.sf(m - 1, 12, np.arange(1, 13) / 12), widened_tail(12))]
        for m in (6, 7)
    )
    assert found.low is not None
    assert found.high is not None
    assert 1.2 < lower <= found.low <= upper < 1.6
    assert found.low * found.high == pytest.approx(ratios[0] * ratios[-1], rel=0.05)  # symmetry
    assert found.n == 12


def test_the_same_ratios_have_the_same_interval_each_time() -> None:
    rng = np.random.default_rng(8)
    one, other, third = (np.exp(rng.normal(0, 0.1, 40)) for _ in range(3))
    assert ratio(one, other, third) == ratio(one, other, third)


def test_of_several_tasks_the_interval_is_of_all_however_many_pairs() -> None:
    rng = np.random.default_rng(5)
    one, other = (centre * np.exp(rng.normal(0, 0.1, MANY_PAIRS)) for centre in (1.0, 4.0))
    found = ratio(one, other)
    assert found.low is not None
    assert found.high is not None
    assert 1.9 < found.low < (found.value or 0) < found.high < 2.1
    assert ratio(one[:3], other).n == 3
    assert ratio(one[:3], other).low is None


def test_there_is_a_winner_if_the_interval_excludes_1_and_only_if_it_has_two_ends() -> None:
    scaled = [Estimate(1.5 / by, 1 / by, 2 / by, 6) for by in (0.9, 1.0, 2.0, 2.1)]
    assert [Verdict(found).has_winner for found in scaled] == [True, False, False, True]
    for low, high in ((None, 2.0), (1.5, None), (None, None)):
        assert not Verdict(Estimate(1.7, low, high, 6)).has_winner


def test_a_cell_against_itself_shows_no_difference_19_times_of_20() -> None:
    rng = np.random.default_rng(3)
    shown = sum(Verdict(ratio(np.exp(rng.normal(0, 0.05, 8)))).has_winner for _ in range(100))
    assert shown <= 10


def test_disagreement_is_the_log_rank_test() -> None:
    a, b = [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]
    expected = stats.logrank(a, b).pvalue
    assert disagreement([(a, []), (b, [])]) == pytest.approx(expected)
    assert disagreement([(a, []), (b, []), (a, [])]) == pytest.approx(min(1.0, 3 * expected))


def test_disagreement_by_hand_with_trials_that_never_arrived() -> None:
    # At 1, 2, 3 and 4 one comes, of the first group two in all; so many are still at risk.
    observed, at_risk = 2, np.array([(3, 3), (1, 3), (1, 2), (0, 2)])
    share = at_risk[:, 0] / at_risk.sum(axis=1)
    distance = (observed - share.sum()) ** 2 / (share * (1 - share)).sum()
    found = disagreement([([1.0, 3.0], [1.5]), ([2.0, 4.0], [9.0])])
    assert found == pytest.approx(stats.chi2.sf(distance, 1))


def test_disagreement_is_never_more_than_certain_nor_hidden_by_groups_of_one_time() -> None:
    similar: list[tuple[list[float], list[float]]] = [
        ([time + shift for time in (1.0, 2.0, 3.0)], []) for shift in (0.0, 0.1, 0.2)
    ]
    assert disagreement(similar) == 1.0
    early, same = [1.0, 2.0, 3.0, 4.0], [300.0, 300.0, 300.0, 300.0]
    expected = 3 * stats.logrank(same, early).pvalue
    assert expected < 1
    assert disagreement([(same, []), (same, []), (early, [])]) == pytest.approx(expected)


def test_what_never_differs_does_not_disagree() -> None:
    assert disagreement([([300.0, 300.0], []), ([300.0, 300.0], [])]) == 1.0
    assert disagreement([([300.0], [])]) is None
    assert disagreement([([300.0], []), ([], [900.0])]) is None


def test_disagreement_is_as_rare_as_it_says() -> None:
    rng = np.random.default_rng(4)
    values = [
        disagreement([(rng.exponential(size=10), []), (rng.exponential(size=10), [])])
        for _ in range(400)
    ]
    assert np.mean([value is not None and value < 0.05 for value in values]) < 0.08
