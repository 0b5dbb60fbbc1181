"""What a worker tells of its job, looked at before it is believed.

A plugin runs in the worker, and may say there whatever it likes. What the parent knows itself
it does not ask; the rest must be a record, and one that the referee would let pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError

from echobench.machine import calibration, privacy
from echobench.store import referee
from echobench.text import plain, shortened
from echobench.trial.record import Record
from echobench.trial.trial import Trial

LATER = "after_result"
"""What of the provenance says that a worker, its job done, did not end in order."""
OURS = {"provenance", "started_at", "schema_version", "disturbances"}
"""What no worker says, whatever its job."""
Kept = TypeVar("Kept", bound=BaseModel)


class Rates(BaseModel):
    """A calibration, as `echobench.machine.calibration` returns it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    matmul_flops_per_s: PositiveFloat
    copy_bytes_per_s: PositiveFloat
    matmul_spread: PositiveFloat
    frequency_mhz: float | None


class Measured(BaseModel):
    """What of a result belongs into the provenance."""

    calibration: dict[str, Rates | None] = {}
    path: dict[str, Any] = {}
    after_result: str | None = None


def one_line(text: str) -> str:
    """Return a text as a reason: one line, of a length that can be read."""
    return shortened(plain(" ".join(privacy.redact(text).split())))


def claimed(
    fields: dict[str, Any], lived_s: float = math.inf
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of a worker's result is a record's fields, and what is its provenance.

    Where it says what is not its to say, the fields are those of a failure.

    Args:
        fields: the result.
        lived_s: seconds that the worker had, as the parent saw it.
    """
    nothing = Measured().model_dump(exclude_none=True)
    try:
        measured = Measured.model_validate(fields).model_dump()
    except ValidationError as error:
        return _failure(f"the worker's result is no record ({_told(error)})"), nothing
    if measured[LATER] is None:
        del measured[LATER]
    rest = {name: value for name, value in fields.items() if name not in Measured.model_fields}
    if isinstance(rest.get("reason"), str):
        rest["reason"] = one_line(rest["reason"])
    forbidden = sorted(OURS & rest.keys())
    if forbidden:
        return _failure(_not_its_to_say(forbidden)), measured
    wall = rest.get("wall_s")
    if isinstance(wall, float | int) and wall > lived_s:
        told = f"wall_s: expected at most the {lived_s:.3g} s that it lived; received {wall:.3g}"
        return _failure(f"the worker's result cannot be true ({told})"), measured
    return rest, measured


def kept(model: type[Kept], told: dict[str, Any], came: dict[str, Any]) -> Kept:
    """Return a record of what came, or one that says why it is none.

    Args:
        model: `Record`, or what else has a status and a reason.
        told: fields that the parent knows.
        came: what the worker said, with `started_at` and `provenance`.
    """
    base = {name: came[name] for name in ("started_at", "provenance")}
    forbidden = sorted(told.keys() & came.keys())
    if forbidden:
        return model(**told, **base, **_failure(_not_its_to_say(forbidden)))
    try:
        return model(**told, **came)
    except ValidationError as error:
        reason = f"the worker's result is no record ({_told(error)})"
        return model(**told, **base, **_failure(reason))


def record(trial: Trial, came: dict[str, Any]) -> Record:
    """Return the record of what came of a trial."""
    told: dict[str, Any] = {
        "task": trial.label,
        "key": trial.key,
        "trial": {
            **trial.model_dump(mode="json"),
            "plugins": [*map(privacy.redact_plugin, trial.plugins)],
        },
        **trial.model_dump(include={"backend", "engine", "division", "device", "seed"}),
        "disturbances": calibration.disturbances(came["provenance"]),
    }
    found = kept(Record, told, came)
    wrong = referee.why_impossible(found)
    if wrong is None:
        return found
    base = {name: came[name] for name in ("started_at", "provenance")}
    return Record(**told, **base, **_failure(f"the worker's result cannot be true ({wrong})"))


def _failure(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": one_line(reason)}


def _not_its_to_say(names: Sequence[str]) -> str:
    return f"the worker's result says what is not its to say ({', '.join(names)})"


def _told(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
