"""The record of a prediction: a saved network on one backend, one JSON line."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Latency(BaseModel):
    """How long one call took with one number of samples; seconds.

    Attributes:
        batch: samples of a call.
        median_s, quartiles_s: over the timed calls.
        samples_per_s: batch / median_s.
        calls: how many were timed.
        first_call_s: the first one, compiling included; not among them.
    """

    batch: int
    median_s: float
    quartiles_s: tuple[float, float]
    samples_per_s: float
    calls: int
    first_call_s: float


class Prediction(BaseModel):
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

    model_config = ConfigDict(extra="forbid")

    model: str
    task: str
    backend: str
    device: str
    threads: int
    status: Literal["measured", "failed", "timeout", "unavailable", "unsupported"]
    reason: str | None = None
    accuracy: float | None = None
    tokens: int | None = None
    differing_tokens: int | None = None
    differs_from: str | None = None
    import_s: float | None = None
    load_s: float | None = None
    wall_s: float | None = None
    peak_memory_bytes: int | None = None
    started_at: str

    schema_version: int = SCHEMA_VERSION
    latencies: list[Latency] = Field(default_factory=list)
    model_sha256: str
    answers_sha256: str | None = None
    trial: dict[str, Any]
    provenance: dict[str, Any] = Field(default_factory=dict)
    log_tail: list[str] = Field(default_factory=list)


TABLE_FIELDS = tuple(Prediction.model_fields)[
    : list(Prediction.model_fields).index("schema_version")
]
