"""What workers claim: an honest result is believed, and no other is kept as one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echobench.harness import validation
from echobench.present.progress import result_message
from echobench.store import referee, rules
from echobench.store.reading import decoded
from echobench.trial.record import Record
from echobench.trial.trial import Trial
from tests.harness.faulty import honest, planned

STARTED = {"started_at": "2026-01-01T00:00:00.000+00:00"}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return planned(tmp_path_factory.mktemp("plugin"), "pass")[0]


def kept(trial: Trial, result: dict[str, Any], lived_s: float = 9.0, crowd: float = 1.0) -> Record:
    fields, measured = validation.split_result(result, lived_s, crowd)
    return validation.record(trial, {**STARTED, "provenance": measured, **fields})


def test_an_honest_result_is_believed(trial: Trial) -> None:
    record = kept(trial, honest(trial))
    assert (record.status, record.reason) == ("reached", None)
    found = [told for rule in rules.RULES for told in rule(record)]
    assert not found


@pytest.mark.parametrize(
    ("heard_s", "believed"),
    [(0.0, True), (12.0, True), (15.9, True), (16.1, False), (1e9, False)],
)
def test_a_clock_that_runs_slow_is_not_believed(
    heard_s: float, believed: bool, trial: Trial
) -> None:
    times = {"wall_s": 8.0, "other_s": 7.99, validation.HEARD: heard_s}
    record = kept(trial, {**honest(trial), **times})
    assert (record.status == "reached") is believed
    if not believed:
        assert "wall_s: 8 s by its clock" in (record.reason or "")


def test_what_follows_a_short_trial_is_no_slow_clock(trial: Trial) -> None:
    times = {"wall_s": 0.01, "other_s": 0.0, validation.HEARD: 2.9}
    assert kept(trial, {**honest(trial), **times}).status == "reached"


@pytest.mark.parametrize(("crowd", "believed"), [(1.0, False), (3.0, True), (2.0, False)])
def test_on_a_crowded_machine_a_calibration_takes_longer(
    crowd: float, believed: bool, trial: Trial
) -> None:
    times = {"wall_s": 7.3, "other_s": 7.29, validation.HEARD: 15.5}
    assert (kept(trial, {**honest(trial), **times}, 16.0, crowd).status == "reached") is believed


RATES = {
    "matmul_flops_per_s": 1e9, "copy_bytes_per_s": 1e9, "matmul_spread": 1.0, "frequency_mhz": None
}  # fmt: skip # one line reads better


@pytest.mark.parametrize(
    ("lie", "about"),
    [
        ({"time_to_target_s": -1.0}, "time_to_target_s"),
        ({"time_to_target_s": math.inf}, "time_to_target_s"),
        ({"time_to_target_s": 0.001}, "time_to_target_s"),
        ({"time_to_target_s": None}, "time_to_target_s"),
        ({"accuracy": 0.5}, "accuracy"),
        ({"accuracy": math.nan}, "accuracy"),
        ({"certified_sequences": None}, "certified_sequences"),
        ({"error_bound": 1e-9}, "error_bound"),
        ({"epochs": 10**12}, "epochs"),
        ({"epochs": None}, "epochs"),
        ({"updates": 10**400}, "updates"),
        ({"wall_s": 10.0, "other_s": 9.99}, "wall_s"),
        ({"wall_s": 0.5}, "ledger"),
        ({"evaluations": [{"epoch": 1, "train_s": 0.0, "loss": math.nan}]}, "evaluations"),
        ({"evaluations": "many"}, "evaluations"),
        ({"status": "splendid"}, "status"),
        ({"status": "missed"}, "epochs"),
        ({"status": "missed", "accuracy": None}, "accuracy"),
        ({"seed": 7}, "seed"),
        ({"trial": {}}, "trial"),
        ({"provenance": {"machine": "other"}}, "provenance"),
        ({"started_at": "1970-01-01"}, "started_at"),
        ({"path": "somewhere"}, "path"),
        ({"calibration": {"before": {**RATES, "matmul_flops_per_s": 0.0}}}, "calibration"),
        ({"calibration": {"before": 3}}, "calibration"),
        ({"limit_reason": "the machine is slow"}, "limit_reason"),
        ({"no_such_field": 1}, "no_such_field"),
    ],
)
def test_a_lie_is_a_failed_record_that_says_what_about(
    lie: dict[str, Any], about: str, trial: Trial
) -> None:
    record = kept(trial, {**honest(trial), **lie})
    assert record.status == "failed"
    assert (record.reason or "").startswith("the worker's result ")
    assert about in (record.reason or "")
    assert record.time_to_target_s is None


def test_a_share_above_the_limit_is_recorded_empty_with_the_reason(trial: Trial) -> None:
    record = kept(trial, {**honest(trial), "limit_fraction": 3.6})
    assert record.status == "reached"
    assert record.limit_fraction is None
    assert record.limit_reason == "3.60x the measured matrix rate"


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.sampled_from([10**300, -(10**300), 0, 1, "reached", "missed", "timeout"])
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
NAMES = [*Record.__struct_fields__, "calibration", "path", validation.LATER, "replicates"]


@settings(max_examples=150)
@given(changes=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), ANYTHING, max_size=4))
def test_whatever_is_claimed_there_is_a_record_that_can_be_kept_and_read(
    changes: dict[str, Any], trial: Trial
) -> None:
    record = kept(trial, {**honest(trial), **changes})
    line = record.to_json()
    assert decoded(line.encode()) == record
    assert referee.why_impossible(record) is None
    assert record.seed == trial.seed
    assert "\n" not in (record.reason or "")
    assert result_message(record)


def test_a_plugin_file_is_named_without_its_folder(tmp_path: Path, trial: Trial) -> None:
    assert kept(trial, honest(trial)).trial.plugins == ["file:faulty.py", "whole"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1e-3),
        ({"evaluations": [{}] * 4}, None),
        ({"recompilations": {"times": 1, "seconds": 0.5}}, None),
        ({"seconds_per_update": None}, None),
        ({"seconds_per_update": "soon"}, None),
    ],
)
def test_a_first_trial_says_what_an_update_takes_once_it_is_steady(
    changes: dict[str, Any], expected: float | None
) -> None:
    recompilations = {"times": 0, "seconds": 0.0}
    steady = {"seconds_per_update": 1e-3, "evaluations": [{}] * 5, "recompilations": recompilations}
    assert validation.pace_s({**steady, **changes}) == expected


@pytest.mark.parametrize(
    ("update_s", "first_s", "believed"),
    [
        (1e-4, 1e-3, True),
        (0.9e-4, 1e-3, False),
        (1e-3, None, True),
        (None, 1e-3, True),
        (0.0, 1.0, True),
    ],
)
def test_a_later_trial_is_not_ten_times_as_fast_as_the_first(
    update_s: float | None, first_s: float | None, believed: bool
) -> None:
    assert (validation.why_sooner(update_s, first_s) is None) is believed
