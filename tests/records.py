"""Records for tests: a real one, and made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from echobench.analysis.frame import Records
from echobench.core.sequences import stream
from echobench.core.target import BLOCK, exact_interval, needed
from echobench.plugin.manager import Plugins
from echobench.present.table import ordered, render
from echobench.trial.job import UNSEEN
from echobench.trial.record import SCHEMA_VERSION, Prediction, Provenance, Record
from echobench.trial.trial import BOUND, trial_key

RESULTS = Path(__file__).parents[1] / "results"
EARLIER = Path(__file__).parent / "data"
"""Records of version 3: of four backends on a machine with two cores, each trial in a process."""


def real(plugins: Plugins) -> dict[str, Any]:
    """Return a committed record that reached the target of `partial` in the closed division.

    It says that it is of the task that is installed here, of which the file may have
    changed since.
    """
    (file,) = (RESULTS / "studies" / "representation").glob("*.jsonl")
    records = map(json.loads, file.read_text().splitlines())
    told = next(r for r in records if (r["task"], r["division"]) == ("partial", "closed"))
    trial = told["trial"]
    trial["source"] = plugins.tasks[trial["task"]].value(**trial["parameters"]).source_hash()
    return {**told, "key": trial_key(trial)}


def by_new_rule(told: dict[str, Any]) -> dict[str, Any]:
    """Return a record as if its certificate had counted its attempts, each refusal at the end."""
    trial = {**told["trial"], "bound": BOUND, "certify": 0}
    clean = [point["epoch"] for point in told["evaluations"] if point["exact_match"] == 1]
    attempts = [
        {"epoch": epoch, "sequences": needed(number, BOUND), "wrong": int(number < len(clean))}
        for number, epoch in enumerate(clean, start=1)
    ]
    first = told["evaluations"][0]  # as many updates as a fingerprint
    own = {name: first[name] for name in ("epoch", "loss", "accuracy")}
    reference = {"reference": "jax fit", "reference_loss": first["loss"]}
    judge = {"by": "plain Keras on jax", "certificate_wrong": 0, "certificate_rounding": 0,
             "sequences": UNSEEN, "wrong": 3, "interval": exact_interval(3, UNSEEN)}  # fmt: skip
    changes = {
        "trial": trial,
        "certifications": attempts,
        "certified_sequences": attempts[-1]["sequences"],
        "error_bound": BOUND,
        "fingerprint": {**own, **reference, "passed": True},
        "judge": judge,
        "clock_share": 1.02,
        "schema_version": SCHEMA_VERSION,
        "key": trial_key(trial),
    }
    found: dict[str, Any] = json.loads(json.dumps({**told, **changes}))
    return found


def run_again(told: dict[str, Any], plugins: Plugins, seed: int, slower: float) -> dict[str, Any]:
    """Return a record of another run of its trial, or of its cell with another seed.

    All times are longer, and what a seed decides is another: all that the referee reads agrees.
    """
    timed = {n for n in told if n.endswith(("_s", "_per_update"))} - {"sequences_per_s"}
    timed -= {"tokens_per_s", "flops_per_update"}
    rated = ("sequences_per_s", "tokens_per_s", "limit_fraction")

    def longer(value: float | None) -> float | None:
        return None if value is None else value * slower

    learnt = 1 + (seed - told["seed"]) / 100
    taken = told.get("fingerprint")

    def points(name: str) -> list[dict[str, Any]]:
        return [
            {**point, "train_s": longer(point["train_s"]), "loss": point["loss"] * learnt}
            for point in told[name]
        ]

    task = plugins.tasks[told["trial"]["task"]].value(**told["trial"]["parameters"])
    rows = task.sample_for_display(stream(seed, "samples"), BLOCK)
    answers = task.expected(rows)[0].tolist()
    trial = {**told["trial"], "seed": seed}
    declared = {"rule": "fixed", "seeds": seed + 1, "first": 0, "repeats": 1}
    return {
        **told,
        **{name: longer(told[name]) for name in timed},
        **{name: told[name] and told[name] / slower for name in rated},
        "seconds_per_update_quartiles": [*map(longer, told["seconds_per_update_quartiles"])],
        **{name: points(name) for name in ("evaluations", "after_hit")},
        "fingerprint": taken
        and {**taken, **{name: taken[name] * learnt for name in ("loss", "reference_loss")}},
        "samples": [{"expected": answer, "predicted": answer} for answer in answers],
        "seed": seed,
        "trial": trial,
        "key": trial_key(trial),
        "provenance": {**told["provenance"], "command": ["echobench.run"], "seeds": declared},
    }


def failed(told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a record of the trial with some fields changed, as of a trial that failed."""
    trial = {**told["trial"], **changes}
    kept = ("task", *CELL, "started_at", "schema_version", "provenance")
    return {
        **{name: told[name] for name in kept},
        "provenance": {**told["provenance"], "command": ["echobench.run"], "seeds": None},
        "seed": trial["seed"],
        "status": "failed",
        "reason": "killed",
        "trial": trial,
        "key": trial_key(trial),
    }


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
    "bound": 0.003,
    "quick": False,
    "versions": {"echobench": "1"},
    "source": "0" * 12,
}


JUDGED = {"by": "plain Keras", "certificate_wrong": 0, "sequences": 10_000, "wrong": 0}


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
        "judge": JUDGED if fields.get("status", "reached") == "reached" else None,
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
