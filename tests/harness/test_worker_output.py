"""A worker's bytes become events: compared with Python's own splitting, on any bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echobench.harness import worker_output
from echobench.harness.worker_output import LineSplitter, parse_events
from echobench.trial.job import Failure, Progress, Result

PIECES = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"a", b"\n")), max_size=20)


def all_lines(chunks: list[bytes]) -> tuple[list[bytes], int]:
    lines = LineSplitter()
    return [line for chunk in chunks for line in lines.feed(chunk)], lines.dropped


@given(PIECES)
def test_lines_are_those_of_the_whole_however_it_comes(chunks: list[bytes]) -> None:
    found, dropped = all_lines(chunks)
    assert found == b"".join(chunks).split(b"\n")[:-1]
    assert dropped == 0


@given(PIECES)
def test_a_line_that_is_too_long_is_dropped_and_counted(chunks: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_output, "MAX_EVENT_BYTES", 8)
        found, dropped = all_lines(chunks)
    *ended, rest = b"".join(chunks).split(b"\n")
    assert found == [line for line in ended if len(line) <= 8]
    assert dropped == sum(len(line) > 8 for line in [*ended, rest])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)
TOLD = st.fixed_dictionaries(
    {"event": st.sampled_from(["progress", "result", "failure"])},
    optional=dict.fromkeys(("phase", "epoch", "accuracy", "fields", "status", "look"), JSON),
)


@settings(max_examples=100)
@given(
    st.lists(st.binary(max_size=60) | TOLD.map(lambda told: json.dumps(told).encode()), max_size=5)
)
def test_no_line_raises(lines: list[bytes]) -> None:
    assert len(list(parse_events(iter(lines)))) <= len(lines)


def test_of_steps_that_come_together_the_last_of_each_phase_is_told() -> None:
    steps = [
        Progress(phase="import"),
        *(Progress(phase="train", epoch=epoch) for epoch in range(1000)),
        Result(fields={}),
        Progress(phase="train", epoch=7),
        Failure(status="failed", reason="r"),
    ]
    lines = [step.model_dump_json().encode() for step in steps]
    assert list(parse_events(iter(lines))) == [steps[0], *steps[1000:]]
