"""`echobench study`: real trials, one table, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echobench.harness.plan import Selection
from echobench.harness.studies import interleaved, plan_study
from echobench.plugin.manager import Plugins
from tests.conftest import Command

STUDY = """
from typing import ClassVar

from echobench import Study, Variant, hookimpl
from tests.soak.quick import Knowing, Tiny

class Pair(Tiny):
    name: ClassVar[str] = "pair"
    recipes: ClassVar[dict] = {**Tiny.recipes, "open": Tiny.recipes["closed"]}

class Able(Knowing):
    "Knows the answers from two units on."
    name: ClassVar[str] = "able"

    def predictor(self, program):
        right = super().predictor(program)
        able = program.recipe.units > 1
        return right if able else lambda weights, rows: 1 - right(weights, rows)

STUDY = Study(
    name="units",
    question="Do more units learn in fewer epochs?",
    backend="able",
    seeds=1,
    variants=[
        Variant(label="20 units", task="pair[units=20]"),
        Variant(label="one unit", task="pair[units=1]"),
    ],
)

@hookimpl
def echobench_tasks():
    return [Pair]

@hookimpl
def echobench_backends():
    return [Able()]

@hookimpl
def echobench_studies():
    return [STUDY]
"""


def test_a_study_prints_one_table_and_resumes(
    echobench: Command, knowing: None, tmp_path: Path
) -> None:
    (tmp_path / "units.py").write_text(STUDY)
    arguments = ("study", "units", "--plugin", "units.py")
    done = echobench(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    many, one = json.loads(done.stdout)
    assert (many["variant"], many["units"], many["success"]) == ("20 units", "20", "1/1")
    assert (many["accuracy"], many["exact match"]) == ("100%", "100%")
    assert many["time to target"]
    assert (one["variant"], one["units"], one["success"]) == ("one unit", "1", "0/1")
    assert one["note"].split(";")[0] == "missed"  # it may have been disturbed too
    assert len(list((tmp_path / "results" / "studies" / "units").glob("*.jsonl"))) == 1

    again = echobench(*arguments, "--format", "md")
    assert "2 of 2 trials are done" in again.stderr
    assert again.stdout.count("\n") == 4
    shown = echobench(*arguments, "--table")
    assert "Do more units learn in fewer epochs?" in shown.stdout
    assert "20 units" in shown.stdout


def test_a_study_that_is_not_there(echobench: Command) -> None:
    done = echobench("study", "topologies")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "unknown study 'topologies'; did you mean 'topology'?" in done.stderr


@pytest.mark.parametrize("name", ["representation", "masking", "length", "state", "topology"])
def test_every_variant_of_our_studies_can_be_run(name: str, plugins: Plugins) -> None:
    study = plugins.studies[name].value
    selection = Selection(backends=[study.backend], seeds=study.seeds)
    planned = plan_study(study, selection, plugins)
    assert list(planned) == [variant.label for variant in study.variants]
    trials = interleaved(trial for group in planned.values() for trial in group)
    assert len(trials) == study.seeds * len(study.variants)  # no two variants are the same
    assert [trial.seed for trial in trials] == sorted(trial.seed for trial in trials)
