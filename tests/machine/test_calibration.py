"""Calibration: rates that hold on a shared machine, limits that are shares, real disturbances."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from echobench.machine import calibration
from echobench.machine.calibration import (
    StealMeter,
    WaitMeter,
    assessed,
    calibrate,
    disturbances,
    matmul_windows,
)
from echobench.store.folder import Store
from echobench.trial.cell import LARGEST_FLOAT
from echobench.trial.record import Record
from tests.records import RESULTS, record

FLOPS = 2 * calibration.SIZE**3
"""Of a matrix product."""
NEIGHBOUR = """
import os, psutil, sys
cores = sorted(map(int, sys.argv[1:]))
if cores:
    psutil.Process().cpu_affinity(cores)
parent = os.getppid()
print(flush=True)
while os.getppid() == parent:
    pass
"""


@pytest.fixture
def shared_cores() -> Any:
    """Let two busy processes compete for each of our cores."""
    ours = psutil.Process()
    cores = ours.cpu_affinity() if hasattr(ours, "cpu_affinity") else [0]
    busy = [
        subprocess.Popen(
            [sys.executable, "-c", NEIGHBOUR, str(core)], stdout=subprocess.PIPE, text=True
        )
        for core in [*cores, *cores]
    ]
    for process in busy:
        assert process.stdout is not None
        process.stdout.readline()
    yield len(cores)
    for process in busy:
        process.kill()
        process.communicate()


def plain_rate() -> float:
    """Return the rate of one thread's products, by its processor time."""
    a = np.ones((calibration.SIZE, calibration.SIZE), np.float32)
    best = 0.0
    with threadpool_limits(1):
        for _ in range(20):
            start = time.thread_time()
            a @ a
            best = max(best, FLOPS / (time.thread_time() - start))
    return best


def test_rates_are_those_of_a_plain_measurement() -> None:
    found, plain = calibrate(2), plain_rate()
    assert 1 / 3 < found["thread_flops_per_s"] / plain < 3
    assert 2 / 3 < found["matmul_flops_per_s"] / plain < 6
    assert 1e8 < found["copy_bytes_per_s"] < 1e13
    assert found["matmul_spread"] >= 1
    assert found["threads"] == 2
    assert 0 < found["core_share"] <= 1.05  # two clocks
    assert found["frequency_mhz"] is None or found["frequency_mhz"] > 0


def test_the_rate_of_shared_cores_is_that_of_free_ones(shared_cores: int) -> None:
    # With one product for two threads it was a twentieth.
    plain = plain_rate()
    (window,) = matmul_windows(2, windows=1)
    assert window.flops_per_s > plain * 2 / 3
    assert window.core_share < 0.7


