"""Records of one process: what trials that it trained in turn cannot say together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echobench.store.crosscheck import Crosscheck
from echobench.store.rules import RULES
from echobench.trial.record import Record
from tests.records import record

ID = "0123456789abcdef"
POINTS = [
    {"epoch": 10 * n, "train_s": 0.1 * n, "loss": 1.0, "accuracy": 0.5, "exact_match": 0.0}
    for n in range(1, 6)
]


def turns(*changes: dict[str, Any]) -> list[Record]:
    """Return the records of a process, ten seconds apart, as they are after changes."""
    made = []
    for place, change in enumerate(changes):
        fields = {
            "started_at": f"2026-01-01T00:00:{10 * place:02}.000+00:00",
            "seconds_per_update": 1e-3,
            "evaluations": POINTS,
            **change,
        }
        process = {"id": fields.pop("id", ID), "place": fields.pop("place", place)}
        made.append(record(place, provenance={"process": process}, **fields))
    return made


def told(records: list[Record]) -> list[tuple[str, str]]:
    check = Crosscheck()
    for number, one in enumerate(records):
        check.add(Path("records-1.jsonl"), f"line {number}", one)
    return [(where, message) for where, _, about, message in check.findings() if about == "process"]


def test_what_a_process_trained_in_turn_is_believed() -> None:
    assert not told(turns({}, {"seconds_per_update": 0.4e-3}, {"seconds_per_update": 2e-3}))
    # Of few stretches, each of a length of its own, the median may be one of compiling.
    assert not told(turns({"evaluations": POINTS[:2]}, {"seconds_per_update": 3e-5}))
    compiled = {"recompilations": {"times": 1, "seconds": 0.5}}
    assert not told(turns(compiled, {"seconds_per_update": 3e-5}))
    apart = turns({}, {"id": "f" * 16, "place": 0})
    assert not told(apart)
    assert not told([*apart, *apart])  # a merged folder has them twice


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        ([{}, {"place": 0}], "line 1", "has the place in its process of"),
        ([{}, {"trial": {"threads": 7}}], "line 1", "was trained by the process of"),
        ([{"started_at": "2026-01-01T00:01:00.000+00:00"}, {}], "line 1", "began before"),
        ([{}, {"seconds_per_update": 3e-5}], "line 1", "made an update 33.3 times as fast as"),
        ([{"place": 1}, {"place": 2}], "line 0", "the first trial of its process is not here"),
    ],
)
def test_what_it_cannot_have_trained_so_is_not(
    changes: list[dict[str, Any]], where: str, expected: str
) -> None:
    (found,) = told(turns(*changes))
    assert found[0] == where
    assert expected in found[1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": "mine"}, "expected an id of 16 hexadecimal digits"),
        ({"trial": {"replicates": 2}, "place": 1}, "expected place 0 of a replicate"),
        ({"place": 1, "wall_to_target_s": 3.0}, "expected no wall_to_target_s"),
    ],
)
def test_a_record_says_of_its_process_what_can_be(changes: dict[str, Any], expected: str) -> None:
    (one,) = turns(changes)
    found = [message for rule in RULES for about, message in rule(one) if about == "process"]
    assert len(found) == 1
    assert expected in found[0]
