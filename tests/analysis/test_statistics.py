"""Statistics against closed forms, and against simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echobench.analysis.pairs import Verdict
from echobench.analysis.statistics import (
    ERROR,
    FEWEST_PAIRS,
    MANY_PAIRS,
    Estimate,
    censored_median,
    fewest,
    observed,
    ratio,
    times,
    widened_tail,
)

TIMES = st.lists(st.floats(0.1, 100, allow_subnormal=False), min_size=1, max_size=20)


@given(TIMES)
def test_without_misses_the_median_is_numpy_s(times: list[float]) -> None:
    assert censored_median(times).value == pytest.approx(np.median(times), rel=1e-12)


@given(TIMES, st.integers(0, 12))
def test_misses_that_never_arrive_are_as_infinite_times(times: list[float], never: int) -> None:
    misses = np.full(never, np.inf)
    found = censored_median(times, misses)
    expected = float(np.median([*times, *misses]))
    if np.isinf(expected):
        assert found.value is None
    else:
        assert found.value == pytest.approx(expected, rel=1e-12)


def test_kaplan_meier_by_hand() -> None:
    # 5 at risk at 1 (4/5), one censored at 1.5, 3 at risk at 2 (8/15), one censored
    # at 3, one at risk at 4 (0): the median is 4.
    found = censored_median([1.0, 2.0, 4.0], [1.5, 3.0])
    assert (found.value, found.n) == (4.0, 5)
    # 4 at risk at 1 (3/4), 3 at 2 (1/2), one censored at 3, one at risk at 5: one half from 2 to 5.
    assert censored_median([1.0, 2.0, 5.0], [3.0]).value == 3.5
    # One half to the end: it may have come at any time after 2.
    assert censored_median([1.0, 2.0], [3.0, 3.0]).value is None


def test_a_median_that_most_did_not_reach_is_not_known() -> None:
    found = censored_median([1.0], [9.0, 9.0, 9.0])
    assert (found.value, found.high, found.n) == (None, None, 4)
    assert censored_median([], [9.0, 9.0]) == (None, None, None, 2)
    assert censored_median([3.0]) == (3.0, None, None, 1)


@pytest.mark.parametrize(
    ("n", "ranks"), [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (20, (6, 15))]
)
def test_without_misses_the_interval_is_that_of_conover_s_table(
    n: int, ranks: tuple[int, int]
) -> None:
    found = censored_median(np.arange(1, n + 1))
    assert (found.low, found.high) == ranks
    lower, upper = ranks
    inside = stats.binom.cdf(upper - 1, n, 0.5) - stats.binom.cdf(lower - 1, n, 0.5)
    narrower = stats.binom.cdf(upper - 2, n, 0.5) - stats.binom.cdf(lower, n, 0.5)
    assert narrower < 0.95 <= inside


def test_an_end_that_the_curve_does_not_reach_is_not_known() -> None:
    found = censored_median(np.arange(1, 7), [9.0, 9.0, 9.0])
    # Of nine, the second and the eighth, which is a miss.
    assert (found.value, found.low, found.high) == (5.0, 2.0, None)


def test_a_watch_that_ended_before_the_first_hit_is_no_observation() -> None:
    found = censored_median([5.0, 6.0, 7.0, 8.0, 9.0, 10.0], [1.0])
    assert found == (7.5, 5.0, 10.0, 7)  # as without it, but one of n
    assert censored_median([5.0, 6.0, 7.0, 8.0, 9.0], [1.0]) == (7.0, None, None, 6)


@pytest.mark.parametrize("misses", ["none", "at the budget", "early", "never"])
@pytest.mark.parametrize("n", [2, 3, FEWEST_PAIRS, 7, 10, 20])
def test_the_interval_of_the_median_holds_the_truth(n: int, misses: str) -> None:
    # Exponential times: the median is ln 2. The table of docs/method.md has more draws.
    rng, held, told = np.random.default_rng(n), 0, 0
    for _ in range(300):
        times = rng.exponential(size=n)
        ends = {
            "none": np.full(n, np.inf),
            "at the budget": np.full(n, 1.2),
            "early": rng.exponential(3, n),
            "never": np.full(n, 1.2),
        }[misses]
        hit = times <= ends
        found = censored_median(
            times[hit], np.full(int((~hit).sum()), np.inf) if misses == "never" else ends[~hit]
        )
        if not hit.any() or (found.low is None and found.high is None):
            continue
        told += 1
        held += (found.low or 0.0) <= np.log(2) <= (found.high or np.inf)
    if n < FEWEST_PAIRS:
        assert told == 0
    else:
        assert told > 0
        assert held / told >= 0.91  # 95 times of 100, at least; three standard deviations


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
    few = ratio(one[:3], other)
    assert (few.low, few.n) == (None, 3 + MANY_PAIRS)
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


def test_so_many_contests_hold_all_at_once() -> None:
    rng, contests, wrong = np.random.default_rng(6), 6, [0, 0]
    for _ in range(120):
        drawn = np.exp(rng.normal(0, 0.1, (contests, 10)))
        for place, number in enumerate((1, contests)):
            wrong[place] += any(Verdict(ratio(one, contests=number)).has_winner for one in drawn)
    assert wrong[0] / 120 > 0.08  # each at 95%
    assert wrong[1] / 120 < 0.05 + 0.06


def test_the_fewest_pairs_are_those_of_which_all_on_one_side_decide() -> None:
    assert fewest() == FEWEST_PAIRS
    for contests in range(1, 400):
        n = fewest(contests)
        assert 2 * 0.5**n <= ERROR / contests < 2 * 0.5 ** (n - 1)
        assert ratio([1.1] * (n - 1), contests=contests).low is None
    assert Verdict(ratio(np.linspace(1.1, 1.2, fewest(6)), contests=6)).has_winner


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_an_interval_that_excludes_1_is_not_printed_as_one_that_does_not(
    a: float, b: float
) -> None:
    low, high = sorted((a, b))
    printed = [float(text.replace(",", "")) for text in (times(low), times(high))]
    for value, shown in zip((low, high), printed, strict=True):
        assert shown == pytest.approx(value, rel=0.006)
        assert (shown > 1) == (value > 1 + 1e-12)
        assert (shown < 1) == (value < 1 - 1e-12)


def test_a_ratio_has_three_digits_unless_it_would_look_like_1() -> None:
    told = (2.118, 1.004, 1.0004, 0.9996, 1.0, 1 + 1e-14, 1234.5, np.inf, 0.0)
    expected = ["2.12", "1.004", "1.0004", "0.9996", "1", "1", "1,234", "inf", "0"]
    assert [times(ratio) for ratio in told] == expected
    assert Estimate(1.1, 1.0004, 1.2, 9).interval == "[1.0004, 1.2]"
    assert Estimate(1.1, None, None, 3).interval == ""


def test_what_never_arrives_is_infinitely_far() -> None:
    found = ratio([np.inf] * 6 + [1.2] * 2)
    assert (found.value, found.n) == (np.inf, 8)
    assert Verdict(found).has_winner
    assert found.inverse[:2] == (0.0, 0.0)
    assert found.inverse.high == pytest.approx(1 / 1.2)
    assert Verdict(found.inverse).advantage.value == np.inf
    # As many never arrived on either side: nothing is shown.
    assert ratio([np.inf] * 4 + [0.0] * 4).value == 1.0


def test_observations_of_a_median_are_those_not_censored_before_it() -> None:
    """Against the product of Kaplan and Meier, and the fewest observations of an interval."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        times, hit = rng.exponential(size=9), rng.random(9) < 0.7
        stays, half = 1.0, times[hit].max(initial=0.0)
        for left, place in zip(range(9, 0, -1), np.argsort(times), strict=True):
            stays *= 1 - hit[place] / left
            if stays < 0.5 + 1e-9:
                half = min(half, times[place])
        expected = (hit | (times >= half)) & hit.any()
        says = observed(np.where(hit, times, np.nan), np.where(hit, np.nan, times))
        assert says.tolist() == expected.tolist()
        found = censored_median(times[hit], times[~hit])
        assert (found.low is not None) == (expected.sum() >= FEWEST_PAIRS)
    none = np.array([np.nan])
    assert not observed(none, none).any()
