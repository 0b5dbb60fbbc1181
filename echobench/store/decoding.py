"""A line to a record, fast: the same schema as `Record`'s, read by msgspec.

pydantic takes four times as long for a line, and its records ten times the memory. So
`Record` remains the one schema, and what is here is made from it: `decoded` says what is a
record and what is a damaged line, to all that read; `full` gives the former as a `Record`.
"""

from __future__ import annotations

import functools
import re
import types
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import msgspec
from pydantic import BaseModel, ValidationError

from echobench.errors import DamagedError, NewerError
from echobench.trial import facts
from echobench.trial.prediction import Prediction
from echobench.trial.record import Record

Whole = Annotated[int, msgspec.Meta(ge=-facts.LARGEST, le=facts.LARGEST)]
DEEPEST = 100
"""Brackets within brackets. Beyond, readers differ in what they stand: pydantic's at 200."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class _Version(msgspec.Struct):
    schema_version: int


def decoded(line: bytes) -> Record:
    """Return the record that a line holds: one to read from, without pydantic's methods.

    Raises:
        DamagedError: the line holds none; NewerError where it is one of a newer echobench.
    """
    # It has `Record`'s fields and properties; its points and samples are structs too.
    return cast(Record, _decoded(line, Record))


def full(line: bytes) -> Record:
    """Return the record that a line holds, with pydantic's methods.

    Raises:
        DamagedError: as `decoded`.
    """
    decoded(line)
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:  # the other takes it: not seen so far
        raise DamagedError(str(error.errors()[0]["msg"])) from error


def prediction(line: bytes) -> Prediction:
    """Return the prediction that a line holds, as `decoded` does with records."""
    return cast(Prediction, _decoded(line, Prediction))


def canonical(record: Record | Prediction) -> bytes:
    """Return what a decoded record says as JSON, however its line has written it."""
    return _encoder().encode(record)


def _decoded(line: bytes, model: type[BaseModel]) -> Any:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DamagedError(f"no UTF-8 at byte {error.start}") from error
    try:
        found = _decoder(model).decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _newer(text, model) or DamagedError(str(error)) from error
    version, newest = found.schema_version, model.model_fields["schema_version"].default
    if not 1 <= version <= newest:
        raise _newer(text, model) or DamagedError(f"no such schema version: {version}")
    facts.check(found.trial, found.provenance)
    _check_depth(text, found)
    return found


def _newer(text: str, model: type[BaseModel]) -> NewerError | None:
    """Return what says that a line is a newer echobench's, if it is."""
    try:
        version = msgspec.json.decode(text, type=_Version).schema_version
    except (msgspec.MsgspecError, RecursionError):
        return None
    newest = model.model_fields["schema_version"].default
    if version <= newest:
        return None
    told = f"schema {version}; this one reads up to {newest}"
    return NewerError(f"written by a newer echobench ({told})")


def _check_depth(text: str, found: Any) -> None:
    """Refuse what is nested too deep; only a line of many brackets is looked at closely."""
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


@functools.cache
def _decoder(model: type[BaseModel]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(model))


@functools.cache
def _encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(order="deterministic")


@functools.cache
def _struct(model: type[BaseModel]) -> type[msgspec.Struct]:
    """Return a struct with a model's fields, types and defaults."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for name, field in model.model_fields.items():
        kind = _without_models(field.annotation)
        if field.is_required():
            fields.append((name, kind))
        elif field.default_factory is not None:
            factory: Any = field.default_factory
            fields.append((name, kind, msgspec.field(default_factory=factory)))
        else:
            fields.append((name, kind, field.default))
    return msgspec.defstruct(
        model.__name__,
        fields,
        kw_only=True,
        forbid_unknown_fields=model.model_config.get("extra") == "forbid",
        gc=False,  # nothing in a record refers back to it
        namespace={name: it for name, it in vars(model).items() if isinstance(it, property)},
    )


def _without_models(kind: Any) -> Any:
    """Return an annotation in which structs stand for models, and numbers have bounds."""
    if kind is int:
        return Whole
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _struct(kind)
    origin = get_origin(kind)
    if origin is None or origin is Literal:
        return kind
    inner = tuple(map(_without_models, get_args(kind)))
    return Union[inner] if origin in (Union, types.UnionType) else origin[inner]  # noqa: UP007
