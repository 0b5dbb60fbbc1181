"""The record's schema: shipped as it is, versioned, older ones still read."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from echobench.store.folder import Store
from echobench.store.reading import decoded
from echobench.trial.record import SCHEMA_VERSION, WITHIN, JsonLine, Record
from tests.records import record

RESULTS = Path(__file__).parents[2] / "results"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a record, as `record.schema.json` has it."""
    schema = msgspec.json.schema(Record)
    del schema["$defs"]["Record"]["properties"]["beyond"]
    for kind in WITHIN[JsonLine].values():
        for part in (kind, *WITHIN[kind].values()):
            del schema["$defs"][part.__name__]["additionalProperties"]
    return schema


def test_the_shipped_schema_is_the_records() -> None:
    shipped = json.loads((files("echobench.trial") / "record.schema.json").read_text())
    assert shipped == json.loads(json.dumps(json_schema())), (
        "write it again: python -c 'import json; from tests.trial.test_record import json_schema; "
        "print(json.dumps(json_schema(), indent=2))' > echobench/trial/record.schema.json"
    )
    properties = shipped["$defs"]["Record"]["properties"]
    assert properties["schema_version"]["default"] == SCHEMA_VERSION
    assert "beyond" not in properties


def test_an_object_that_may_hold_more_says_so() -> None:
    objects = json_schema()["$defs"]
    refused = {name for name, told in objects.items() if told.get("additionalProperties") is False}
    assert refused == {"Record"}


def test_records_of_the_first_version_load() -> None:
    records = Store.read(RESULTS / "matrix")
    assert len(records) == 72
    assert {record.schema_version for record in records} == {1}
    assert {record.updates for record in records} == {None}


def test_a_calibration_that_says_more_or_less_is_read_and_written_back() -> None:
    fields = record().to_dict()
    rates = {"matmul_flops_per_s": 1e9, "matmul_spread": 1.0, "new_rate": 3}
    fields["provenance"] = {"calibration": {"before": rates, "after": None}}
    line = json.dumps(fields).encode()
    read = decoded(line)
    assert read.provenance.calibration is not None
    assert read.provenance.calibration["after"] is None
    assert read.to_dict()["provenance"]["calibration"]["before"] == rates


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.59, "an update took 59% of the processor time"),
        (0.6, None),
        (5.0, None),
        (20.0, "an update took 20.0 times the processor time"),
    ],
)
def test_a_control_that_took_far_more_or_far_less_contradicts(
    share: float, expected: str | None
) -> None:
    contradiction = record(0, clock_share=share).contradiction
    assert (contradiction is None) == (expected is None)
    assert expected is None or expected in (contradiction or "")
