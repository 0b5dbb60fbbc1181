"""What first trials took changes nothing that is shown, where they are set apart."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from echobench.analysis import curves, scaling
from echobench.analysis.footnotes import course, leads, who_is_first
from echobench.analysis.frame import SLOW, disturbances, frame
from echobench.analysis.pairs import SECONDS_PER_UPDATE, TIME_TO_TARGET, median, values
from echobench.present.benchmarks import document
from echobench.present.figures.bars import span
from echobench.present.page.data import charts
from echobench.trial.record import EvaluationPoint, Record
from tests.analysis.test_places import made
from tests.records import changed

FIELDS = {"loss": 1.0, "accuracy": 0.5, "exact_match": 0.5}


def trained(first: float, backend: str = "jax", scale: float = 1.0) -> list[Record]:
    """Return records of six processes of two trials, whose first ones take other times."""
    return [
        changed(
            one,
            limit_fraction=1e-3 / (one.seconds_per_update or 1.0),
            updates=1_000,
            evaluations=[
                msgspec.convert(
                    {**FIELDS, "epoch": 1, "train_s": one.time_to_target_s}, EvaluationPoint
                )
            ],
        )
        for one in made(backend, 6, 2, first, scale)
    ]


def shown(first: float) -> dict[str, Any]:
    """Return what figures, page and export show of the time of an update."""
    records, others = trained(first), trained(first, "torch", 3.0)
    flats = {"jax": frame(records), "torch": frame(others)}
    content, _ = document(records, SECONDS_PER_UPDATE)
    (benchmark,) = content["benchmarks"]
    page = charts(records, flats["jax"])
    learning = curves.learning(records, "seconds")
    assert learning is not None
    return {
        "course": course("jax", [flats["jax"]]),
        "leads": leads(flats),
        "who is first": who_is_first(flats),
        "figure": span(records),
        "page": [page["update"], page["limit"], page["curves"]["time"]],
        "rounds": benchmark["stats"]["data"],
        "medians": benchmark["extra_info"],
        "sizes": scaling.measured([({"units": 8}, one) for one in records]),
        "learning": learning.at.tolist(),
        "disturbances": [*disturbances(flats["jax"])],
    }


def test_what_first_trials_took_changes_nothing_that_is_shown() -> None:
    slow, slower = shown(2.0), shown(8.0)
    for name, value in slow.items():
        assert value == slower[name], name


def test_what_is_shown_is_of_the_later_trials() -> None:
    records, found = trained(2.0), shown(2.0)
    flat = frame(records)
    later = np.array([one.seconds_per_update for one in records[1::2]], float)
    assert values(flat, SECONDS_PER_UPDATE).dropna().tolist() == later.tolist()
    assert found["course"] == ("jax", 5.0, pytest.approx(np.median(later)))
    assert median(flat, SECONDS_PER_UPDATE).value == pytest.approx(np.median(later))
    assert found["figure"] == pytest.approx(
        (1e3 * np.median(later), 1e3 * later.min(), 1e3 * later.max())
    )
    assert sorted(found["rounds"]) == sorted(later)
    assert found["medians"][SECONDS_PER_UPDATE] == pytest.approx(np.median(later))
    runs = found["sizes"]["units"]["jax"][8]
    assert [run.seconds for run in runs.values()] == later.tolist()
    assert found["page"][0][0] == pytest.approx(1e3 * np.median(later), rel=1e-3)
    assert found["page"][1][0] == pytest.approx(100 * np.median(1e-3 / later), rel=1e-3)
    times = np.array([one.seconds_per_update for one in records], float).reshape(6, 2)
    slow = times >= SLOW * np.median(times, axis=0)  # each beside its like
    assert [bool(text) for text in found["disturbances"]] == slow.ravel().tolist()
    # Where both take the same time, all count.
    assert len(scaling.measured([({"units": 8}, r) for r in trained(1.0)])["units"]["jax"][8]) == 12


def test_an_export_says_which_trials_are_no_rounds() -> None:
    for metric in (SECONDS_PER_UPDATE, TIME_TO_TARGET):
        _, (note,) = document(trained(2.0), metric)
        assert note.endswith("first trial of a process: times are those of the later ones")
        assert document(trained(1.0), metric)[1] == []


def test_five_times_of_a_cell_are_too_few_to_say_who_is_first() -> None:
    """As in the table, whose times have no interval then."""
    flats = {b: frame(made(b, 5, 2, 2.0, scale)) for b, scale in (("jax", 1.0), ("torch", 3.0))}
    assert leads(flats) == []
    alike = {b: frame(made(b, 5, 2, 1.0, scale)) for b, scale in (("jax", 1.0), ("torch", 3.0))}
    assert leads(alike) != []


def test_a_break_even_has_no_first_trials_of_a_cell_that_has_one_in_each_process() -> None:
    """Its updates are as fast as the other's, whose first trials alone are slow."""
    cells = {"a": frame(trained(2.0)), "b": frame(made("torch", 12, 1, 2.0))}
    assert leads(cells) == []
    assert leads({**cells, "b": frame(made("torch", 6, 2, 1.0))}) != []
