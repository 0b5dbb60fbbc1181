"""What trials took, and what others like them are said to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from echobench.analysis import costs
from echobench.analysis.costs import Aside, Cost, History, Level, Place
from echobench.trial.record import Rates, Record
from tests.benchmarks import medians
from tests.records import record

SPENT: dict[str, Any] = {
    "import_s": 2.0, "build_s": 0.25, "compile_s": 3.0, "first_update_s": 0.5, "other_s": 0.25,
    "train_s": 10.0, "eval_s": 1.0, "sustain_s": 1.0, "epochs": 400,
}  # fmt: skip # as they stand in a record


def rates(matmul: float, copy: float | None = None) -> Rates:
    found: dict[str, Any] = {"matmul_flops_per_s": matmul, "matmul_spread": 1.0}
    return msgspec.convert(found if copy is None else {**found, "copy_bytes_per_s": copy}, Rates)


def test_a_process_starts_once_and_its_later_trials_only_train() -> None:
    first = Cost.of(record(**SPENT))
    assert first is not None
    assert (first.start_s, first.train_s, first.epochs) == (6.0, 12.0, 400)
    alone: dict[str, Any] = {
        name: SPENT[name] for name in ("train_s", "eval_s", "epochs", "other_s")
    }
    later = Cost.of(record(1, **alone))
    assert later is not None
    assert (later.start_s, later.train_s) == (None, 11.25)


@pytest.mark.parametrize("status", ["failed", "unavailable", "unsupported"])
def test_a_trial_that_did_not_train_says_nothing(status: str) -> None:
    assert Cost.of(record(status=status, **SPENT)) is None


def test_replicates_cost_what_their_process_did() -> None:
    spent = {"import": 2.0, "compile": 4.0, "train": 8.0, "eval": 2.0, "odd": "no number"}
    together = record(epochs=80, trial={"replicates": 32}, provenance={"path": {"seconds": spent}})
    cost = Cost.of(together)
    assert cost is not None
    assert (cost.start_s, cost.train_s, cost.place.replicates) == (6.0, 10.0, 32)


def test_of_each_kind_the_newest_count() -> None:
    history = History()
    for seed in range(costs.NEWEST + 5):
        history.add(record(seed, **{**SPENT, "train_s": float(seed)}))
    place = Place.of(record().trial)._replace(label=record().task)
    found = history.costs(place, Level.SAME)
    assert len(found) == costs.NEWEST
    assert found[-1].train_s == 2.0 + costs.NEWEST + 4
    other = place._replace(threads=place.threads + 1)
    assert history.costs(other, Level.SAME) == ()
    assert len(history.costs(other, Level.CELL)) == costs.NEWEST
    assert history.costs(place._replace(backend="else"), Level.CELL) == ()
    assert history.costs(place._replace(backend="else"), Level.TASK)
    assert len(history.costs(place, Level.CELL, "cache")) == costs.NEWEST
    kept = place._replace(cache=True)
    assert history.costs(kept, Level.CELL, "cache") == found  # none is alike: all
    history.add(record(99, **SPENT, trial={"cache": True}))
    assert [cost.place.cache for cost in history.costs(kept, Level.CELL, "cache")] == [True]


def test_what_a_job_takes_beside_its_trials_is_that_of_the_nearest_number() -> None:
    history = History()
    for seed, (trials, judge_s) in enumerate([(1, 4.0), (1, 6.0), (5, 9.0)]):
        job = {"trials": float(trials), "judge_s": judge_s, "other_s": 0.5}
        history.add(record(seed, **SPENT, provenance={"job": job}))
    place = Place.of(record().trial)._replace(label=record().task)
    assert history.aside_s("judge", place) == 5.0
    assert history.aside_s("judge", place, trials=4) == 9.0
    assert history.aside_s("judge", place._replace(label="other"), trials=9) == 9.0
    assert history.aside_s("rehearsal", place) is None


@pytest.mark.parametrize(
    ("there", "here", "factor"),
    [
        (rates(4e10, 1e10), rates(2e10, 1e10), 2**0.5),
        (rates(4e10, 1e10), rates(4e10, 2e10), 2**-0.5),
        (rates(3e10), rates(2e10, 1e10), 1.5),
        (rates(3e11, 1e10), rates(1e9, 1e10), 2.0),  # small networks follow products so far only
        (rates(1e9, 1e10), rates(3e11, 1e10), 0.5),
        (None, rates(2e10, 1e10), 1.0),
        (rates(2e10, 1e10), None, 1.0),
    ],
)
def test_times_are_scaled_by_the_rates_of_both_machines(
    there: Rates | None, here: Rates | None, factor: float
) -> None:
    assert costs.scale(there, here) == pytest.approx(factor)
    trials = [record(seed, **SPENT) for seed in range(3)]
    known = costs.medians(trials)
    (machine,) = known.machines
    known.machines[machine] = there
    place = Place.of(record().trial)._replace(label=record().task)
    (cost,) = costs.history_here(known, here).costs(place, Level.SAME)
    assert cost.start_s == pytest.approx(6.0 * factor)
    assert cost.train_s == pytest.approx(12.0 * factor)


def test_a_median_is_of_the_trials_with_the_largest_budget() -> None:
    """Trials of a short budget say what an epoch takes, and not when a network has learnt."""
    budget = record().trial.max_epochs
    short = {**SPENT, "epochs": 10, "train_s": 0.5, "eval_s": 0.0, "sustain_s": 0.0}
    cut_off = [record(s, status="missed", trial={"max_epochs": 10}, **short) for s in range(9)]
    whole = [record(s, **{**SPENT, "epochs": 300 + 50 * s}) for s in range(3)]
    ((cost,),) = costs.medians([*cut_off, *whole]).costs.values()
    assert (cost.status, cost.epochs, cost.max_epochs) == ("reached", 350, budget)


def asides_of(*jobs: dict[str, float]) -> list[Aside]:
    ((*found,),) = costs.medians(
        record(seed, **SPENT, provenance={"job": job}) for seed, job in enumerate(jobs)
    ).asides.values()
    return found


def test_the_medians_of_jobs_are_apart_by_their_number_of_trials() -> None:
    one, five = asides_of(
        {"trials": 1, "judge_s": 2.0}, {"trials": 5, "judge_s": 8.0}, {"trials": 1, "judge_s": 4.0}
    )
    assert (one.trials, one.seconds) == (1, {"judge": 3.0})
    assert (five.trials, five.seconds) == (5, {"judge": 8.0})


def test_the_shipped_medians_are_those_of_the_committed_records() -> None:
    path = Path(costs.__file__).with_name(costs.SHIPPED)
    assert path.read_text() == medians.written(), "write them again: make medians"
    known = costs.shipped()
    assert path.stat().st_size < 200_000
    places = [cost.place for found in known.costs.values() for cost in found]
    assert {place.label for place in places} >= {"whole", "partial"}
    assert {place.division for place in places} == {"closed", "open"}


def test_a_record_keeps_what_its_job_took() -> None:
    job = {"trials": 1.0, "judge_s": 2.5, "other_s": 0.25, "reference_s": 9.0}
    kept = record(provenance={"job": job})
    assert Record.from_dict(kept.to_dict()).provenance.job == job
    found = Aside.of(kept)
    assert found is not None
    assert found.seconds == {"judge": 2.5, "other": 0.25, "reference": 9.0}


@pytest.mark.parametrize("text", [None, "not JSON", "{}", '{"machines": 3}'])
def test_damaged_medians_are_none(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert costs.shipped().costs
    monkeypatch.setattr(costs, "files", lambda _: tmp_path)
    if text is not None:
        (tmp_path / costs.SHIPPED).write_text(text)
    assert not costs.shipped().costs
