"""Reading a line: what is a record, what is damaged, and that nothing is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.errors import DamagedError, NewerError
from echobench.store.reading import canonical, decoded
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


def reread(line: str) -> None:
    """Check that a line is refused, or that what it says is the same once written and read."""
    try:
        found = decoded(line.encode())
    except DamagedError:
        return
    again = decoded(found.to_json().encode())
    assert repr(again) == repr(found)
    assert (again.key, again.lasted, again.counts) == (found.key, found.lasted, found.counts)


def test_the_committed_records_are_read_and_nothing_of_them_is_lost() -> None:
    assert len(LINES) > 100
    for line in LINES:
        found, told = decoded(line.encode()), json.loads(line)
        assert found.beyond is msgspec.UNSET
        assert found.trial.key == found.key
        assert holds(json.loads(found.to_json()), told)


def holds(more: Any, less: Any) -> bool:
    """Return whether a value of JSON says all that another says."""
    if isinstance(less, dict):
        return all(name in more and holds(more[name], value) for name, value in less.items())
    if isinstance(less, list):
        return len(more) == len(less) and all(map(holds, more, less))
    return bool(more == less)


def test_what_only_has_to_be_there_is_enough() -> None:
    told = record(0).to_dict()
    needed = ("task", "backend", "engine", "division", "device", "seed", "status", "started_at")
    few = {name: told[name] for name in (*needed, "key", "trial")}
    assert decoded(json.dumps(few).encode()) == record(0, judge=None)


@pytest.mark.parametrize(
    "place",
    ["trial.x", "trial.recipe.x", "provenance.x", "provenance.machine.x", "provenance.git.x"],
)
def test_what_is_not_known_is_kept(place: str) -> None:
    line = with_value(place, '{"inside": [1, null]}')
    found = decoded(line.encode())
    assert json.loads(canonical(found)) == json.loads(canonical(decoded(found.to_json().encode())))
    assert holds(json.loads(found.to_json()), json.loads(line))
    same_cell = found.cell == decoded(json.dumps(ONE).encode()).cell
    assert same_cell is not place.startswith("trial.")  # it may be what tells cells apart


@given(st.sampled_from(PLACES), VALUES)
def test_a_record_with_another_value_is_read_or_refused(place: tuple[str, ...], value: Any) -> None:
    told = json.loads(json.dumps(ONE))
    inside = told if len(place) == 1 else told[place[0]]
    inside[place[-1]] = value
    reread(json.dumps(told))


@given(st.text(), VALUES)
def test_a_field_too_many_is_refused(name: str, value: Any) -> None:
    reread(json.dumps({**ONE, name: value}))


@given(st.integers(0, len(min(LINES, key=len))), st.text(max_size=3), st.integers(0, 3))
def test_a_damaged_line_is_refused(at: int, text: str, lost: int) -> None:
    line = min(LINES, key=len)
    reread(line[:at] + text + line[at + lost :])


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
        (with_value("trial.recipe", '"x"'), "Expected `object`, got `str` - at `$.trial.recipe`"),
        (
            with_value("trial.threads", "1" + "0" * 400),
            "`int` <= 9223372036854775807 - at `$.trial.threads`",
        ),
        (
            with_value("provenance.machine", '"x"'),
            "`object | null`, got `str` - at `$.provenance.machine`",
        ),
        (
            with_value("provenance.machine", '{"gpus": [1]}'),
            "`str`, got `int` - at `$.provenance.machine.gpus[0]`",
        ),
        (
            with_value("provenance.calibration", '{"x": 1}'),
            "got `int` - at `$.provenance.calibration[...]`",
        ),
        (
            with_value("provenance.calibration", '{"x": {"matmul_flops_per_s": ""}}'),
            "`float`, got `str`",
        ),
        (
            with_value("trial.recipe.epochs", "true"),
            "`int`, got `bool` - at `$.trial.recipe.epochs`",
        ),
        (
            with_value("trial.versions", '{"keras": 3}'),
            "`str`, got `int` - at `$.trial.versions[...]`",
        ),
        (with_value("schema_version", "0"), "no such schema version: 0"),
    ],
)
def test_what_is_no_record_is_refused(line: str, why: str) -> None:
    reread(line)
    with pytest.raises(DamagedError, match=re.escape(why)):
        decoded(line.encode())


@pytest.mark.parametrize("place", ["wall_s", "loss", "trial.x", "provenance.x"])
@pytest.mark.parametrize("value", ["-0", "-0.0", "1e-400", "5e-324", "1.7976931348623157e308"])
def test_numbers_at_the_edge_are_read(place: str, value: str) -> None:
    reread(with_value(place, value))


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
