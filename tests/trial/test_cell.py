"""What trials of one row share: equal where they may be pooled, told apart by what differs."""

from __future__ import annotations

import pickle

import pytest
from msgspec.structs import replace

from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.trial.cell import (
    NOT_IN_A_CELL,
    OF_A_RECORD,
    WAY,
    Cell,
    StoredTrial,
    differences,
    joined,
)
from echobench.trial.record import Record, cells_of
from echobench.trial.trial import Trial
from tests.records import record


@pytest.fixture
def trial(plugins: Plugins) -> Trial:
    (trial, *_) = plan(Selection(tasks=["partial"], backends=["jax"], seeds=1), plugins)
    return trial


def test_what_is_stored_of_a_trial_is_the_trial(trial: Trial) -> None:
    stored = StoredTrial.of(trial)
    assert StoredTrial.__struct_fields__ == tuple(Trial.model_fields)
    assert stored.key == trial.key
    assert Cell.of(stored) == Cell.of(trial)


def test_trials_of_a_cell_differ_in_seed_repeat_limit_and_place(trial: Trial) -> None:
    changes = {"seed": 7, "repeat": 2, "timeout_s": 1.0, "plugins": ["elsewhere"]}
    assert set(changes) == set(NOT_IN_A_CELL)
    assert Cell.of(trial.model_copy(update=changes)) is Cell.of(trial)


def test_in_any_other_field_they_are_of_other_cells(trial: Trial) -> None:
    cell, stored = Cell.of(trial), StoredTrial.of(trial)
    names = [name for name in Cell.__struct_fields__ if name not in OF_A_RECORD]
    others = {name: replace(stored, **{name: another(getattr(stored, name))}) for name in names}
    assert len({cell, *map(Cell.of, others.values())}) == 1 + len(names)
    for name, other in others.items():
        told = differences([cell, Cell.of(other)])
        assert {leaf.partition(".")[0] for leaf in told[0]} == {name}
        assert cell.without(name) == Cell.of(other).without(name)
        assert cell.only(name) != Cell.of(other).only(name)


def another(value: object) -> object:
    """Return a value of the same type that is not the same."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case dict():
            return {**value, "more": "1"}
    return replace(value, units=1000)  # type: ignore[type-var] # a recipe, the last kind of all


def test_a_cell_says_its_name_and_what_sets_it_apart() -> None:
    cell = record().cell
    wide = record(trial={"threads": 4, "sustain": 3}).cell
    assert str(cell) == "partial jax fused closed"
    assert str(cell.without("backend", "engine")) == "partial closed"
    assert differences([cell, wide]) == [
        {"threads": 2, "sustain": None}, {"threads": 4, "sustain": 3}
    ]  # fmt: skip # one line reads better
    assert differences([cell, cell]) == [{}, {}]


def test_cells_are_ordered_and_the_same_in_another_process() -> None:
    cells = [record(backend=name, trial={"threads": n}).cell for n in (2, 1) for name in "ba"]
    assert [str(cell).split()[1] for cell in sorted(cells)] == ["a", "a", "b", "b"]
    assert min(cells) == min(cells[::-1])
    sent = pickle.dumps(cells)
    assert pickle.loads(sent) == cells  # noqa: S301 # what was just made here
    assert Cell.partly(backend="a") == cells[1].only("backend")


def test_what_a_newer_version_says_of_a_trial_tells_cells_apart() -> None:
    def told(**more: object) -> Cell:
        fields = record().to_dict()
        fields["trial"] = {**fields["trial"], **more}
        return Record.from_dict(fields).cell

    recipe = record().to_dict()["trial"]["recipe"]
    cells = [told(), told(extra="x"), told(extra="y"), told(recipe={**recipe, "momentum": 0.9})]
    assert len(set(cells)) == len({cell.text for cell in cells}) == len(cells)
    assert told(extra="x") == told(extra="x")
    assert told() == record().cell


def ran(**execution: object) -> Record:
    return record(provenance={"machine": {"cpu": "x"}, "path": execution})


def test_trials_that_ran_in_another_way_are_of_another_cell() -> None:
    usual = dict.fromkeys(WAY, "usual")
    cells = {ran(**{**usual, name: "other"}).cell for name in WAY} | {ran(**usual).cell}
    assert len(cells) == 1 + len(WAY)
    told = differences([ran(**usual).cell, ran(**{**usual, "tf32": True}).cell])
    assert told == [{"execution.tf32": "usual"}, {"execution.tf32": True}]
    # Where a trial ran, and how often what was traced, is no way of running.
    assert ran(**usual, affinity=[0], traces=2).cell is ran(**usual, affinity=[1]).cell
    assert len({ran(**{**usual, name: "other"}).planned_cell for name in WAY}) == 1


def test_a_trial_that_does_not_say_how_it_ran_joins_those_planned_alike() -> None:
    compiled, eager = ran(compiler="g++"), ran(compiler="none")
    failed = record(3, status="failed", reason="x", provenance={"machine": {"cpu": "x"}})
    assert cells_of([failed, compiled]) == [compiled.cell] * 2
    assert cells_of([failed, compiled, eager]) == [failed.cell, compiled.cell, eager.cell]
    other = record(4, provenance={"machine": {"cpu": "y"}})
    assert cells_of([other, compiled]) == [other.cell, compiled.cell]
    assert joined([]) == {}
