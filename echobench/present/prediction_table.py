"""From predictions to tables: flat rows for scripts, a summary for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import RenderableType

from echobench.present.table import written
from echobench.present.terminal import drawn
from echobench.trial.prediction import TABLE_FIELDS, Latency, Prediction


def rows(predictions: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Return one flat object for each number of samples; one where nothing was measured."""
    return [
        {
            **{field: getattr(prediction, field) for field in TABLE_FIELDS},
            **{field: getattr(latency, field, None) for field in Latency.model_fields},
        }
        for prediction, latency in _measured(predictions)
    ]


def summary(predictions: Iterable[Prediction]) -> list[dict[str, str]]:
    """Return the same rows as people read them."""
    return [
        {
            "model": prediction.model,
            "backend": prediction.backend,
            **_timed(latency),
            "agrees": _agreement(prediction),
            "accuracy": "" if prediction.accuracy is None else f"{prediction.accuracy * 100:.6g}%",
            "note": "" if latency else f"{prediction.status}: {prediction.reason}",
        }
        for prediction, latency in _measured(predictions)
    ]


def render(predictions: list[Prediction], form: str) -> str:
    """Return the table as `json`, `csv` (figures) or `md` (for people)."""
    return written(summary(predictions) if form == "md" else rows(predictions), form)


def terminal(predictions: list[Prediction], width: int) -> dict[str, RenderableType]:
    """Return a table for each model, by its name, for a terminal of `width` columns."""
    lines: dict[str, list[dict[str, str]]] = {}
    for line in summary(predictions):
        lines.setdefault(line.pop("model"), []).append(line)
    return {model: drawn(group, width, names=("backend",)) for model, group in lines.items()}


def _measured(predictions: Iterable[Prediction]) -> Iterator[tuple[Prediction, Latency | None]]:
    for prediction in predictions:
        if not prediction.latencies:
            yield prediction, None
        for latency in prediction.latencies:
            yield prediction, latency


def _timed(latency: Latency | None) -> dict[str, str]:
    if latency is None:
        return {"batch": "", "latency ms": "", "samples/s": ""}
    seconds = (latency.median_s, *latency.quartiles_s)
    median, low, high = (f"{1e3 * second:.3g}" for second in seconds)
    return {
        "batch": f"{latency.batch:,}",
        "latency ms": f"{median} [{low}, {high}]",
        "samples/s": f"{latency.samples_per_s:,.0f}",
    }


def _agreement(prediction: Prediction) -> str:
    if prediction.tokens is None:
        return ""
    if prediction.differing_tokens is None:
        return "reference"
    if prediction.differing_tokens == 0:
        return "yes"
    return f"{prediction.differing_tokens:,} of {prediction.tokens:,} differ"
