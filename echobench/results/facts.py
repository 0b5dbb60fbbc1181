"""What readers rely on in the free parts of a record: its trial and its provenance.

Both say more, and neither need say all of this: a trial's own model
(`echobench.harness.plan.Trial`) asks for more, and older records hold less. But where one of
these is there, it is of this kind, or the line is damaged.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What is counted fits 64 bits; more is no number to calculate with."""


class RecipeFacts(TypedDict, total=False):
    """What is read of a recipe."""

    sequences: Whole
    epochs: Whole
    evaluate_every: Whole


class TrialFacts(TypedDict, total=False):
    """What is read of a trial."""

    task: str
    parameters: dict[str, Any]
    recipe: RecipeFacts
    versions: dict[str, str]
    source: str
    threads: Whole
    seed: Whole
    max_epochs: Whole | None
    certify: Whole
    sustain: Whole
    repeat: Whole
    replicates: Whole
    quick: bool
    cache: bool


class MachineFacts(TypedDict, total=False):
    """What is read of a machine."""

    gpus: list[str]
    memory_bytes: Whole | None


class CalibrationFacts(TypedDict, total=False):
    """What is read of a calibration."""

    matmul_flops_per_s: float


class ProvenanceFacts(TypedDict, total=False):
    """What is read of provenance."""

    machine: MachineFacts | None
    git: dict[str, Any] | None
    versions: dict[str, str] | None
    calibration: dict[str, CalibrationFacts | None] | None
    command: list[Any] | None
    path: dict[str, Any]
