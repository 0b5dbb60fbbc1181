"""Records for tests: a real one, and made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from echobench.analysis.frame import Records
from echobench.plugin.manager import Plugins
from echobench.present.table import ordered, render
from echobench.trial.record import Prediction, Provenance, Record
from echobench.trial.trial import trial_key

RESULTS = Path(__file__).parents[1] / "results"


def real(plugins: Plugins) -> dict[str, Any]:
    """Return a committed record that reached the target in the closed division.

    It says that it is of the task that is installed here, of which the file may have
    changed since.
    """
    (file,) = (RESULTS / "studies" / "state").glob("*.jsonl")
    records = map(json.loads, file.read_text().splitlines())
    told = next(r for r in records if (r["status"], r["division"]) == ("reached", "closed"))
    trial = told["trial"]
    trial["source"] = plugins.task(trial["task"]).value(**trial["parameters"]).source_hash()
    return {**told, "key": trial_key(trial)}


def rows(records: Records) -> list[dict[str, Any]]:
    """Return one flat object a trial, as `table --format json` prints them."""
    found: list[dict[str, Any]] = json.loads("".join(render(ordered(records), "json")))
    return found


CELL = ("backend", "engine", "division", "device")
"""Fields that a record and its trial both say."""
TRIAL: dict[str, Any] = {
    "task": "partial",
    "parameters": {},
    "label": "partial",
    "plugins": ["partial", "jax"],
    "backend": "jax",
    "engine": "fused",
    "division": "closed",
    "device": "cpu",
    "threads": 2,
    "seed": 0,
    "recipe": {
        "units": 8,
        "batch": 7,
        "stateful": True,
        "sequences": 1,
        "learning_rate": 0.001,
        "warmup": 0,
        "decay": 0,
        "clip": 0.0,
        "epochs": 10,
        "evaluate_every": 1,
    },
    "max_epochs": 100,
    "timeout_s": 60.0,
    "screen": 50,
    "certify": 1000,
    "quick": False,
    "versions": {"echobench": "1"},
    "source": "0" * 12,
}


def record(seed: int = 0, **fields: Any) -> Record:
    """Return a whole record.

    Args:
        seed: of its trial; other trials have other keys.
        fields: of the record; of `trial` only what is not as in `TRIAL`.
    """
    changes = {**fields.pop("trial", {}), "seed": seed}
    shared = {name: fields[name] for name in CELL if name in fields}
    label = {"label": fields["task"]} if "task" in fields else {}
    trial = {**TRIAL, **label, **shared, **changes}
    base: dict[str, Any] = {
        "task": trial["label"],
        **{name: trial[name] for name in CELL},
        "seed": seed,
        "status": "reached",
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "key": f"key-{seed}",
        "trial": trial,
    }
    return Record.from_dict({**base, **fields})


def changed(one: Record, **fields: Any) -> Record:
    """Return a record with other fields; of `trial` only what changes, and `provenance` whole."""
    shared = {name: fields[name] for name in CELL if name in fields}
    trial = msgspec.structs.replace(one.trial, **{**shared, **fields.pop("trial", {})})
    if "provenance" in fields:
        fields["provenance"] = msgspec.convert(fields["provenance"], Provenance)
    return msgspec.structs.replace(one, trial=trial, **fields)


def reached(seed: int, seconds: float) -> Record:
    return record(seed, time_to_target_s=float(seconds), first_update_s=0.0, train_s=float(seconds))


def missed(seed: int, seconds: float) -> Record:
    return record(seed, status="missed", first_update_s=0.0, train_s=float(seconds))


def measured(backend: str, **fields: Any) -> Prediction:
    base: dict[str, Any] = {
        "model": "partial.keras",
        "model_sha256": "0" * 64,
        "task": "partial",
        "backend": backend,
        "device": "cpu",
        "threads": 1,
        "status": "measured",
        "accuracy": 1.0,
        "tokens": 42_000,
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "trial": TRIAL,
        "latencies": [
            {
                "batch": batch,
                "median_s": seconds,
                "quartiles_s": (0.9 * seconds, 1.2 * seconds),
                "samples_per_s": batch / seconds,
                "calls": 20,
                "first_call_s": 1.0,
            }
            for batch, seconds in ((1, 0.0005), (210, 0.002))
        ],
    }
    return Prediction.from_dict({**base, **fields})
