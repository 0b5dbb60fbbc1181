"""The record's schema: shipped as it is, versioned, older ones still read."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from echobench.store.folder import Store
from echobench.trial.record import SCHEMA_VERSION, Record

RESULTS = Path(__file__).parents[2] / "results"


def test_the_shipped_schema_is_the_records() -> None:
    shipped = json.loads((files("echobench.trial") / "record.schema.json").read_text())
    assert shipped == Record.model_json_schema(), (
        "write it anew: python -c 'import json; from echobench.trial.record import Record; "
        "print(json.dumps(Record.model_json_schema(), indent=2))' "
        "> echobench/trial/record.schema.json"
    )
    assert shipped["properties"]["schema_version"]["default"] == SCHEMA_VERSION


def test_records_of_the_first_version_load() -> None:
    records = Store.read(RESULTS / "matrix")
    assert len(records) == 72
    assert {record.schema_version for record in records} == {1}
    assert {record.updates for record in records} == {None}
