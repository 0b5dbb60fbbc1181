"""A search: what it tries, when it stops a candidate, and one search from end to end."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from echobench import Recipe
from echobench.errors import UsageError
from echobench.harness.plan import Selection, plan
from echobench.harness.search_space import Range, next_recipe, search_ranges
from echobench.harness.tuning import CLEARLY, LIMIT, plan_search, time_limit, why_stop
from echobench.plugin.manager import Plugins
from echobench.store.search_log import Candidate
from echobench.trial.trial import FIRST_TUNING_SEED
from tests.conftest import Command
from tests.store.test_search_log import tried

TINY = """
from echobench import Recipe, hookimpl
from tests.soak.quick import Knowing, Tiny

class Seeded(Knowing):
    name = "seeded"

    def trainer(self, program, chunk):
        trainer = super().trainer(program, chunk)
        train = trainer.train

        def seeded(rows):
            losses, weights = train(rows)
            return losses + trainer.weights()[0].mean(), weights

        trainer.train = seeded
        return trainer

class Napping(Tiny):
    nap: float = 0.25
    recipes = {
        "closed": Recipe(units=4, batch=2, epochs=20, evaluate_every=5),
        "open": Recipe(
            units=4, batch=2, learning_rate=0.1, decay=200, epochs=20, evaluate_every=20
        ),
    }

@hookimpl
def echobench_tasks():
    return [Napping]

@hookimpl
def echobench_backends():
    return [Seeded()]
