"""Messages of a worker to its parent, as lines of JSON.

The parent writes one `Job` to the worker's standard input. The worker writes events to a
pipe of its own, since frameworks print to stdout: `Progress` now and then, a `Result` for
each trial, and a `Failure` where it cannot go on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from echobench.trial.record import Sample


class Look(BaseModel):
    """An evaluation of a trial that is watched.

    Attributes:
        updates: updates so far.
        train_s: seconds of training so far.
        loss: of the last epoch.
        accuracy, exact_match: on fresh sequences.
        samples: the same few samples at each evaluation, as the network echoes them now.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    updates: int
    train_s: float
    loss: float
    accuracy: float
    exact_match: float
    samples: list[Sample]


class Progress(BaseModel):
    """How far a trial is; with a `look` at each evaluation where it is watched."""

    model_config = ConfigDict(allow_inf_nan=False)

    event: Literal["progress"] = "progress"
    phase: str = Field(pattern=r"^[a-z0-9 ]{1,40}$")
    epoch: int = Field(default=0, ge=0, lt=2**53)
    accuracy: float | None = None
    seconds_per_epoch: float | None = None
    look: Look | None = None


class Result(BaseModel):
    """The result of a trial, or of a job of another kind: fields of a record or of an answer."""

    # Written as null, a NaN would pass for a figure that was not measured.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    event: Literal["result"] = "result"
    fields: dict[str, Any]


class Failure(BaseModel):
    """Why the job's remaining trials have no result, in one line; `status` is the records'."""

    event: Literal["failure"] = "failure"
    status: Literal["failed", "unsupported", "unavailable"]
    reason: str


Event = Annotated[Progress | Result | Failure, Field(discriminator="event")]
EVENT: TypeAdapter[Progress | Result | Failure] = TypeAdapter(Event)
