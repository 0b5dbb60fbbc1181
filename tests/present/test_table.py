"""The tables of predictions and of a search's candidates, both made up."""

from __future__ import annotations

import json

from rich.console import Console

from echobench.present.table import (
    candidate_rows,
    prediction_lines,
    prediction_tables,
    render_predictions,
)
from tests.records import measured
from tests.store.test_search_log import START, tried

PREDICTIONS = [
    measured("jax"),
    measured("numpy", differs_from="jax", differing_tokens=0),
    measured("openvino", differs_from="jax", differing_tokens=3, accuracy=1 - 1 / 42_000),
    measured(
        "torch", status="unavailable", reason="not [here]", accuracy=None, tokens=None, latencies=[]
    ),
]


def test_a_row_for_each_number_of_samples_and_one_for_each_failure() -> None:
    lines = prediction_lines(PREDICTIONS)
    batches = [(line["backend"], line["batch"]) for line in lines]
    three = ("jax", "numpy", "openvino")
    assert batches == [*((name, batch) for name in three for batch in ("1", "210")), ("torch", "")]
    assert lines[0] == {
        "model": "partial.keras",
        "backend": "jax",
        "batch": "1",
        "latency ms": "0.5 [0.45, 0.6]",
        "samples/s": "2,000",
        "agrees": "reference",
        "accuracy": "100%",
        "note": "",
    }
    assert lines[3]["samples/s"] == "105,000"
    assert lines[3]["agrees"] == "yes"
    assert (lines[4]["agrees"], lines[4]["accuracy"]) == ("3 of 42,000 differ", "99.998%")
    assert lines[6]["note"] == "unavailable: not [here]"


def test_scripts_get_figures() -> None:
    rows = json.loads(render_predictions(PREDICTIONS, "json"))
    assert (rows[4]["batch"], rows[4]["median_s"], rows[4]["differing_tokens"]) == (1, 0.0005, 3)
    assert (rows[6]["status"], rows[6]["batch"], rows[6]["median_s"]) == ("unavailable", None, None)
    assert render_predictions(PREDICTIONS, "csv").splitlines()[0].split(",") == list(rows[0])
    assert "3 of 42,000 differ" in render_predictions(PREDICTIONS, "md")


def test_a_terminal_shows_each_model_apart() -> None:
    tables = prediction_tables([*PREDICTIONS, measured("jax", model="whole.keras")], 110)
    assert list(tables) == ["partial.keras", "whole.keras"]
    console = Console(width=110)
    with console.capture() as captured:
        console.print(tables["partial.keras"])
    assert "3 of 42,000 differ" in captured.get()
    assert "unavailable: not" in " ".join(captured.get().split())


def test_the_start_is_always_in_the_table() -> None:
    better = [tried(number, 0.1 * number, 0.1 * number, 0.1, units=9) for number in range(1, 8)]
    lines = candidate_rows([tried(0, None, None), *better], START, ("units",))
    assert [line["candidate"] for line in lines] == ["1", "2", "3", "4", "5", "0"]
    assert lines[0]["time to target"] == "0.1 s"
    assert lines[-1]["seeds"] == "missed, missed"
    assert [line["note"] for line in lines] == [""] * 5 + ["start"]
