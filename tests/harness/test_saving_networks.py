"""`--save-models`: each trial's network in a file of its own, with what came of the trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echobench.errors import UsageError
from echobench.harness.saved_networks import describe_result, networks_at, read_network
from echobench.plugin.manager import Plugins
from echobench.trial.job import RESULT, JobOptions
from echobench.trial.record import Judgement, Parity, Record
from echobench.trial.trial import Trial
from tests.conftest import Command
from tests.plugins.cells import ECHO
from tests.records import TRIAL, changed, record

CELL = ("--backend", "jax", "--task", ECHO, "--division", "open", "--threads", "1")
SAVE = ("--save-models", "models")
SAVE_ALONE = (*SAVE, "--unchecked")
"""For runs that are not about the judge: he takes as long as the trial."""


def descriptions(folder: Path) -> dict[str, str]:
    """Return the result of each saved network by its file's name."""
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert found.keys() == {path.stem for path in folder.glob("*.keras")}
    return {name: fields[RESULT] for name, fields in found.items()}


def test_a_certified_network_is_replaced_by_no_other_trial(
    echobench: Command, plugins: Plugins, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    assert echobench("run", *CELL, *SAVE).returncode == 0
    ((first, result),) = descriptions(models).items()
    assert result == "certified"
    (file,) = (tmp_path / "results").glob("*.jsonl")
    assert first.endswith(f"-{json.loads(file.read_text())['key'][:8]}")
    kept = (models / f"{first}.keras").read_bytes()

    # Neither by one that hardly trained, nor by a smoke run.
    assert echobench("run", *CELL, *SAVE_ALONE, "--max-epochs", "3").returncode == 0
    assert echobench("run", *CELL, *SAVE_ALONE, "--max-epochs", "3", "--quick").returncode == 0
    found = descriptions(models)
    assert sorted(found.values()) == ["certified", "missed", "missed"]
    assert (models / f"{first}.keras").read_bytes() == kept

    # What is there already needs no word; what is not is said, with the remedy.
    done = echobench("run", *CELL, *SAVE)
    assert done.stderr.splitlines() == ["1 of 1 trial is done"]
    (models / f"{first}.keras").unlink()
    done = echobench("run", *CELL, *SAVE, "--observe", "tensorboard", "--memory-limit", "9G")
    assert done.stderr.splitlines() == [
        "1 of 1 trial is done",
        "--save-models: the networks of 1 of these are not in models, since a network is saved as "
        "its trial ends; --force trains them again",
        "--observe, --memory-limit: without effect on these, which do not run; --force runs them "
        "again",
    ]
    done = echobench("run", *CELL, *SAVE_ALONE, "--force")
    assert "--save-models" not in done.stderr
    assert descriptions(models) == found

    # The name without the key names all three; `echo` needs one, and says what is doubtful.
    short = first.rpartition("-")[0]
    words = ("1", "2", "3", "4", "5")
    done = echobench("echo", f"models/{short}", *words)
    assert done.returncode == 2
    assert "expected one network" in done.stderr
    assert all(f"{name}.keras" in done.stderr for name in found)
    done = echobench("echo", f"models/{first}.keras", *words)
    assert (done.returncode, done.stderr) == (0, "")
    missed = next(name for name in found if found[name] == "missed")
    done = echobench("echo", f"models/{missed}.keras", *words)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"careful: {missed}.keras: it is not certified: missed"]


def test_replicates_save_their_networks_too(
    echobench: Command, plugins: Plugins, tmp_path: Path
) -> None:
    asked = ("--replicates", "2", "--max-epochs", "3")
    done = echobench("run", *CELL, *SAVE_ALONE, *asked, timeout=400)
    assert done.returncode == 0, done.stderr
    found = descriptions(tmp_path / "models")
    assert set(found.values()) == {"missed"}
    networks = [read_network(path, plugins) for path in networks_at(tmp_path / "models")]
    assert [(one.trial.seed, one.trial.replicates) for one in networks] == [(0, 2), (1, 2)]
    assert len({one.sha256 for one in networks}) == 2


def test_names_hold_what_tells_trials_apart(tmp_path: Path) -> None:
    options = JobOptions(save_models=tmp_path)
    usual = Trial(**TRIAL)
    others: list[dict[str, Any]] = [
        {"quick": True}, {"max_epochs": 10}, {"threads": 1}, {"repeat": 1}, {"replicates": 2},
        {"seed": 1}, {"versions": {"echobench": "2"}}, {"source": "1" * 12}, {"bound": 0.06},
    ]  # fmt: skip # in three lines it reads better
    trials = [usual, *(usual.model_copy(update=changes) for changes in others)]
    paths = [options.model_path(trial) for trial in trials]
    assert len({*paths}) == len(trials)
    assert options.model_path(usual.model_copy(update={"timeout_s": 1.0})) == paths[0]


def test_a_path_names_a_file_a_folder_or_a_name_without_its_key(tmp_path: Path) -> None:
    names = ["a-seed1-0123abcd.keras", "a-seed1-4567cdef.keras", "a-seed10-0123abcd.keras"]
    for name in (*names, ".7-a-seed1-89abcdef.keras", "a-seed1-0123abcd.json"):
        (tmp_path / name).touch()
    first, second, third = (tmp_path / name for name in names)
    assert networks_at(first) == [first]
    assert networks_at(tmp_path) == [first, second, third]
    for name in ("a-seed1", "a-seed1.keras"):
        assert networks_at(tmp_path / name) == [first, second]
    absent = tmp_path / "a-seed2"
    assert networks_at(absent) == [absent]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: expected networks"):
        networks_at(tmp_path / "empty")


REFUTED = Judgement(by="plain Keras", failure=None, refuted="answers 3 of 1,230 wrongly")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (record(), "certified"),
        (record(status="missed"), "missed"),
        (record(status="timeout", reason="not reached within 1 s"),
         "timeout, but not reached within 1 s"),
        (changed(record(), judge=REFUTED),
         "certified, but judge: answers 3 of 1,230 wrongly"),
        (changed(record(), parity=Parity(passed=False, reference="jax fit", tolerance=1e-5)),
         "certified, but parity gate: "),
    ],
    ids=["certified", "missed", "timeout", "refuted", "parity"],
)  # fmt: skip # one line a case reads better
def test_a_network_says_what_its_record_says(result: Record, text: str, tmp_path: Path) -> None:
    path = tmp_path / "network.keras"
    describe_result(path, result)  # it ended before it saved one
    assert not [*tmp_path.iterdir()]
    path.with_suffix(".json").write_text(json.dumps({**TRIAL, RESULT: None}))
    describe_result(path, result)
    written = path.with_suffix(".json").read_text()
    assert json.loads(written)[RESULT].startswith(text)
    # The network of an earlier run keeps its own result.
    describe_result(path, record(status="failed", reason="killed"))
    assert path.with_suffix(".json").read_text() == written
