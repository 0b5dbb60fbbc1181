"""The flat table: whatever tells two cells apart tells their rows apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from echobench.trial.cell import WAY, Cell
from tests.records import TRIAL, record, rows

SETTINGS: dict[str, Any] = {
    "task": "whole",
    "parameters": {"n_out": 2},
    "label": "partial[n_out=2]",
    "backend": "torch",
    "engine": "fit",
    "division": "open",
    "device": "gpu",
    "threads": 7,
    "smt": True,
    "side_by_side": 2,
    "devices": 2,
    "source": "another",
    "task_source": "521f",
    "backend_source": "55c2",
    "recipe": {**TRIAL["recipe"], "units": 99},
    "max_epochs": 5,
    "screen": 51,
    "bound": 0.01,
    "certify": 77,
    "test_set": "held out",
    "sustain": 4,
    "quick": True,
    "cache": True,
    "replicates": 32,
    "environment": {"XLA_FLAGS": "--a"},
    "versions": {"keras": "99"},
}
"""Another value of each field of a cell that a trial has."""


def without_what_runs_apart(row: dict[str, Any]) -> dict[str, Any]:
    # Replicates are of one process.
    return {n: value for n, value in row.items() if n not in ("cell", "key", "process")}


def test_all_fields_of_a_cell_are_tried() -> None:
    assert {*Cell.__struct_fields__} == {*SETTINGS, "execution", "beyond"}


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_of_cells_that_differ_in_one_field_differ(name: str) -> None:
    usual = record(0)
    other = record(0, trial={name: SETTINGS[name]})
    assert usual.cell != other.cell
    a, b = rows([usual, other])
    assert a["cell"] != b["cell"]
    if name not in ("task", "label", "backend", "engine", "division", "device"):
        # In a field that a reader understands, too.
        assert [n for n in without_what_runs_apart(a) if a[n] != b[n]] == [name]
    (alone,) = rows([usual])
    assert alone["cell"] in {a["cell"], b["cell"]}


@pytest.mark.parametrize("name", WAY)
def test_rows_of_cells_that_ran_in_other_ways_differ(name: str) -> None:
    found = rows([record(0, provenance={"path": {name: value}}) for value in ("a", "b")])
    assert len({row["cell"] for row in found}) == 2
    assert {json.loads(row["execution"])[name] for row in found} == {"a", "b"}


def test_rows_of_two_machines_and_of_what_this_version_does_not_know_differ() -> None:
    told = [record(0, provenance={"machine": {"cpu": cpu}}) for cpu in ("x", "y")]
    a, b = rows(told)
    assert a["cell"] == b["cell"]
    assert a["machine"] != b["machine"]
    later = [type(told[0]).from_dict(one.to_dict() | {}) for one in told]
    later[1].beyond = {"trial": {"mood": "good"}}
    c, d = rows(later)
    assert c["cell"] != d["cell"]
    assert {c["beyond"], d["beyond"]} == {None, '{"mood":"good"}'}


def test_what_disturbed_a_trial_is_told() -> None:
    slow = [record(n, seconds_per_update=pace) for n, pace in enumerate((1.0, 1.0, 1.0, 1.5))]
    throttled = {"path": {"throttled_share": 0.34}}
    found = rows([*slow, record(4, provenance=throttled, backend="torch")])
    told = [(row["backend"], row["seed"], row["disturbances"]) for row in found]
    assert told == [
        *(("jax", seed, None) for seed in range(3)),
        ("jax", 3, "updates took 1.50x the median of its cell"),
        ("torch", 4, "throttled by quota for 34% of training"),
    ]
