"""The record of a prediction: a saved network on one backend, one JSON line."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from echobench.trial.cell import Finite, StoredTrial, Whole
from echobench.trial.record import JsonLine, Provenance

SCHEMA_VERSION = 1


class Latency(Struct, kw_only=True):
    """How long one call took with one number of samples; seconds.

    Attributes:
        batch: samples of a call.
        median_s, quartiles_s: over the timed calls.
        samples_per_s: batch / median_s.
        calls: how many were timed.
        first_call_s: the first one, compiling included; not among them.
    """

    batch: Whole
    median_s: Finite
    quartiles_s: tuple[Finite, Finite]
    samples_per_s: Finite
    calls: Whole
    first_call_s: Finite


class Prediction(JsonLine, kw_only=True):
    """A saved network on one backend; empty means not measured.

    Attributes:
        model, model_sha256: the file's name and digest.
        task: as `--task` takes it.
        accuracy: share of `tokens` that are right, over fresh sequences.
        differing_tokens: of these, answered otherwise than on backend
            `differs_from`; both empty for that backend itself.
        answers_sha256: digest of the answers.
        import_s, load_s, wall_s: importing Keras and the framework, loading
            the model, the whole process.
        trial: the one that trained the network.
        provenance: of the prediction.
    """

    model: str
    task: str
    backend: str
    device: str
    threads: Whole
    status: Literal["measured", "failed", "timeout", "unavailable", "unsupported"]
    reason: str | None = None
    accuracy: Finite | None = None
    tokens: Whole | None = None
    differing_tokens: Whole | None = None
    differs_from: str | None = None
    import_s: Finite | None = None
    load_s: Finite | None = None
    wall_s: Finite | None = None
    peak_memory_bytes: Whole | None = None
    started_at: str

    schema_version: Whole = SCHEMA_VERSION
    latencies: list[Latency] = msgspec.field(default_factory=list)
    model_sha256: str
    answers_sha256: str | None = None
    trial: StoredTrial
    provenance: Provenance = msgspec.field(default_factory=Provenance)
    log_tail: list[str] = msgspec.field(default_factory=list)


FIELDS = tuple(name for name in Prediction.__struct_fields__ if name != "beyond")
TABLE_FIELDS = FIELDS[: FIELDS.index("schema_version")]
