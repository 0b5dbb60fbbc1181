"""Footnotes: break-even by brute force, agreement by what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.analysis.footnotes import Course, absent, break_even, chosen, footnotes
from echobench.analysis.pairs import MARGIN
from echobench.trial.record import Parity, Record
from tests.records import record

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


def test_who_is_first_and_who_agrees() -> None:
    first, second = footnotes([*trials("jax", 2, 100), *trials("torch", 1, 100)])
    assert first == (
        "partial closed, compiling counted: torch fused first up to 20,000 updates, then jax fused"
    )
    assert second == "partial closed: updates to target agree (log-rank p = 1)"


def test_who_learns_otherwise_does_not_agree() -> None:
    *_, line = footnotes([*trials("jax", 2, 100), *trials("torch", 1, 10_000)])
    assert line.startswith("partial closed: updates to target do not agree (log-rank p = ")


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
    assert chosen([record(0, trial=old)]) == ["certified by the old rule: all cells"]
    assert chosen([record(0, trial=old, status="missed")]) == []  # there is no certificate
    long = {"max_epochs": 10**7}
    assert chosen([record(0), record(0, backend="torch", trial=long)]) == [
        "a budget of its own: 10,000,000 epochs: partial torch fused closed"
    ]
    many = [record(0, backend=f"b{number}", trial=old) for number in range(9)]
    assert chosen([*many, record(0)])[0].endswith("partial b4 fused closed and 4 more")


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
