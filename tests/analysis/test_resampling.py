"""Processes are resampled, then trials: against brute force, graphs and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from echobench.analysis.resampling import design_effect, linked, medians, numbered, weights
from echobench.analysis.statistics import (
    FEWEST_PAIRS,
    FEWEST_PROCESSES,
    MANY_PAIRS,
    censored_median,
    fewest_processes,
    ratio,
    signed_rank,
    student,
)

NAMES = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=12)


@given(NAMES)
def test_a_trial_without_a_named_process_has_one_to_itself(names: list[str]) -> None:
    numbers = numbered(names)
    for first, one in enumerate(names):
        for second, other in enumerate(names):
            together = first == second or (one == other and one != "")
            assert (numbers[first] == numbers[second]) == together


@given(st.lists(st.tuples(*[st.sampled_from(["", "a", "b", "c", "d", "e"])] * 2), min_size=1))
def test_pairs_are_linked_as_their_processes_are_in_a_graph(pairs: list[tuple[str, str]]) -> None:
    first, second = ([*side] for side in zip(*pairs, strict=True))
    ours, theirs = numbered(first), numbered(second) + len(pairs)
    edges = sparse.coo_array((np.ones(len(pairs)), (ours, theirs)), (2 * len(pairs),) * 2)
    _, of = sparse.csgraph.connected_components(edges, directed=False)
    expected, found = of[ours], linked(first, second)
    assert ((found[:, None] == found) == (expected[:, None] == expected)).all()


def test_where_sides_deal_otherwise_only_what_shares_nothing_is_apart() -> None:
    ours = ["a", "a", "a", "b", "b", "b"]
    assert linked(ours, ["c", "c", "c", "d", "d", "d"]).tolist() == [0, 0, 0, 1, 1, 1]
    assert linked(ours, [""] * 6).tolist() == [0, 0, 0, 1, 1, 1]
    assert linked(ours, ["c", "c", "d", "d", "e", "e"]).tolist() == [0] * 6


def test_a_draw_takes_as_many_processes_and_of_each_as_many_trials_as_it_has() -> None:
    processes = np.array([7, 7, 7, 3, 5, 5])  # the second lost trials
    drawn = weights(processes, 4000, np.random.default_rng(0))
    counts = np.stack([drawn[:, processes == one].sum(axis=1) for one in (7, 3, 5)], axis=1)
    times = counts / [3, 1, 2]
    assert (times == times.round()).all()
    assert (times.sum(axis=1) == 3).all()
    # Each trial is drawn once in the mean: a process counts for as many as it kept.
    assert drawn.mean(axis=0) == pytest.approx(np.ones(6), abs=0.08)
    # A resample of one process holds some of its trials twice, and others never.
    assert (drawn[:, :3].max(axis=1) > times[:, 0]).any()


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=9)
)
def test_the_median_of_a_draw_is_that_of_its_trials(trials: list[tuple[int, bool, int]]) -> None:
    times, ended, counts = (np.array(one) for one in zip(*trials, strict=True))
    hits = np.repeat(times[~ended], counts[~ended])
    misses = np.repeat(times[ended], counts[ended])
    (found,) = medians(times, counts[None].astype(float), ended)
    if not counts.sum():
        assert np.isnan(found)
        return
    expected = censored_median(hits, misses).value
    assert found == (np.inf if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=14), st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_with_a_process_for_each_trial_intervals_are_those_without(
    ratios: list[float], misses: int
) -> None:
    own = np.arange(len(ratios) + misses)
    assert ratio(ratios, processes=[own[: len(ratios)]]) == ratio(ratios)
    missed = [1.5] * misses
    assert censored_median(ratios, missed, own) == censored_median(ratios, missed)


def test_trials_that_repeat_their_process_say_nothing_more() -> None:
    rng = np.random.default_rng(2)
    logs = rng.normal(0, 0.1, 8)
    alone, eight = ratio(np.exp(logs)), np.repeat(np.arange(8), 8)
    repeated = ratio(np.exp(np.repeat(logs, 8)), processes=[eight])
    taken_for_independent = ratio(np.exp(np.repeat(logs, 8)))
    assert alone.low is not None
    assert repeated.low is not None
    assert taken_for_independent.low is not None
    assert repeated.n == 64
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), rel=0.01)
    assert taken_for_independent.low > repeated.low + 0.02
    row = censored_median(np.exp(np.repeat(logs, 8)), processes=eight)
    assert (row.low, row.high) == pytest.approx((alone.low, alone.high), rel=0.02)


def test_the_interval_is_of_processes_and_few_have_none() -> None:
    rng = np.random.default_rng(3)
    ratios = np.exp(rng.normal(0.2, 0.02, 24))
    for number in range(2, 9):
        processes = np.arange(24) * number // 24
        found, row = ratio(ratios, processes=[processes]), censored_median(ratios, (), processes)
        assert (found.low is None) == (row.low is None) == (number < FEWEST_PROCESSES)
        assert found.value == pytest.approx(np.exp(np.median(np.log(ratios))))
        assert row.value == pytest.approx(np.median(ratios))
    # Five processes of one trial each are five pairs, and too few as ever.
    assert FEWEST_PROCESSES < FEWEST_PAIRS
    assert ratio(ratios[:5], processes=[np.arange(5)]).low is None
    # So many contests ask for more processes, and several groups for as many each.
    processes = np.arange(24) // 4
    assert [fewest_processes(contests) for contests in (1, 2, 6)] == [5, 6, 7]
    assert ratio(ratios, processes=[processes], contests=2).low is not None
    assert ratio(ratios, processes=[processes], contests=6).low is None
    few = np.arange(24) // 6
    assert ratio(ratios, ratios, processes=[processes, processes]).low is not None
    assert ratio(ratios, ratios, processes=[processes, few]).low is None


def test_swapped_cells_have_the_inverse_interval() -> None:
    rng = np.random.default_rng(4)
    ratios, processes = np.exp(rng.normal(0.2, 0.2, 15)), np.arange(15) // 3
    found, swapped = (ratio(one, processes=[processes]) for one in (ratios, 1 / ratios))
    assert swapped[:3] == pytest.approx(found.inverse[:3])


def test_misses_widen_the_interval_of_a_median_and_open_its_end() -> None:
    rng = np.random.default_rng(5)
    times, processes = np.sort(np.exp(rng.normal(0, 0.3, 12))), np.arange(12) % 6
    whole = censored_median(times, (), processes)
    found = censored_median(times[:7], [9.0] * 5, processes)
    assert found.value == whole.value
    assert found.low == pytest.approx(whole.low)
    assert found.high is None
    # Trials that were given up before the median are none, nor are processes of only these.
    given_up = censored_median(
        times[:8], [0.01] * 4, np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    )
    assert given_up.low is None


@pytest.mark.parametrize("effects", ["normal", "two kinds"])
def test_the_interval_of_five_processes_holds_the_truth(
    effects: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `python -m tests.benchmarks.clusters coverage` has more; docs/method.md shows it.
    monkeypatch.setattr("echobench.analysis.statistics.RESAMPLES", 999)
    rng, held, naive = np.random.default_rng(6), 0, 0
    processes = np.repeat(np.arange(5), 3)
    for _ in range(150):
        shared = {"normal": rng.normal(0, 0.1, 5), "two kinds": 0.1 * rng.choice([-1.0, 1.0], 5)}
        logs = shared[effects][processes] + rng.normal(0, 0.05, 15)
        low, high = ratio(np.exp(logs), processes=[processes])[1:3]
        assert low is not None
        assert high is not None
        held += low <= 1 <= high
        low, high = ratio(np.exp(logs))[1:3]
        naive += low is not None and high is not None and low <= 1 <= high
    assert held / 150 >= 0.87  # 91%, and less by two standard deviations
    assert naive / 150 < 0.87


def test_of_many_processes_ranks_are_as_far_apart_as_their_design_effect_says() -> None:
    rng = np.random.default_rng(7)
    logs, processes = rng.normal(0, 0.1, MANY_PAIRS), np.repeat(np.arange(MANY_PAIRS), 4)
    alone = ratio(np.exp(logs))
    found = ratio(np.exp(np.repeat(logs, 4)), processes=[processes])
    row = censored_median(np.exp(np.repeat(logs, 4)), (), processes)
    for low, high in ((found.low, found.high), (row.low, row.high)):
        assert (low, high) == pytest.approx((alone.low, alone.high), rel=0.01)
    ratios = np.exp(rng.normal(0, 0.1, 4 * MANY_PAIRS))
    clustered, independent = ratio(ratios, processes=[processes]), ratio(ratios)
    assert (clustered.low, clustered.high) == pytest.approx(
        (independent.low, independent.high), rel=0.01
    )


def test_a_design_effect_of_copies_is_their_number() -> None:
    below = np.random.default_rng(8).random(50) < 0.5
    processes = np.arange(50)
    assert design_effect(below, processes) == pytest.approx(50 / 49)
    assert design_effect(np.repeat(below, 6), np.repeat(processes, 6)) == pytest.approx(6 * 50 / 49)
    assert design_effect(np.ones(9, bool), np.arange(9)) == 1.0


@given(st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 1e-3), min_size=6, unique_by=abs))
def test_an_interval_of_signed_ranks_excludes_0_where_wilcoxon_s_test_does(
    logs: list[float],
) -> None:
    for error in (0.05, 0.2):
        ends = signed_rank(np.array(logs), error)
        if ends is None:
            assert 2 * 0.5 ** len(logs) > error
        else:
            tested = stats.wilcoxon(logs, method="exact")
            assert (ends[0] > 0 or ends[1] < 0) == (tested.pvalue <= error)


def test_student_s_interval_is_that_of_scipy() -> None:
    logs = np.array([0.1, 0.3, 0.2, 0.15, 0.4])
    found = student(logs)
    expected = stats.ttest_1samp(logs, 0).confidence_interval()
    assert (np.log(found.low or 0), np.log(found.high or 0)) == pytest.approx(tuple(expected))
    assert found.value == pytest.approx(np.exp(logs.mean()))
    few = student(logs[:3], least=4)
    assert few.value == pytest.approx(np.exp(0.2))
    assert few[1:] == (None, None, 3)