def test_a_window_counts_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets a quarter of its core: the rate is that of the core."""
    used, passed = itertools.count(step=0.001), itertools.count(step=0.004)
    monkeypatch.setattr(time, "thread_time", lambda: next(used))
    monkeypatch.setattr(time, "perf_counter", lambda: next(passed))
    (window,) = matmul_windows(1, windows=1)
    assert window.flops_per_s == pytest.approx(FLOPS / 0.001)
    assert window.core_share == pytest.approx(0.25)


def test_a_window_ends_where_its_threads_get_next_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used, passed = itertools.count(step=1e-6), itertools.count(step=0.01)
    monkeypatch.setattr(time, "thread_time", lambda: next(used))
    monkeypatch.setattr(time, "perf_counter", lambda: next(passed))
    matmul_windows(1, windows=1)
    assert next(passed) == pytest.approx(calibration.PATIENCE * calibration.WINDOW_S, rel=0.2)


def test_the_limit_is_a_share_of_the_best_rate() -> None:
    rates: dict[str, Any] = {
        "before": {"matmul_flops_per_s": 1e9},
        "after": {"matmul_flops_per_s": 2e9},
    }
    fields = {"flops_per_update": 1_000_000, "seconds_per_update": 1e-3}
    assert calibration.limit_fraction(fields, "cpu", rates) == 0.5
    assert calibration.limit_fraction(fields, "gpu", rates) is None
    assert calibration.limit_fraction({"flops_per_update": None}, "cpu", rates) is None
    assert calibration.limit_fraction({"flops_per_update": 1}, "cpu", rates) is None


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (None, (None, None)),
        (1.0, (1.0, None)),
        (3.5962, (None, "3.60x the measured matrix rate")),
    ],
)
def test_more_than_the_limit_is_none_and_says_why(share: float | None, told: Any) -> None:
    found = assessed(record(limit_fraction=share))
    assert (found.limit_fraction, found.limit_reason) == told
    assert assessed(found) == found


def test_no_committed_record_is_above_its_limit() -> None:
    records = [r for file in RESULTS.rglob("records-*.jsonl") for r in Store.read(file.parent)]
    above = {r.key for r in records if (r.limit_fraction or 0) > 1}
    assert above  # versions up to 4 said so
    above |= {r.key for r in records if r.limit_reason}
    assert {r.key for r in map(assessed, records) if r.limit_reason} == above
    assert all((r.limit_fraction or 0) <= 1 for r in map(assessed, records))


def trained(paces: Sequence[float], every: int = 5, **fields: Any) -> Record:
    """Return a record whose stretches between evaluations took these seconds an epoch."""
    times = [every * seconds for seconds in (paces[0], *paces)]  # the first one is not looked at
    points = [
        {"epoch": every * n, "train_s": at, "loss": 1.0, "accuracy": 0.5, "exact_match": 0.0}
        for n, at in enumerate(itertools.accumulate(times), start=1)
    ]
    return record(evaluations=points, **fields)


STEADY, SPELL = [0.01] * 12, [0.01] * 5 + [0.03] * 2 + [0.01] * 5


@pytest.mark.parametrize(
    ("noise", "causes"),
    [
        ({"steal_fraction": 0.08}, ["8.0% of the processor stolen"]),
        ({"steal_fraction": 0.01}, []),
        ({"load_before": 3.2, "machine": {"cores": 2}}, ["load 3.2 on 2 cores before the trial"]),
        ({"load_before": 2.2, "machine": {"cores": 2}}, []),
        ({"path": {"waited_share": 0.43}}, ["waited for a core in 43% of its time"]),
        ({"path": {"waited_share": 0.02}}, []),
        ({"path": {"waited_share": "0.5"}}, []),
        ({"path": {"waited_share": 50.0}}, []),
    ],
)
def test_causes_are_named_where_the_training_was_disturbed(
    noise: dict[str, Any], causes: list[str]
) -> None:
    assert disturbances(trained(STEADY, provenance=noise)) == []
    assert disturbances(trained(SPELL, provenance=noise))[1:] == causes


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"path": {"throttled_share": 0.34}}, ["throttled by quota for 34% of training"]),
        ({"path": {"throttled_share": 0.004}}, []),
        ({"path": {"throttled_share": None}}, []),
        ({"path": {"throttled_share": "0.5"}}, []),
        ({"path": {"throttled_share": 50.0}}, []),
        ({"machine": {"quota": 0.5}}, ["1 thread on a quota of 0.5 cores"]),
        ({"machine": {"quota": 1.5}}, []),
        ({"unlocked": "cores cannot be reserved"}, ["cores cannot be reserved"]),
    ],
)
def test_what_slows_all_of_a_training_alike_is_named(
    limits: dict[str, Any], told: list[str]
) -> None:
    one = {"threads": 1}
    assert disturbances(trained(STEADY, provenance=limits, trial=one)) == told
    assert disturbances(trained(SPELL, provenance=limits, trial=one))[: len(told)] == told


STOPPED: dict[str, Any] = {"first_update_s": 0.0, "train_s": 4.0, "wall_s": 10.0}


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"stopped_s": {"train": 2.0}}, ["stopped for 2 s of its 4 s of training"]),
        ({"stopped_s": {"train": 1.0, "first_update": 0.5}},
         ["stopped for 1.5 s of its 4 s of training"]),
        ({"stopped_s": {"compile": 2.0, "other": 1.0}}, ["stopped for 3 s outside of training"]),
        ({"stopped_s": {"train": 0.03, "eval": 0.05}}, []),  # less than a hundredth
        ({"stopped_s": {}, "suspended_s": 0.0}, []),
        ({"suspended_s": 7200.0}, ["the machine was suspended for 7,200 s"]),
        ({"stopped_s": {"train": "2"}, "suspended_s": [1]}, []),
        ({"stopped_s": 2.0, "suspended_s": -1.0}, []),
        ({}, []),
    ],
)  # fmt: skip # what is told and what is named stand together
def test_what_stopped_a_trial_is_named_by_itself(told: dict[str, Any], named: list[str]) -> None:
    assert disturbances(record(provenance={"path": told}, **STOPPED)) == named


def test_a_record_without_a_wall_time_was_not_stopped() -> None:
    assert disturbances(record(train_s=1.0)) == []


def test_a_stop_of_replicates_is_named_without_their_times() -> None:
    told = {"path": {"stopped_s": {"train": 2.0}}}
    assert disturbances(record(provenance=told)) == ["stopped for 2 s of training"]


@given(
    pace=st.floats(1e-2, 1e3),
    noise=st.lists(st.floats(0.95, 1.05), min_size=4, max_size=30),
    every=st.integers(3, 100),
)
def test_a_steady_training_is_never_flagged(pace: float, noise: list[float], every: int) -> None:
    assert disturbances(trained([pace * part for part in noise], every)) == []


@given(
    pace=st.floats(1e-2, 1e3),
    factor=st.floats(2.0, 100.0),
    at=st.integers(0, 8),
    every=st.integers(3, 100),
)
def test_a_third_at_half_the_speed_is_always_flagged(
    pace: float, factor: float, at: int, every: int
) -> None:
    paces = [pace * (factor if at <= n < at + 4 else 1.0) for n in range(12)]
    assert disturbances(trained(paces, every))


@given(times=st.lists(st.floats(0, LARGEST_FLOAT), min_size=2, max_size=9).map(sorted))
def test_whatever_times_are_claimed_something_is_said_of_them(times: list[float]) -> None:
    points = [
        {"epoch": n, "train_s": at, "loss": 1.0, "accuracy": 0.5, "exact_match": 0.0}
        for n, at in enumerate(times, start=1)
    ]
    assert len(disturbances(record(evaluations=points))) in {0, 1, 2}


def test_records_without_times_are_not_flagged() -> None:
    untimed = record().to_dict()
    point = {"loss": 1.0, "accuracy": 0.5, "exact_match": 0.0, "train_s": None}
    untimed["evaluations"] = [{**point, "epoch": n} for n in range(1, 9)]
    assert disturbances(Record.from_dict(untimed)) == []
    assert disturbances(record()) == []


def test_steal_is_a_share() -> None:
    fraction = StealMeter().fraction()
    assert fraction is None or 0 <= fraction <= 1


def test_waiting_is_measured(shared_cores: int) -> None:
    """Two neighbours for each core leave a thread a third of it."""
    meter = WaitMeter()
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    share = meter.share()
    if share is None:
        pytest.skip("this system does not count it")
    assert 0.3 < share < 1
