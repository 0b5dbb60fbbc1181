"""Decode a line into a record or a prediction, or say why it is damaged."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from echobench.errors import DamagedError, NewerError
from echobench.trial import prediction, record
from echobench.trial.prediction import Prediction
from echobench.trial.record import JsonLine, Line, Record

DEEPEST = 100
"""Brackets within brackets. Beyond, readers of JSON differ in what they accept."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
NEWEST: dict[type[JsonLine], int] = {
    Record: record.SCHEMA_VERSION,
    Prediction: prediction.SCHEMA_VERSION,
}


class _Version(msgspec.Struct):
    schema_version: int


def decoded(line: bytes) -> Record:
    """Return the record that a line holds.

    Raises:
        DamagedError: the line holds none; NewerError where it is one of a newer echobench.
    """
    return _decoded(line, Record)


def decoded_prediction(line: bytes) -> Prediction:
    """Return the prediction that a line holds, as `decoded` does with records."""
    return _decoded(line, Prediction)


def canonical(line: JsonLine) -> bytes:
    """Return a record as JSON, the same for lines that say the same in another form."""
    return _encoder.encode(line.to_dict())


def _decoded(line: bytes, kind: type[Line]) -> Line:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DamagedError(f"no UTF-8 at byte {error.start}") from error
    try:
        found = _parsed(text, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _newer(text, kind) or DamagedError(str(error)) from error
    version = found.schema_version
    if not 1 <= version <= NEWEST[kind]:
        raise _newer(text, kind) or DamagedError(f"no such schema version: {version}")
    _check_depth(text, found)
    return found


def _parsed(text: str, kind: type[Line]) -> Line:
    try:
        found: Line = _decoders[kind].decode(text)
    except msgspec.ValidationError as error:
        if "unknown field" not in str(error):
            raise
    else:
        if found.beyond is msgspec.UNSET:
            return found
    # Slow, and rare: the line has fields that this version does not know.
    return kind.from_dict(msgspec.json.decode(text))


def _newer(text: str, kind: type[JsonLine]) -> NewerError | None:
    """Return the error for a line of a newer echobench, if it is such a line."""
    try:
        version = msgspec.json.decode(text, type=_Version).schema_version
    except (msgspec.MsgspecError, RecursionError):
        return None
    if version <= NEWEST[kind]:
        return None
    newest = f"this one reads up to {NEWEST[kind]}"
    return NewerError(f"written by a newer echobench (schema {version}; {newest})")


def _check_depth(text: str, found: JsonLine) -> None:
    """Refuse a line that is nested too deep; only lines with many brackets are parsed for it."""
    points = len(getattr(found, "evaluations", ())) + len(getattr(found, "after_hit", ()))
    samples = 3 * len(getattr(found, "samples", ()))
    if text.count("{") + text.count("[") - points - samples <= DEEPEST:
        return
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise DamagedError(f"nested deeper than {DEEPEST}")


_decoders: dict[type[JsonLine], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in NEWEST
}
_encoder = msgspec.json.Encoder(order="deterministic")
