"""Validate a worker's result before recording it.

A plugin runs in the worker, and can report whatever it likes. Fields that the parent knows are
not taken from it; the others must make a valid record, which the referee accepts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from echobench.machine import calibration, privacy
from echobench.store import referee
from echobench.store.rules import MOST_SOONER, has_pace
from echobench.text import plain, shortened
from echobench.trial.cell import StoredTrial
from echobench.trial.record import AnyLine, Rates, Record
from echobench.trial.trial import Trial

LATER = "after_result"
"""Field of the provenance: how a worker failed after it had reported its result."""
HEARD = "heard_s"
"""Field of a result: how long the parent waited for it, by its own clock."""
SLOWEST, SLACK_S = 0.5, 3.0
"""A worker's clock runs slow if it shows less than this share of what the parent's shows, and so
many seconds less for each process that shares a core: between the two lies a calibration, a
fifth of a second of a whole core."""
CALIBRATION_S = 0.5
"""Seconds of a calibration, at most, on a core of its own."""
OURS = {
    "provenance", "started_at", "schema_version", "disturbances", "judge", "limit_reason"
}  # fmt: skip # one line reads better
"""Fields that no worker may give, whatever its job."""
MEASURED: dict[str, Any] = {
    "calibration": dict[str, Rates | None],
    "path": dict[str, Any],
    LATER: str,
}
"""Fields of a result that belong into the provenance."""


def one_line(text: str) -> str:
    """Return a text as a reason: one line, not too long to be read."""
    return shortened(plain(" ".join(privacy.redact(text).split())))


def split_result(
    fields: dict[str, Any], lived_s: float = math.inf, crowd: float = 1.0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a worker's result into fields of a record and provenance.

    If the result gives fields that it may not, the fields are those of a failure.

    Args:
        fields: the result, with `HEARD` where it is a trial's.
        lived_s: seconds that the worker lived, measured by the parent.
        crowd: processes that ran or waited for each core of the machine; 1 for no more than cores.
    """
    measured: dict[str, Any] = {"calibration": {}, "path": {}}
    try:
        for name, kind in MEASURED.items():
            if fields.get(name) is not None:
                measured[name] = _measured(name, fields[name], kind)
    except msgspec.ValidationError as error:
        measured = {"calibration": {}, "path": {}}
        return _failure(f"the worker's result is no record ({error})"), measured
    heard_s = fields.get(HEARD, 0.0)
    rest = {name: value for name, value in fields.items() if name not in {*MEASURED, HEARD}}
    if isinstance(rest.get("reason"), str):
        rest["reason"] = one_line(rest["reason"])
    forbidden = sorted(OURS & rest.keys())
    if forbidden:
        return _failure(_forbidden(forbidden)), measured
    wall = rest.get("wall_s")
    if isinstance(wall, float | int) and wall > lived_s:
        why = f"wall_s: expected at most the {lived_s:.3g} s that it lived; received {wall:.3g}"
        return _failure(f"the worker's result cannot be true ({why})"), measured
    slow = why_slow(wall, heard_s, 0, crowd) if isinstance(wall, float | int) else None
    return (rest if slow is None else _failure(slow)), measured


def why_slow(wall_s: float, heard_s: float, place: int, crowd: float = 1.0) -> str | None:
    """Return that a worker's clock runs slow, in words; None if it does not.

    Args:
        wall_s: seconds of a trial by the worker's clock, or of all trials of a process so far.
        heard_s: how long the parent waited for them.
        place: how many trials the process had trained before; each ends with a calibration.
        crowd: see `split_result`.
    """
    slack_s = (SLACK_S + CALIBRATION_S * place) * crowd
    if wall_s >= min(SLOWEST * heard_s, heard_s - slack_s):
        return None
    clocks = f"wall_s: {wall_s:.3g} s by its clock, {heard_s:.3g} s by ours"
    return f"the worker's result cannot be true ({clocks})"


def pace_s(fields: dict[str, Any]) -> float | None:
    """Return the time of an update of a result, if it is that of steady training."""
    update_s, evaluations = fields.get("seconds_per_update"), fields.get("evaluations")
    recompilations = fields.get("recompilations")
    recompiled = recompilations.get("times", 0) if isinstance(recompilations, dict) else 0
    if not isinstance(update_s, float) or not isinstance(evaluations, list):
        return None
    return update_s if has_pace(len(evaluations), recompiled) else None


def why_sooner(update_s: Any, first_s: float | None) -> str | None:
    """Return that a trial's updates took far less than those of the first of its process.

    None if they did not, or one of them has no time of an update.
    """
    if first_s is None or not (isinstance(update_s, float) and update_s > 0):
        return None
    if first_s <= MOST_SOONER * update_s:
        return None
    clocks = (
        f"an update took 1/{first_s / update_s:.0f} of the time that it took in the first trial of "
        "its process: the rest was done off the clock"
    )
    return f"the worker's result cannot be true ({clocks})"


def validated(kind: type[AnyLine], known: dict[str, Any], result: dict[str, Any]) -> AnyLine:
    """Return the record of a result, or one that failed with the reason why it is invalid.

    Args:
        kind: `Record` or `Prediction`.
        known: fields that the parent knows, so that a worker may not give them.
        result: the worker's fields, with `started_at` and `provenance`.
    """
    base = {name: result[name] for name in ("started_at", "provenance")}
    forbidden = sorted(known.keys() & result.keys())
    if forbidden:
        return kind.from_dict({**known, **base, **_failure(_forbidden(forbidden))})
    try:
        return kind.from_dict({**known, **result})
    except msgspec.ValidationError as error:
        reason = f"the worker's result is no record ({error})"
        return kind.from_dict({**known, **base, **_failure(reason)})


def known_of(trial: Trial) -> dict[str, Any]:
    """Return the fields that every record of a trial has, whatever its result is."""
    plugins = [*map(privacy.redact_plugin, trial.plugins)]
    return {
        "task": trial.label,
        "key": trial.key,
        "trial": StoredTrial.of(trial.model_copy(update={"plugins": plugins})),
        **trial.model_dump(include={"backend", "engine", "division", "device", "seed"}),
    }


def record(trial: Trial, result: dict[str, Any]) -> Record:
    """Return the record of a trial's result; it failed if the result cannot be true."""
    known = known_of(trial)
    made = validated(Record, known, result)
    wrong = referee.why_impossible(made)
    if wrong is not None:
        base = {name: result[name] for name in ("started_at", "provenance")}
        reason = f"the worker's result cannot be true ({wrong})"
        made = Record.from_dict({**known, **base, **_failure(reason)})
    return calibration.assessed(made)


def _failure(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": one_line(reason)}


def _forbidden(names: Sequence[str]) -> str:
    return f"the worker's result says what is not its to say ({', '.join(names)})"


def _measured(name: str, value: Any, kind: Any) -> Any:
    """Return a part of the provenance as it would be read from a line.

    Raises:
        msgspec.ValidationError: it is invalid, or no line can hold it.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(msgspec.convert(value, kind)), type=kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise msgspec.ValidationError(f"{name}: {error}") from error
