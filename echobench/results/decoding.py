"""A line to a record, fast: the same schema as `Record`'s, read by msgspec.

pydantic takes four times as long for a line, and its records ten times the memory. So
`Record` remains the one schema, and what is here is made from it. Whatever msgspec does not
take, pydantic judges: what is a record, and what a damaged line is called, is one truth.
"""

from __future__ import annotations

import functools
import types
from typing import Any, Literal, Union, cast, get_args, get_origin

import msgspec
from pydantic import BaseModel

from echobench.results.record import Record


def decoded(line: str) -> Record:
    """Return the record that a line holds: one to read from, without pydantic's methods.

    Raises:
        pydantic.ValidationError: the line is damaged.
    """
    try:
        # It has `Record`'s fields and properties; its points and samples are structs too.
        return cast(Record, _decoder().decode(line))
    except (msgspec.MsgspecError, RecursionError):
        return Record.model_validate_json(line)


@functools.cache
def _decoder() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(Record))


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
    """Return an annotation in which structs stand for models."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _struct(kind)
    origin = get_origin(kind)
    if origin is None or origin is Literal:
        return kind
    inner = tuple(map(_without_models, get_args(kind)))
    return Union[inner] if origin in (Union, types.UnionType) else origin[inner]  # noqa: UP007
