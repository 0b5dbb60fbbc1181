"""The fast reader: what it reads and what it refuses is what pydantic does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echobench.results.decoding import decoded
from echobench.results.record import Record
from tests.results.records import record

RESULTS = Path(__file__).parents[2] / "results"
LINES = [
    line
    for file in sorted(RESULTS.rglob("records-*.jsonl"))
    for line in file.read_text().splitlines()
]
ONE = json.loads(min(LINES, key=len))
PLACES = [(name,) for name in ONE] + [
    (name, inner) for name in ("trial", "provenance", "parity") for inner in ONE[name] or {}
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


def read(reader: Any, line: str) -> Any:
    """Return all that a reader makes of a line: values, properties, or what is wrong."""
    try:
        found = reader(line)
    except ValidationError as error:
        return [(problem["loc"], problem["msg"]) for problem in error.errors()]
    values = {name: plain(getattr(found, name)) for name in Record.model_fields}
    return repr({**values, "failed": found.failed_parity, "lasted": found.lasted})


def plain(value: Any) -> Any:
    """Return a value with models and structs as dictionaries."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    names = getattr(value, "__struct_fields__", None) or getattr(type(value), "model_fields", None)
    return {name: plain(getattr(value, name)) for name in names} if names else value


def same(line: str) -> None:
    assert read(decoded, line) == read(Record.model_validate_json, line)


def test_the_committed_records_are_read_alike_and_fast() -> None:
    assert len(LINES) > 100
    for line in LINES:
        same(line)
        assert not isinstance(decoded(line), Record)


def test_what_only_has_to_be_there_is_enough() -> None:
    same(record(0).model_dump_json(exclude_defaults=True))


@given(st.sampled_from(PLACES), VALUES)
def test_a_record_with_another_value_is_read_alike(place: tuple[str, ...], value: Any) -> None:
    told = json.loads(json.dumps(ONE))
    inside = told if len(place) == 1 else told[place[0]]
    inside[place[-1]] = value
    same(json.dumps(told))


@given(st.text(), VALUES)
def test_a_field_too_many_is_refused_alike(name: str, value: Any) -> None:
    same(json.dumps({**ONE, name: value}))


@given(st.integers(0, len(min(LINES, key=len))), st.text(max_size=3), st.integers(0, 3))
def test_a_damaged_line_is_refused_alike(at: int, text: str, lost: int) -> None:
    line = min(LINES, key=len)
    same(line[:at] + text + line[at + lost :])


@pytest.mark.parametrize("line", ["[" * 5000, '{"task": "\\ud800"}', "{}", "null", "NaN"])
def test_what_is_no_record_is_refused_alike(line: str) -> None:
    same(line)
