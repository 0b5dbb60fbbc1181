"""The record: one trial, self-contained, one JSON line."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 4
"""2 added calibration, disturbances, FLOPs and updates; 3 whether a hit lasts, and the wall time
to it; 4 an echo at some of the evaluations. Older records load, these empty. `record.schema.json`
beside this file is the JSON Schema of this version."""
Status = Literal["reached", "missed", "failed", "timeout", "unavailable", "unsupported"]


class Parity(BaseModel):
    """The parity gate: first losses against the reference implementation.

    `passed` is None when there was no reference to compare with.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    passed: bool | None
    reference: str | None = None
    updates: int = 0
    tolerance: float | None = None
    largest_difference: float | None = None


class Sample(BaseModel):
    """One sample of a new sequence, decoded; None where nothing is asked for."""

    expected: list[int | str | None]
    predicted: list[int | str | None]


class EvaluationPoint(BaseModel):
    """The network at one evaluation, on fresh sequences; replicates have no times.

    `sample` is one of these sequences' samples, at some of a trial's evaluations.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    epoch: int
    train_s: float | None
    loss: float
    accuracy: float
    exact_match: float
    sample: Sample | None = None


class Record(BaseModel):
    """A trial and what came of it. Seconds are wall-clock; empty means not measured.

    The first fields are the table's columns, in its order; docs/method.md says
    what each means.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    task: str
    backend: str
    engine: str
    division: str
    device: str
    seed: int
    status: Status
    reason: str | None = None
    time_to_target_s: float | None = None
    last_miss_s: float | None = None
    updates_to_target: int | None = None
    epochs_to_target: int | None = None
    seconds_per_update: float | None = None
    sequences_per_s: float | None = None
    accuracy: float | None = None
    exact_match: float | None = None
    certified_sequences: int | None = None
    error_bound: float | None = None
    accuracy_at_tutorial_epochs: float | None = None
    import_s: float | None = None
    build_s: float | None = None
    compile_s: float | None = None
    first_update_s: float | None = None
    train_s: float | None = None
    eval_s: float | None = None
    wall_s: float | None = None
    peak_memory_bytes: int | None = None
    limit_fraction: float | None = None
    started_at: str

    schema_version: int = SCHEMA_VERSION
    key: str
    sustain_s: float | None = None
    other_s: float | None = None
    wall_to_target_s: float | None = None
    sustained_hit_s: float | None = None
    epochs: int | None = None
    updates: int | None = None
    first_lucky_epoch: int | None = None
    failed_certifications: int | None = None
    seconds_per_update_quartiles: tuple[float, float] | None = None
    tokens_per_s: float | None = None
    flops_per_update: int | None = None
    parity: Parity | None = None
    evaluations: list[EvaluationPoint] = Field(default_factory=list)
    after_hit: list[EvaluationPoint] = Field(default_factory=list)
    samples: list[Sample] = Field(default_factory=list)
    trial: dict[str, Any]
    provenance: dict[str, Any] = Field(default_factory=dict)
    disturbances: list[str] = Field(default_factory=list)
    log_tail: list[str] = Field(default_factory=list)

    @property
    def failed_parity(self) -> bool:
        """Whether it trained something else than the reference: its figures do not count."""
        return self.parity is not None and self.parity.passed is False

    @property
    def is_replicate(self) -> bool:
        """Whether it was trained together with other seeds: it has no times of its own."""
        return bool(self.trial.get("replicates"))

    @property
    def lasted(self) -> bool:
        """Whether no evaluation after the hit missed, as far as there were any."""
        return all(point.exact_match == 1.0 for point in self.after_hit)


TABLE_FIELDS = tuple(Record.model_fields)[: list(Record.model_fields).index("schema_version")]


def machine_class(machine: dict[str, Any] | None) -> str:
    """Return what makes two machines comparable: processor, usable cores, GPUs."""
    facts = machine or {}
    cores = facts.get("cores")
    counted = "1 core" if cores == 1 else f"{cores} cores"
    return ", ".join([f"{facts.get('cpu')}", counted, *facts.get("gpus", [])])


def latest(records: list[Record]) -> list[Record]:
    """Return the records of the table: of each trial the last one run on each machine.

    A trial that was forced or retried has several; the older ones stay on disk.
    """
    kept = {(r.key, machine_class(r.provenance.get("machine"))): r for r in records}
    return list(kept.values())
