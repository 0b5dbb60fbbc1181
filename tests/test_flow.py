"""`echobench.run` from Python: the records, and nothing on stdout."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

import echobench
from echobench import flow
from tests.soak.harness import PLUGIN, Harness


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """Return a request for two quick trials, the reference of their cell beside the records."""
    harness = Harness(tmp_path, seeds=2)
    return {
        "tasks": ["tiny"],
        "backends": ["knowing"],
        "threads": 1,
        "seeds": 2,
        "unchecked": True,
        "plugin_files": [PLUGIN],
        "results": harness.results,
    }


def test_run_returns_the_records_and_resumes(
    tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    records = echobench.run(**tiny)
    assert sorted((record.seed, record.status) for record in records) == [
        (0, "reached"),
        (1, "reached"),
    ]
    again = echobench.run(echobench.Request(**tiny))
    assert [record.started_at for record in again] == [record.started_at for record in records]
    assert records[0].provenance.command == ["echobench.run"]
    forced = echobench.run(**tiny, force=True)
    assert len(forced) == 2  # of each trial the latest
    assert forced[0].started_at > records[0].started_at
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2 of 2 trials are done" in printed.err
    assert len(re.findall(r"^2 trials in \d+ s.* \(.*\d s expected\)$", printed.err, re.M)) == 2
    ahead = flow.look_ahead(echobench.Request(**tiny), ["echobench.run"])
    assert ahead.total == "nothing to run: 2 of 2 trials are done"
    ahead = flow.look_ahead(echobench.Request(**{**tiny, "seeds": 3}), ["echobench.run"])
    assert ahead.total.startswith("1 trial, ")


def test_what_comes_is_foreseen_within_what_is_left_of_the_budget(tiny: dict[str, Any]) -> None:
    echobench.run(**tiny)
    request = echobench.Request(**{**tiny, "seeds": 5, "forks": 5}, budget_s=3600.0)
    session = flow.Session(request, ["echobench.run"])
    trials = next(session.rounds(request))
    done = session.done(None)
    assert session.outlook(trials, done).estimate.begun == 3
    session.prepare()
    assert session.outlook(trials, done).estimate.begun == 3
    session.matrix.deadline = time.monotonic()  # as after a round that took all of it
    assert session.outlook(trials, done).estimate.begun == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seedz": 2}, "run: Extra inputs are not permitted; received seedz=2"),
        ({"backends": ["jxa"]}, "unknown backend 'jxa'; did you mean 'jax'?"),
        ({"seeds": 0}, "--seeds: expected 1 or more; received 0"),
        ({"device": "tpu"}, "--device: expected cpu or gpu; received 'tpu'"),
    ],
)
def test_a_wrong_request_is_one_line(
    wrong: dict[str, Any], message: str, tiny: dict[str, Any]
) -> None:
    with pytest.raises(echobench.UsageError) as raised:
        echobench.run(**{**tiny, **wrong})
    assert str(raised.value) == message
