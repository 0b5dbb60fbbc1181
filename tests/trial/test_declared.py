"""Which seeds were declared, by a record or its command, and which are missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.trial.declared import Declaration, asked_for, declaration, shortfall
from echobench.trial.record import Provenance, Record
from echobench.trial.trial import FIRST_TUNING_SEED
from tests.records import record

RUN = ["echobench", "run", "--task", "partial"]


def told(seed: int, command: list[str], seeds: Any = None, repeat: int = 0) -> Record:
    provenance = Provenance(command=command, seeds=seeds)
    return record(seed, provenance=provenance, trial={"repeat": repeat})


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (told(3, [*RUN, "--seeds", "10"]), (0, 10, 1)),
        (told(3, [*RUN, "--seeds=10", "--repeats", "2"]), (0, 10, 2)),
        (told(3, [*RUN, "--replicates", "32", "--seeds", "6"]), (0, 32, 1)),
        (told(0, RUN), (0, 1, 1)),
        (told(3, ["echobench", "study", "size"]), (0, 4, 1)),  # so there were four at least
        (told(3, ["echobench.run"], repeat=2), (0, 4, 3)),
        (told(3, ["echobench.run"], {"seeds": 8, "first": 2, "repeats": 3}), (2, 8, 3)),
        (told(3, [*RUN, "--seeds", "auto"], {"looks": [8, 12, 18]}), (0, 8, 1)),
        (told(8, [*RUN, "--seeds", "auto"], {"looks": [8, 12, 18]}), (0, 12, 1)),
        (told(30, [*RUN, "--seeds", "auto"], {"looks": [8, 12, 18]}), (0, 31, 1)),
        (told(FIRST_TUNING_SEED + 2, ["echobench", "tune"]), (FIRST_TUNING_SEED, 3, 1)),
        (told(3, ["echobench.run"], {"seeds": "many"}), (0, 4, 1)),
        (told(3, ["echobench.run"], {"seeds": 10**30, "looks": 5}), (0, 4, 1)),
        (told(3, ["echobench.run"], {"seeds": 9, "repeats": 10**9}), (0, 4, 1)),
        (told(3, ["echobench.run"], {"seeds": 9, "first": "here"}), (0, 4, 1)),
    ],
)
def test_what_was_declared(one: Record, expected: tuple[int, int, int]) -> None:
    assert declaration(one) == Declaration(*expected)


def test_only_a_run_asks_for_seeds() -> None:
    assert asked_for(told(0, ["echobench", "tune", "--seeds", "3"])) == {}
    assert asked_for(told(0, [*RUN, "--seeds", "auto"])) == {}
    assert asked_for(told(0, [])) == {}


def test_what_is_missing_by_hand() -> None:
    ten = Declaration(0, 10, 1)
    missing = shortfall((ten, seed, 0) for seed in (0, 1, 2, 4, 8))
    assert str(missing) == "5 of 10 declared seeds; no record of seed 3, 5 to 7, 9"
    assert shortfall((ten, seed, 0) for seed in range(10)) is None
    twice = Declaration(0, 2, 2)
    missing = shortfall([(twice, 0, 0), (twice, 1, 0), (twice, 1, 1)])
    assert str(missing) == "3 of 4 declared trials; no record of seed 0 (repeat 1)"
    searched = Declaration(FIRST_TUNING_SEED, 3, 1)
    trials = [(ten, seed, 0) for seed in range(10)]
    assert shortfall([*trials, *((searched, FIRST_TUNING_SEED + n, 0) for n in range(3))]) is None


@given(
    declared=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=4),
    data=st.data(),
)
def test_every_trial_is_there_or_missing(declared: list[tuple[int, int]], data: Any) -> None:
    every = [
        (Declaration(0, seeds, repeats), seed, repeat)
        for seeds, repeats in declared
        for seed in range(seeds)
        for repeat in range(repeats)
    ]
    there = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    asked = {
        (seed, repeat)
        for one, _, _ in there
        for seed in range(one.seeds)
        for repeat in range(one.repeats)
    }
    found = shortfall(there)
    left = asked - {(seed, repeat) for _, seed, repeat in there}
    assert (found is None) == (not left)
    if found:
        assert (found.declared, found.declared - found.present) == (len(asked), len(left))
