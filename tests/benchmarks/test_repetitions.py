"""Variances within and between processes: against closed forms, and draws whose truth is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from echobench.store.folder import Store
from tests.analysis.test_places import made
from tests.benchmarks import repetitions
from tests.benchmarks.repetitions import Costs, Spread, costs_of, optimum, pooled, spread
from tests.records import changed


def test_of_as_many_trials_each_it_is_kalibera_and_jones() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.2, (9, 1)) + rng.normal(0, 0.1, (9, 4))
    found = spread(values.ravel(), np.repeat(np.arange(9), 4))
    first = values.var(axis=1, ddof=1).mean()  # S_1^2 = T_1^2
    second = values.mean(axis=1).var(ddof=1)  # S_2^2; T_2^2 = S_2^2 - S_1^2 / r_1
    assert found is not None
    assert found.within == pytest.approx(first)
    assert found.between == pytest.approx(second - first / 4)
    assert found[2:] == (9, 36)


def test_known_variances_are_found_where_processes_lost_trials() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 8, 600)
    processes = np.repeat(np.arange(600), sizes)
    values = rng.normal(0, 0.2, 600)[processes] + rng.normal(0, 0.1, len(processes))
    found = spread(values, processes)
    assert found is not None
    assert found.between**0.5 == pytest.approx(0.2, rel=0.1)
    assert found.within**0.5 == pytest.approx(0.1, rel=0.1)


def test_without_two_processes_or_a_second_trial_there_are_no_variances() -> None:
    assert spread([1.0, 2.0, 3.0], np.array([0, 0, 0])) is None
    assert spread([1.0, 2.0, 3.0], np.array([0, 1, 2])) is None
    alike = spread([1.0, 2.0, 1.0, 2.0], np.array([0, 0, 1, 1]))
    assert alike == Spread(0.0, 0.5, 2, 4)
    assert optimum(alike, Costs(10, 1)) == np.inf


@pytest.mark.parametrize("within", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("start_s", [3.0, 30.0])
def test_no_other_number_of_seeds_gives_less_variance_for_the_time(
    within: float, start_s: float
) -> None:
    found, costs = Spread(0.1**2, within**2, 5, 10), Costs(start_s, 0.7)
    n = np.linspace(0.01, 200, 2_000_000)
    product = (found.between + found.within / n) * (costs.start_s + n * costs.trial_s)
    assert optimum(found, costs) == pytest.approx(n[product.argmin()], rel=1e-2)


def test_cells_are_pooled_by_their_degrees_of_freedom() -> None:
    found = pooled([Spread(0.1, 0.2, 2, 6), Spread(0.4, 0.6, 3, 15)])
    assert found[:2] == pytest.approx((0.3, (4 * 0.2 + 12 * 0.6) / 16))
    assert found[2:] == (5, 21)


def test_a_start_costs_what_the_first_trial_takes_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        changed(
            one, first_update_s=0.1, train_s=0.5, eval_s=0.2, sustain_s=0.2,
            wall_s=1.25 if one.provenance.process.place else 9.25,  # type: ignore[union-attr] # each has one
        )
        for backend in ("jax", "torch")
        for one in made(backend)
    ]  # fmt: skip # one line reads better
    costs = costs_of(records)
    assert costs is not None
    assert costs == pytest.approx((8.0, 1.25))
    assert costs_of([]) is None
    store = Store(tmp_path / "results")
    for one in records:
        store.append(one)
    monkeypatch.setattr(sys, "argv", ["repetitions", "--results", str(store.folder)])
    assert repetitions.main() == 0
    lines, _, apart = (part.splitlines() for part in capsys.readouterr().out.partition("\n\n"))
    assert len(apart) == 4  # a head, and each cell's first trials over its later ones
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| update", "partial closed jax fused"],
        ["| update", "partial closed torch fused"],
        ["| paired time", "partial closed jax fused / torch fused"],
        ["| update", "pooled"],
        ["| paired time", "pooled"],
    ]
    assert " 8.00 s | 1.25 s | " in lines[2]
    assert " 16.00 s | 2.50 s | " in lines[4]
