"""What parent and worker say to each other, both ways as JSON.

The parent writes one `Job` to the worker's standard input. The worker writes
events, one a line, to a pipe of its own, since frameworks print to stdout:
`Progress` now and then, and one `Result` or `Failure` at the end.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from echobench.core.task import Recipe
from echobench.trial.record import Sample
from echobench.trial.trial import Trial


class Reference(BaseModel):
    """The first losses of the reference implementation, for the parity gate."""

    name: str
    losses: list[float]


class Inference(BaseModel):
    """A saved network to run.

    Attributes:
        model: the .keras file.
        batches: numbers of samples for which a call is timed.
        answers: the .npy file that takes its answers to fresh sequences,
            integers [sequences, samples, n_out], `MISSING` where none was asked for.
    """

    model: str
    batches: list[int]
    answers: str


class Heard(BaseModel):
    """What a saved network is to echo.

    Attributes:
        model: the .keras file.
        tokens: one sample, `MISSING` where there is none.
    """

    model: str
    tokens: list[int]


class Job(BaseModel):
    """What a worker is to do.

    A `trial` is trained; with `seeds`, one of each in its place, together; to `watch` it,
    its evaluations are told as they are made. Of a
    `reference`, only the first losses are computed. To `predict`, the network that the
    trial trained is loaded and run; to `echo`, it answers one sample. A `probe` is a check
    of the conformance kit, by its name in `echobench.worker.probes`.
    """

    kind: Literal["trial", "reference", "predict", "echo", "probe"]
    trial: Trial
    seeds: list[int] = []
    reference: Reference | None = None
    save_model: str | None = None
    watch: bool = False
    inference: Inference | None = None
    heard: Heard | None = None
    probe: str | None = None
    recipes: dict[str, Recipe] = {}


class Look(BaseModel):
    """An evaluation as it is made, for a trial that is watched.

    Attributes:
        updates: made so far.
        train_s: seconds of training so far.
        loss: of the last epoch.
        accuracy, exact_match: on fresh sequences.
        samples: how some come out now, the same ones at each look.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    updates: int
    train_s: float
    loss: float
    accuracy: float
    exact_match: float
    samples: list[Sample]


class Progress(BaseModel):
    """How far a trial is; with a `look`, where it was evaluated and is watched."""

    model_config = ConfigDict(allow_inf_nan=False)

    event: Literal["progress"] = "progress"
    phase: str = Field(pattern=r"^[a-z0-9 ]{1,40}$")
    epoch: int = Field(default=0, ge=0, lt=2**53)
    accuracy: float | None = None
    seconds_per_epoch: float | None = None
    look: Look | None = None


class Result(BaseModel):
    """What came of the job: fields of a record, or `{"losses": [...]}`."""

    # As it is: written as null, what is not a number would pass for what was not measured.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    event: Literal["result"] = "result"
    fields: dict[str, Any]


class Failure(BaseModel):
    """Why nothing came of it, in one line; `status` is the record's."""

    event: Literal["failure"] = "failure"
    status: Literal["failed", "unsupported", "unavailable"]
    reason: str


Event = Annotated[Progress | Result | Failure, Field(discriminator="event")]
EVENT: TypeAdapter[Progress | Result | Failure] = TypeAdapter(Event)
