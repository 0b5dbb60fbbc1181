"""The fast reader: what it reads and what it refuses is what pydantic does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echobench.errors import DamagedError, NewerError
from echobench.store.decoding import canonical, decoded, full
from echobench.trial.record import Record
from tests.records import record

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
    """Return all that a reader makes of a line, values and properties; None if it refuses."""
    try:
        found = reader(line.encode())
    except (DamagedError, ValidationError):
        return None
    values = {name: plain(getattr(found, name)) for name in Record.model_fields}
    return repr({**values, "failed": found.failed_parity, "lasted": found.lasted})


def plain(value: Any) -> Any:
    """Return a value with models and structs as dictionaries."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    names = getattr(value, "__struct_fields__", None) or getattr(type(value), "model_fields", None)
    return {name: plain(getattr(value, name)) for name in names} if names else value


def same(line: str) -> None:
    """Check that both ways of loading take a line, and alike, or both refuse it.

    pydantic by itself takes more: strings for numbers, say. But never less.
    """
    fast = read(decoded, line)
    assert fast == read(full, line)
    if fast is not None:
        assert fast == read(Record.model_validate_json, line)


def test_the_committed_records_are_read_alike_and_fast() -> None:
    assert len(LINES) > 100
    for line in LINES:
        same(line)
        assert not isinstance(decoded(line.encode()), Record)


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


def with_value(place: str, value: str) -> str:
    """Return a record in which JSON stands at a place, whether it is some or not."""
    told = json.loads(json.dumps(ONE))
    *above, name = place.split(".")
    inside = told
    for one in above:
        inside = inside.setdefault(one, {})
    inside[name] = "@"
    return json.dumps(told).replace('"@"', value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[" * 100_000, "got `array`"),
        ("{}", "missing required field `task`"),
        ("null", "got `null`"),
        ("NaN", "invalid character"),
        (with_value("reason", '"\\ud800"'), "surrogate"),
        (with_value("reason", '"\\udc00\\ud800"'), "surrogate"),
        (with_value("reason", '"\0"'), "invalid character"),
        (with_value("wall_s", "NaN"), "invalid character"),
        (with_value("wall_s", "-Infinity"), "invalid character"),
        (with_value("wall_s", "1e400"), "out of range"),
        (with_value("wall_s", "true"), "got `bool`"),
        (with_value("wall_s", '"1.5"'), "got `str`"),
        (with_value("wall_s", "1" + "0" * 400), "out of range"),
        (with_value("seed", "1.0"), "got `float`"),
        (with_value("seed", "true"), "got `bool`"),
        (with_value("seed", "1" + "0" * 400), "`int` <= 9223372036854775807"),
        (with_value("seed", "1" + "0" * 9000), "out of range"),
        (with_value("trial.x", "NaN"), "invalid character"),
        (with_value("trial.x", "[" * 300 + "]" * 300), "nested deeper than 100"),
        # Beyond any limit of the decoder itself, which differs between versions of Python.
        (with_value("trial.x", "[" * 100_000 + "]" * 100_000), "recursion"),
        (with_value("parity", '{"passed": null, "x":' + "[" * 300 + "]" * 300 + "}"), "nested"),
        (with_value("trial.recipe", '"x"'), "trial.recipe: expected dict; received str"),
        (with_value("trial.threads", "1" + "0" * 400), "trial.threads: expected at most 64"),
        (with_value("provenance.machine", '"x"'), "machine: expected dict or NoneType; "),
        (with_value("provenance.machine", '{"gpus": [1]}'), "gpus: expected a list of names"),
        (with_value("provenance.calibration", '{"x": 1}'), "calibration.x: expected an object"),
        (with_value("provenance.calibration", '{"x": {"matmul_flops_per_s": ""}}'), "received str"),
        (with_value("trial.recipe", '{"epochs": true}'), "trial.recipe.epochs: expected int"),
        (with_value("trial.versions", '{"keras": 3}'), "trial.versions.keras: expected str"),
        (with_value("schema_version", "0"), "no such schema version: 0"),
    ],
)
def test_what_is_no_record_is_refused_alike(line: str, why: str) -> None:
    same(line)
    with pytest.raises(DamagedError, match=re.escape(why)):
        decoded(line.encode())


@pytest.mark.parametrize("place", ["wall_s", "loss", "trial.x", "provenance.x"])
@pytest.mark.parametrize("value", ["-0", "-0.0", "1e-400", "5e-324", "1.7976931348623157e308"])
def test_numbers_at_the_edge_are_read_alike(place: str, value: str) -> None:
    same(with_value(place, value))


def test_a_record_of_a_newer_echobench_is_no_damaged_one() -> None:
    for line in (
        json.dumps({**ONE, "schema_version": 99}),
        json.dumps({**ONE, "schema_version": 99, "colour": "red"}),
        json.dumps({"schema_version": 99}),
    ):
        with pytest.raises(NewerError, match=r"by a newer echobench \(schema 99; this one reads"):
            decoded(line.encode())


def test_no_utf_8_is_named_by_its_place() -> None:
    with pytest.raises(DamagedError, match="no UTF-8 at byte 9"):
        decoded(b'{"task":"\xff"}')


def test_what_a_record_says_does_not_depend_on_how() -> None:
    told = json.dumps(ONE).encode()
    other = json.dumps(dict(reversed(ONE.items())), indent=1).replace("\n", " ").encode()
    assert canonical(decoded(told)) == canonical(decoded(other))
    assert canonical(decoded(told)) != canonical(decoded(told.replace(b'"seed": 0', b'"seed": 1')))
