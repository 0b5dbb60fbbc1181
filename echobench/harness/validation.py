"""What a worker tells of its job, looked at before it is believed.

A plugin runs in the worker, and may say there whatever it likes. What the parent knows itself
it does not ask; the rest must be a record, and one that the referee would let pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from echobench.machine import calibration, privacy
from echobench.store import referee
from echobench.text import plain, shortened
from echobench.trial.cell import StoredTrial
from echobench.trial.record import Line, Rates, Record
from echobench.trial.trial import Trial

LATER = "after_result"
"""What of the provenance says that a worker, its job done, did not end in order."""
OURS = {"provenance", "started_at", "schema_version", "disturbances"}
"""What no worker says, whatever its job."""
MEASURED: dict[str, Any] = {
    "calibration": dict[str, Rates | None],
    "path": dict[str, Any],
    LATER: str,
}
"""What of a result belongs into the provenance."""


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
    measured: dict[str, Any] = {"calibration": {}, "path": {}}
    try:
        for name, kind in MEASURED.items():
            if fields.get(name) is not None:
                measured[name] = _measured(name, fields[name], kind)
    except msgspec.ValidationError as error:
        measured = {"calibration": {}, "path": {}}
        return _failure(f"the worker's result is no record ({error})"), measured
    rest = {name: value for name, value in fields.items() if name not in MEASURED}
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


def kept(kind: type[Line], told: dict[str, Any], came: dict[str, Any]) -> Line:
    """Return a record of what came, or one that says why it is none.

    Args:
        kind: `Record`, or what else has a status and a reason.
        told: fields that the parent knows.
        came: what the worker said, with `started_at` and `provenance`.
    """
    base = {name: came[name] for name in ("started_at", "provenance")}
    forbidden = sorted(told.keys() & came.keys())
    if forbidden:
        return kind.from_dict({**told, **base, **_failure(_not_its_to_say(forbidden))})
    try:
        return kind.from_dict({**told, **came})
    except msgspec.ValidationError as error:
        reason = f"the worker's result is no record ({error})"
        return kind.from_dict({**told, **base, **_failure(reason)})


def record(trial: Trial, came: dict[str, Any]) -> Record:
    """Return the record of what came of a trial."""
    plugins = [*map(privacy.redact_plugin, trial.plugins)]
    told: dict[str, Any] = {
        "task": trial.label,
        "key": trial.key,
        "trial": StoredTrial.of(trial.model_copy(update={"plugins": plugins})),
        **trial.model_dump(include={"backend", "engine", "division", "device", "seed"}),
    }
    found = kept(Record, told, came)
    wrong = referee.why_impossible(found)
    if wrong is not None:
        base = {name: came[name] for name in ("started_at", "provenance")}
        reason = f"the worker's result cannot be true ({wrong})"
        found = Record.from_dict({**told, **base, **_failure(reason)})
    found.disturbances = calibration.disturbances(found.provenance)
    return found


def _failure(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": one_line(reason)}


def _not_its_to_say(names: Sequence[str]) -> str:
    return f"the worker's result says what is not its to say ({', '.join(names)})"


def _measured(name: str, value: Any, kind: Any) -> Any:
    """Return a part of the provenance as it is read from a line.

    Raises:
        msgspec.ValidationError: no line can hold it.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(msgspec.convert(value, kind)), type=kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise msgspec.ValidationError(f"{name}: {error}") from error
