"""Plans: names and parameters in, trials in order out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from echobench.errors import UsageError
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.testing import check_task
from echobench.trial.trial import ADDED_LATER, Trial, trial_key


def planned(plugins: Plugins, **selection: object) -> list[Trial]:
    return plan(Selection.model_validate(selection), plugins)


def test_without_names_all_tasks_and_backends_run(plugins: Plugins) -> None:
    trials = planned(plugins, seeds=2)
    cells = {(t.task, t.backend) for t in trials}
    assert cells >= {(t, b) for t in ("whole", "partial") for b in ("jax", "tensorflow", "torch")}
    assert len(trials) == 2 * len(cells)


def test_the_order_is_random_by_seed_and_always_the_same(plugins: Plugins) -> None:
    trials = planned(plugins, seeds=6, engines=["fit", "fused"], divisions=["closed", "open"])
    assert [t.seed for t in trials] == sorted(t.seed for t in trials)
    orders = {tuple(t.name.rsplit(" ", 1)[0] for t in trials if t.seed == s) for s in range(6)}
    assert len(orders) == 6
    again = planned(plugins, seeds=6, engines=["fit", "fused"], divisions=["closed", "open"])
    assert [t.key for t in again] == [t.key for t in trials]


def test_fewer_seeds_are_a_part_of_more(plugins: Plugins) -> None:
    few, many = planned(plugins, seeds=2), planned(plugins, seeds=4)
    assert {t.key for t in few} < {t.key for t in many}


def test_parameters_reach_task_and_recipe(plugins: Plugins) -> None:
    (trial,) = planned(plugins, tasks=["partial[n_in=8, n_out=4,units=256]"], backends=["jax"])
    assert trial.parameters == {"n_in": 8, "n_out": 4}
    assert trial.recipe.units == 256
    assert trial.recipe.batch == 18  # all samples of a sequence, as in the tutorial
    assert trial.label == "partial[n_in=8,n_out=4,units=256]"
    assert trial.division == "open"  # not the tutorial's units


def test_a_parameter_of_the_task_alone_stays_closed(plugins: Plugins) -> None:
    (trial,) = planned(plugins, tasks=["partial[symbols=10]"], backends=["jax"])
    assert (trial.division, trial.label) == ("closed", "partial[symbols=10]")


def test_the_budget_is_ten_times_the_tutorials(plugins: Plugins) -> None:
    (trial,) = planned(plugins, tasks=["partial"], backends=["jax"])
    assert trial.max_epochs == 50_000


def test_what_a_record_depends_on_is_in_the_key(plugins: Plugins) -> None:
    (trial,) = planned(plugins, tasks=["whole"], backends=["jax"])
    changes = {
        "seed": 1,
        "threads": 7,
        "versions": {},
        "source": "other",
        "task_source": "other",
        "backend_source": "other",
        "quick": True,
        "max_epochs": 1,
        "engine": "fit",
        "devices": 2,
        "bound": 0.001,
        "environment": {"TZ": "UTC"},
    }
    keys = {trial.model_copy(update={name: value}).key for name, value in changes.items()}
    assert len(keys | {trial.key}) == len(changes) + 1
    assert trial.model_copy(update={"timeout_s": 1.0}).key == trial.key
    older = {n: v for n, v in trial.model_dump(mode="json").items() if n not in ADDED_LATER}
    now = trial.model_dump(include={"sustain", "bound", "task_source", "backend_source"})
    assert trial_key({**older, **now}) == trial.key


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("XLA_FLAGS", "--fast", "expected a variable that acts on every backend alike"),
        ("OMP_PROC_BIND", "true", "expected a variable that acts on every backend alike"),
        ("LD_PRELOAD", "/usr/lib/libmalloc.so", "only --division open takes them"),
        ("KERAS_BACKEND", "torch", "echobench sets it itself"),
        ("OMP_NUM_THREADS", "4", "echobench sets it itself"),
        ("TMPDIR", "here", "echobench sets it itself"),
        ("JAX_PLATFORMS", "tpu", "backend 'jax' sets it itself"),
        ("JAX_COMPILATION_CACHE_DIR", "here", "backend 'jax' sets it itself"),
        ("PATH", "here", "every worker inherits it"),
        ("CUDA_VISIBLE_DEVICES", "1", "a run on GPUs hands it over by itself"),
        ("PYTHONHOME", "here", "a worker would no longer run what its record says"),
        ("HF_TOKEN", "hf_1", "its name is that of a secret"),
        ("AWS_SECRET_ACCESS_KEY", "1", "its name is that of a secret"),
        ("AUTHTOKEN", "1", "its name is that of a secret"),
        ("SSHKEY", "1", "its name is that of a secret"),
        ("DATABASE_URL", "postgres://u:pw@h/x", "its value holds a password"),
        ("PGPASSWORD", "1", "its name is that of a secret"),
        ("A B", "1", "expected a name of letters, digits and _"),
        ("", "1", "expected a name of letters, digits and _"),
        ("TZ", "/home/somebody/zone", "expected a value that a record can publish"),
        ("TZ", "\udc80", "expected a value that a record can publish"),
    ],
)
def test_what_no_user_may_hand_over_is_one_clear_line(
    name: str, value: str, message: str, plugins: Plugins
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(plugins, tasks=["whole"], backends=["jax"], environment={name: value})
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--env {name}: ")
    assert "\n" not in str(caught.value)


def test_the_closed_division_takes_what_acts_on_every_backend_and_the_open_one_more(
    plugins: Plugins,
) -> None:
    given = {"MALLOC_ARENA_MAX": "1", "TOKENIZERS_PARALLELISM": "0", "XLA_FLAGS": "--fast"}
    common = {"MALLOC_ARENA_MAX": "1"}
    (closed,) = planned(plugins, tasks=["whole"], backends=["jax"], environment=common)
    assert (closed.division, closed.environment) == ("closed", common)
    (other,) = planned(plugins, tasks=["whole[units=7]"], backends=["jax"], environment=given)
    assert (other.division, other.environment) == ("open", given)
    assert " with MALLOC_ARENA_MAX=1 TOKENIZERS_PARALLELISM=0 XLA_FLAGS=--fast" in other.name


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"tasks": ["parital"]}, "unknown task 'parital'; did you mean 'partial'?"),
        ({"backends": ["jaxx"]}, "unknown backend 'jaxx'; did you mean 'jax'?"),
        ({"engines": ["fussed"]}, "unknown engine 'fussed'; did you mean 'fused'?"),
        ({"divisions": ["opn"]}, "unknown division 'opn'; did you mean 'open'?"),
        ({"tasks": ["partial[n_ot=2]"]}, "'n_ot'; did you mean 'n_out'?"),
        ({"tasks": ["partial[n_out=9]"]}, "expected n_out <= n_in=5; received n_out=9"),
        ({"tasks": ["partial[n_out=x]"]}, "valid integer"),
        ({"tasks": ["partial[n_out]"]}, "expected key=value; received 'n_out'"),
        ({"tasks": ["partial[n_out=1,n_out=2]"]}, "'n_out' is given twice"),
        ({"tasks": ["partial[n_out=1"]}, "expected NAME or NAME[key=value,...]"),
        ({"tasks": ["whole[batch=5]"]}, "expected a batch that divides the 21 samples"),
        (
            {"tasks": ["whole[units=0]"]},
            "expected units to be greater than or equal to 1; received 0",
        ),
        ({"seeds": 0}, "--seeds: expected 1 or more; received 0"),
        ({"threads": 0}, "--threads: expected 1 or more; received 0"),
        ({"devices": 0}, "--devices: expected 1 or more; received 0"),
        ({"devices": 2, "replicates": 4}, "--devices and --replicates: expected one of them"),
        ({"tasks": ["whole"], "devices": 2}, "expected a divisor of the 7 samples in an update"),
        ({"max_epochs": 0}, "--max-epochs: expected 1 or more; received 0"),
    ],
)
def test_bad_requests_are_one_clear_line(
    selection: dict[str, object], message: str, plugins: Plugins
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(plugins, **selection)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("n_in", "recipe", "message"),
    [
        (3, "batch=7", "task 'short', closed recipe: expected a batch that divides the 23 samples "
         "of a sequence: 1, 23; received batch=7"),
        (4, "batch=23", "divides the 22 samples of a sequence: 1, 2, 11, 22; received batch=23"),
        (3, "batch=23, learning_rate=float('nan')", "finite number; received nan"),
    ],
)  # fmt: skip # one line a case reads better
def test_a_recipe_of_a_class_is_held_to_the_rules_of_the_command_line(
    n_in: int, recipe: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "short.py").write_text(
        f"""