"""
START = Recipe(units=16, batch=1, learning_rate=0.01, warmup=5, decay=100, epochs=10,
               evaluate_every=8)  # fmt: skip # one line reads better


def test_seeds_of_searches_and_of_runs_never_meet(plugins: Plugins) -> None:
    selection = Selection(backends=["jax"], seeds=3)
    search = plan_search("partial", {}, selection, plugins)
    assert [trial.seed for trial in search.trials] == [1_000_000, 1_000_001, 1_000_002]
    assert [trial.seed for trial in search.trials_of(search.recipe, 9.0)] == [
        trial.seed for trial in search.trials
    ]
    with pytest.raises(UsageError, match="expected at most 1,000,000, the first seed of searches"):
        plan(Selection(tasks=["partial"], seeds=FIRST_TUNING_SEED + 1), plugins)


def test_a_search_starts_from_the_open_recipe_or_from_the_closed_one(plugins: Plugins) -> None:
    selection = Selection(backends=["jax"])
    search = plan_search("partial[n_in=8]", {"units": "48"}, selection, plugins)
    assert (search.division, search.name) == ("open", "partial[n_in=8]")
    assert search.recipe.units == 48
    assert "units" not in search.ranges
    assert search.conditions["recipe"]["units"] == 48
    (trial,) = search.trials_of(search.recipe.model_copy(update={"sequences": 3}), 7.0)
    assert (trial.division, trial.timeout_s, trial.sustain) == ("open", 7.0, 0)
    assert trial.label == "partial[n_in=8,units=48,sequences=3]"


def test_without_an_open_recipe_the_closed_one_gets_a_schedule(tmp_path: Path) -> None:
    text = re.sub(r'"open": Recipe\(.*?\),\n', "", TINY, flags=re.DOTALL)
    (tmp_path / "tiny.py").write_text(text)
    plugins = Plugins([tmp_path / "tiny.py"])
    search = plan_search("tiny", {}, Selection(backends=["jax"]), plugins)
    assert search.division == "closed"
    assert search.recipe.decay == 200  # its budget: ten times 20 epochs of one update
    (trial,) = search.trials_of(search.recipe, 7.0)
    assert trial.division == "open"


@pytest.mark.parametrize(
    ("times", "leader", "stops"),
    [
        ([5.0], None, False),
        ([None], None, False),
        ([None, None], None, True),  # two of three: no median, whatever the third does
        ([None], 1.0, True),
        ([1.0, None], 1.0, True),
        ([CLEARLY * 1.0], 1.0, False),
        ([CLEARLY * 1.01], 1.0, True),
        ([1.0, CLEARLY * 1.01], 1.0, True),
        ([None, None, None], 1.0, False),  # there is none left to stop
    ],
)
def test_when_no_further_seed_is_run(
    times: list[float | None], leader: float | None, stops: bool
) -> None:
    first = None if leader is None else tried(0, leader, leader, leader)
    assert (why_stop(times, 3, first) is not None) == stops


def test_a_trial_may_take_a_few_times_as_long_as_the_best() -> None:
    assert time_limit(None, 600.0) == 600.0
    assert time_limit(tried(0, 1.0, 2.0, None), 600.0) == LIMIT * 7.0  # 5 s before training
    assert time_limit(tried(0, 1.0, 2.0, None), 10.0) == 10.0


def searched(candidates: int, started: list[Candidate] | None = None) -> list[Candidate]:
    """Search with a known objective: best at 40 units and a rate of 0.03."""
    where = search_ranges(START, "open", fixed=["warmup", "decay", "evaluate_every"])
    found = list(started or [])
    while len(found) < candidates:
        recipe = next_recipe(START, where, 1, found)
        assert recipe is not None
        assert all(one.holds(getattr(recipe, name)) for name, one in where.items())
        away = abs(math.log(recipe.units / 40)) + abs(math.log(recipe.learning_rate / 0.03))
        times: list[float | None] = [away] * 3 if recipe.sequences < 3 else [None] * 3
        found.append(tried(len(found), *times).model_copy(update={"recipe": recipe}))
    return found


def test_what_is_tried_follows_from_what_was_tried() -> None:
    found = searched(16)
    assert found[0].recipe == START
    assert len({one.recipe.model_dump_json() for one in found}) == 16
    assert {one.status for one in found} == {"complete", "missed"}
    assert searched(16, started=found[:9]) == found
    first = found[0].objective
    assert first is not None
    assert min(one.objective for one in found if one.objective is not None) < first / 2


def test_a_search_ends_when_nothing_is_left() -> None:
    where = {"units": Range(15, 17)}
    found: list[Candidate] = []
    while (recipe := next_recipe(START, where, 1, found)) is not None:
        found.append(tried(len(found), 1.0, 1.0, 1.0).model_copy(update={"recipe": recipe}))
    # The start's own number of units comes twice: with its budget, and with the schedule's.
    assert sorted(one.recipe.units for one in found) == [15, 16, 16, 17]


def test_a_search_that_is_interrupted_goes_on_and_ends_with_a_recipe(
    echobench: Command, knowing: None, tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    arguments = ["tune", "--backend", "seeded", "--task", "tiny", "--plugin", "tiny.py"]
    arguments += ["--threads", "1"]
    arguments += ["--seeds", "2", "--candidates", "2", "--fix", "units=4"]
    folder = tmp_path / "results" / "tune" / "tiny"

    def lines() -> list[str]:
        files = sorted(folder.glob("records-*"))
        return [one for path in files for one in path.read_text().splitlines()]

    with subprocess.Popen(
        [sys.executable, "-m", "echobench", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        deadline = time.monotonic() + 120
        while not lines() and time.monotonic() < deadline:
            time.sleep(0.1)
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=120)
    assert parent.returncode == 130
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    kept = lines()
    assert 0 < len(kept) < 4
    assert not (folder / "search.jsonl").exists()

    done = echobench(*arguments)
    assert done.returncode == 0, done.stderr
    assert "the search ends: 2 candidates are tried, as --candidates asks\n" in done.stderr
    assert set(kept) <= set(lines())
    records = [json.loads(line) for line in lines()]
    log = [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]
    assert [one["number"] for one in log] == [0, 1]
    assert log[0]["status"] == "complete"
    first = [one for one in records if one["provenance"]["search"]["candidate"] == 0]
    assert [one["seed"] for one in first] == [1_000_000, 1_000_001]
    times = [one["time_to_target_s"] for one in first]
    assert log[0]["objective"] == pytest.approx(sum(times) / 2)
    # No trial ran twice, each on a tuning seed, and each says what it is of.
    assert len(records) == sum(len(one["seeds"]) for one in log)
    assert {record["seed"] for record in records} <= {1_000_000, 1_000_001}
    assert records[-1]["provenance"]["search"] == {"candidate": 1}
    assert records[-1]["provenance"]["seeds"]["rule"] == "a search's own, never reported"

    # What is printed last is the best recipe, as it would be committed.
    comment, _, table = done.stdout.rpartition("\n\n")[2].partition("\n")
    assert "over 2 tuning seeds" in comment
    winner = min((one for one in log if one["status"] == "complete"), key=lambda o: o["objective"])
    assert Recipe.model_validate(tomllib.loads(table)["tiny"]) == Recipe(**winner["recipe"])

    # A log that lost its last line is made again from the records.
    text = (folder / "search.jsonl").read_text()
    (folder / "search.jsonl").write_text(text[: len(text) - 30])
    again = echobench(*arguments, "--format", "json")
    assert again.returncode == 0, again.stderr
    assert "candidate 1: " in again.stderr
    assert len(lines()) == len(records)
    assert {row["note"] for row in json.loads(again.stdout)} <= {"start", ""}
    assert echobench("validate", str(folder), "--plugin", "tiny.py").returncode == 0
    assert "no record of seed" not in echobench("table", "--results", str(folder)).stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--budget", "0.001s"], "--budget is spent; the same command goes on from here"),
        (["--candidates", "1", "--budget", "0.001s"], "--budget is spent; the same command"),
    ],
)
def test_a_search_that_ends_early_says_why(
    options: list[str], why: str, echobench: Command
) -> None:
    done = echobench("tune", "--task", "whole", *options)
    assert done.returncode == 0
    assert f"the search ends: {why}" in done.stderr
    assert done.stdout.startswith("0 candidates\n")


def test_without_optuna_there_is_one_line() -> None:
    code = "import sys; sys.modules['optuna'] = None; sys.argv[1:] = ['tune', '--task', 'whole']"
    code += "; from echobench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "echobench: tune: optuna not installed; run: pip install 'echobench[tune]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fix", "batch=3"], "unknown field of the search 'batch'; known: decay, evaluate_every"),
        (["--fix", "units"], "--fix: expected FIELD=VALUE; received 'units'"),
        (["--backend", "numpy"], "--backend numpy: numpy only predicts"),
        (["--candidates", "0"], "--candidates: expected 1 or more; received 0"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, echobench: Command) -> None:
    done = echobench("tune", "--task", "whole", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
