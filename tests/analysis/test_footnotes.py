"""Footnotes: break-even by brute force, agreement by what is known."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.analysis.footnotes import Course, absent, break_even, chosen, footnotes
from echobench.analysis.pairs import MARGIN
from echobench.trial.record import Parity, Record
from tests.analysis.test_table import with_backend
from tests.records import changed, record

COURSES = st.lists(
    st.tuples(st.floats(0, 100), st.floats(1e-6, 1e-1)).map(lambda pair: Course("one", *pair)),
    min_size=1,
    max_size=6,
)


@given(COURSES, st.floats(0, 1e6))
def test_nobody_is_far_ahead_of_who_is_first(courses: list[Course], updates: float) -> None:
    found = break_even(courses)
    starts = [at for at, _ in found]
    assert starts == sorted(starts)
    first = [course for at, course in found if at <= updates][-1]
    best = min(c.compile_s + updates * c.seconds_per_update for c in courses)
    taken = first.compile_s + updates * first.seconds_per_update
    assert taken <= best + MARGIN * updates * first.seconds_per_update + 1e-9 * (1 + taken)


def test_a_crossing_by_hand() -> None:
    eager, compiled = Course("eager", 1.0, 0.02), Course("compiled", 4.0, 0.01)
    (_, first), (at, second) = break_even([compiled, eager])
    assert (first, second) == (eager, compiled)
    assert at == pytest.approx(300)


def trials(backend: str, seconds: float, updates: float, **fields: Any) -> list[Record]:
    return [
        record(
            seed,
            **{
                "backend": backend,
                "compile_s": 10 * seconds,
                "seconds_per_update": 1 / seconds / 1e3,
                "updates_to_target": int(updates * np.exp(seed / 3)),
                **fields,
            },
        )
        for seed in range(10)
    ]


def test_updates_to_certificates_of_two_rules_are_not_compared() -> None:
    old = {"bound": 0.0, "certify": 1000}
    sooner = [
        *trials("jax", 1.0, 300, trial=old),
        *trials("torch", 1.0, 300, trial=old),
    ]
    sooner = [changed(one, key=f"old {one.key}") for one in sooner]
    later = [*trials("jax", 1.0, 900), *trials("torch", 1.0, 900)]
    lines = [line for line in footnotes([*sooner, *later]) if "updates to target" in line]
    assert [line.partition(": ")[2] for line in lines] == [
        "updates to target differ by less than 5% [1, 1]"
    ] * 2
    lines = footnotes([*sooner[:10], *later[10:]])  # JAX by the old rule, torch by the new one
    assert not any("updates to target differ" in line for line in lines)


def test_who_is_first_and_who_agrees() -> None:
    first, second = footnotes([*trials("jax", 2, 100), *trials("torch", 1, 100)])
    assert first == (
        "partial closed, compiling counted: torch fused first up to 20,000 updates, then jax fused"
    )
    assert second == "partial closed: updates to target differ by less than 5% [1, 1]"


def test_who_learns_otherwise_does_not_agree() -> None:
    *_, line = footnotes([*trials("jax", 2, 100), *trials("torch", 1, 10_000)])
    assert re.fullmatch(
        r"partial closed: updates to target differ: "
        r"jax fused takes [\d.]+x fewer than torch fused \[100, 10[01]\]",
        line,
    )


def test_three_seeds_do_not_agree_however_alike_and_however_far_apart() -> None:
    for factor in (1, 10):
        few = [*trials("jax", 2, 100)[:3], *trials("torch", 1, 100 * factor)[:3]]
        (line,) = footnotes(few)
        assert line.startswith("partial closed: too few trials to say who is first, or whether")


def test_where_no_difference_is_shown_it_says_which_there_may_be() -> None:
    one = trials("jax", 2, 1000)
    other = [
        changed(r, updates_to_target=int((r.updates_to_target or 0) * (0.8, 1.25)[r.seed % 2]))
        for r in trials("torch", 1, 1000)
    ]
    *_, line = footnotes([*one, *other])
    found = re.search(r"no difference .* is shown; ratios of \[([\d.]+), ([\d.]+)\] are", line)
    assert found is not None
    low, high = map(float, found.groups())
    assert low == pytest.approx(0.8, abs=0.01)
    assert high == pytest.approx(1.25, abs=0.01)
    # Half of a cell missed: it took so many, or any number more.
    missing = [
        changed(r, status="missed", updates=r.updates_to_target, updates_to_target=None)
        for r in one[:5]
    ]
    *_, line = footnotes([*one, *with_backend("torch", *missing, *one[5:])])
    assert "differ by less" not in line


def test_of_many_pairs_of_cells_the_difference_is_corrected() -> None:
    # Six pairs on one side: shown of two cells, but by chance in one of 32.
    shifted = [
        changed(r, updates_to_target=int((r.updates_to_target or 0) * 1.5))
        for r in trials("torch", 1, 1000)[:6]
    ]
    two = [*trials("jax", 2, 1000)[:6], *shifted]
    assert footnotes(two)[-1].startswith("partial closed: updates to target differ: ")
    third = with_backend("flax", *trials("jax", 2, 1000)[:6])
    assert "differ" not in footnotes([*two, *third])[-1]


def noisy(
    backend: str, compile_s: float, update_s: float, noise: float, rng: np.random.Generator
) -> list[Record]:
    factors = np.exp(rng.normal(0, noise, (2, 8)))
    return [
        record(seed, backend=backend, compile_s=compile_s * a, seconds_per_update=update_s * b)
        for seed, (a, b) in enumerate(factors.T.tolist())
    ]


def test_a_break_even_lies_where_it_is_said_to_lie() -> None:
    rng, held, tries = np.random.default_rng(0), 0, 60
    for _ in range(tries):
        eager, compiled = noisy("torch", 1, 0.02, 0.05, rng), noisy("jax", 4, 0.01, 0.05, rng)
        (line,) = footnotes([*eager, *compiled])
        found = re.search(r"first up to between (\d+) and (\d+) updates, then jax fused", line)
        assert found is not None
        low, high = map(int, found.groups())
        assert 150 < low < high < 600
        held += low <= 300 <= high
    assert held / tries >= 0.95 - 0.085  # three standard deviations


def test_an_order_that_resamples_reverse_is_not_said() -> None:
    rng = np.random.default_rng(1)
    eager = noisy("torch", 1, 0.02, 0.02, rng)
    alike = [*noisy("jax", 4, 0.01, 0.02, rng), *noisy("flax", 4, 0.01, 0.02, rng)]
    (line,) = (line for line in footnotes([*eager, *alike]) if "compiling" in line)
    assert line.endswith("updates, then flax fused or jax fused (not shown which)")
    assert line.startswith("partial closed, compiling counted: torch fused first up to between ")
    (line,) = (line for line in footnotes(alike) if "compiling" in line)
    assert line.endswith("flax fused or jax fused first (not shown which)")


def test_a_break_even_beyond_what_was_run_says_so() -> None:
    def ran(updates: int) -> str:
        long = [changed(one, updates=90_000) for one in trials("torch", 1, 100)]
        return footnotes(
            [*(changed(one, updates=updates) for one in trials("jax", 2, 100)), *long]
        )[0]

    assert ran(30_000).endswith("torch fused first up to 20,000 updates, then jax fused")
    assert ran(400).endswith("up to 20,000 updates (beyond the 400 that were run), then jax fused")
    slow = [changed(one, compile_s=99.0) for one in trials("torch", 1, 100)]
    (line, _) = footnotes([*(changed(one, updates=400) for one in trials("jax", 1, 100)), *slow])
    assert line.endswith("jax fused first up to the 400 updates that were run")


def test_one_alone_and_one_that_failed_parity_are_in_no_footnote() -> None:
    wrong = Parity(passed=False, reference="jax fit", tolerance=1e-5, largest_difference=0.1)
    assert footnotes(trials("jax", 2, 100)) == []
    assert footnotes([*trials("jax", 2, 100), *trials("torch", 1, 9, parity=wrong)]) == []


def test_what_was_chosen_among_trials_is_said() -> None:
    there = [record(seed) for seed in (0, 1, 3)]
    assert chosen(there[:2]) == []
    assert chosen([*there, record(1)]) == [
        "partial jax fused closed seed 1 was run 2 times; the last one counts",
        "partial jax fused closed: 3 of 4 declared seeds; no record of seed 2",
    ]


def test_conditions_that_are_not_the_suites_are_said() -> None:
    old = {"bound": 0.0, "certify": 1000}
    assert chosen([record(0, trial=old)]) == [
        "all cells: certified by the old rule, which did not count attempts"
    ]
    assert chosen([record(0, trial=old, status="missed")]) == []  # there is no certificate
    long = {"max_epochs": 10**7}
    assert chosen([record(0), record(0, backend="torch", trial=long)]) == [
        "partial torch fused closed: at most 10,000,000 epochs a trial (--max-epochs)"
    ]
    many = [record(0, backend=f"b{number}", trial=old) for number in range(9)]
    assert "partial b4 fused closed and 4 more: cert" in chosen([*many, record(0)])[0]
    given = [record(0, trial={"environment": {"XLA_FLAGS": "--a"}})]
    assert chosen(given) == ["all cells: variables XLA_FLAGS=--a (--env)"]
    assert chosen(given, shown=["environment"]) == []


def test_gaps_among_seeds_are_told_however_wide() -> None:
    (line,) = chosen([record(seed) for seed in (0, 2, 3, 999_999)])
    assert line == (
        "partial jax fused closed: 4 of 1,000,000 declared seeds; no record of seed 1, 4 to 999998"
    )
    (line,) = chosen([record(3 * seed) for seed in range(20)])
    assert line.endswith("25 to 26, 28 to 29 and 9 such gaps more")


def test_cells_that_others_have_are_missed() -> None:
    whole = {"task": "whole", "trial": {"task": "whole"}}
    there = [record(0), record(0, backend="torch"), record(0, **whole)]
    assert absent(there) == ["torch fused closed: no record of whole"]
    assert absent(there[:2]) == []