from echobench import EchoTask, Recipe, hookimpl

class Short(EchoTask):
    name = "short"
    n_in: int = {n_in}
    recipes = {{"closed": Recipe.model_construct(units=8, {recipe}, epochs=2, evaluate_every=1)}}

@hookimpl
def echobench_tasks():
    return [Short]
"""
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        planned(Plugins([tmp_path / "short.py"]), tasks=["short"], backends=["jax"])
    results = {one.name: one for one in check_task("short", plugins=[tmp_path / "short.py"])}
    assert results["recipes"].status == "failed"
    assert message.partition("recipe: ")[2] in results["recipes"].found
    assert results["oracle"].status == "passed"
    assert results["network"].found == "fix recipes first"


@pytest.mark.parametrize(
    "wrong", [{"max_epochs": 10**20}, {"tasks": ["whole[units=100000000000000000000]"]},
              {"timeout_s": float("inf")}],
)  # fmt: skip # one line reads better
def test_a_number_that_no_record_can_hold_is_refused_before_anything_runs(
    wrong: dict[str, Any], plugins: Plugins
) -> None:
    selection = Selection(**{"tasks": ["whole"], "backends": ["jax"], **wrong})
    with pytest.raises(UsageError, match="expected numbers that a record can hold"):
        plan(selection, plugins)
