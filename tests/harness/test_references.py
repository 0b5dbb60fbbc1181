"""What trials are compared with: the reference's first losses and fingerprints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from echobench import flow
from echobench.harness import launch
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.harness.references import References, run_of
from echobench.harness.request import Request
from echobench.harness.shipped import Kept
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store, replace_file
from echobench.store.locks import FolderLocks
from echobench.store.referee import faults
from echobench.trial.job import PARITY_UPDATES, JobOptions
from echobench.trial.record import Fingerprint, Record
from tests.soak.harness import PLUGIN

ROOT = Path(__file__).parents[2]
TASK = "whole[warmup=30]"
"""All of the gate's own updates lie in the warm-up."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def records(folder: Path, plugins: Plugins) -> list[Record]:
    """Return the records of two seeds, trained for one evaluation."""
    selection = Selection(
        tasks=[TASK], backends=["jax"], divisions=["open"], threads=1, seeds=2, max_epochs=12
    )
    matrix = Matrix(plugins, Store(folder), JobOptions())
    return [*matrix.run(plan(selection, plugins), Watcher())]


def test_a_fingerprint_is_the_references_of_the_same_seed(
    records: list[Record], folder: Path
) -> None:
    taken = [record.fingerprint for record in records]
    assert all(one is not None and one.passed for one in taken)
    assert [one.epoch for one in taken if one] == [10, 10]
    for record, one in zip(records, taken, strict=True):
        assert one is not None
        assert one.loss == record.evaluations[0].loss
        assert one.accuracy == record.evaluations[0].accuracy
    first, second = (one.reference_loss for one in taken if one)
    assert first is not None
    assert second is not None
    assert abs(first / second - 1) > 1e-3  # seeds are told apart
    assert [record.parity and record.parity.squeezed for record in records] == [
        json.loads(path.read_text())["passed"]
        for path in (folder / "reference" / "rehearsals").glob("*.json")
    ] * 2  # the first trial rehearsed for both
    assert len([*(folder / "logs").glob("*-rehearsal.log")]) == 1
    (kept,) = (json.loads(path.read_text()) for path in (folder / "reference").glob("*.json"))
    assert len(kept["fingerprints"]) == 2  # one process computed both
    first_job, later_job = (record.provenance.job or {} for record in records)
    assert first_job["reference_s"] > 0
    assert "reference_s" not in later_job


def test_a_backend_that_ignores_the_decay_passes_no_gate(
    records: list[Record], folder: Path
) -> None:
    assert records  # the folder has the reference
    plugins = Plugins([ROOT / "tests" / "probes" / "mistakes.py"])
    selection = Selection(
        tasks=[TASK], backends=["no-decay"], divisions=["open"], threads=1, max_epochs=12
    )
    matrix = Matrix(plugins, Store(folder), JobOptions())
    (record,) = matrix.run(plan(selection, plugins), Watcher())
    parity = record.parity
    assert parity is not None
    assert (parity.largest_difference or 1.0) < 1e-6  # what the trial itself shows
    assert parity.passed is False
    assert (parity.squeezed or 0.0) > 1e-3
    assert "squeezed" in (record.contradiction or "")
    assert "parity" not in {subject for _, subject, _ in faults(record, plugins)}
    assert len([*(folder / "reference" / "rehearsals").glob("*.json")]) == 1  # not passed


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"loss": 4.0 * (1 + 5e-6)}, None),
        ({"loss": 4.001}, "loss 4.001 in epoch 10, where jax fit has 4"),
        ({"accuracy": 0.103}, None),
        ({"accuracy": 0.2}, "accuracy 0.2 in epoch 10, where jax fit has 0.1"),
        ({"accuracy": None}, None),
        ({"reference_loss": None, "loss": 1.0}, None),
    ],
)
def test_a_fingerprint_differs_beyond_rounding(
    change: dict[str, float | None], difference: str | None
) -> None:
    same = Fingerprint(
        epoch=10, loss=4.0, accuracy=0.1,
        reference="jax fit", reference_loss=4.0, reference_accuracy=0.1,
    )  # fmt: skip # it reads better
    changed = msgspec.structs.replace(same, **change)
    assert changed.difference == difference


def test_a_record_of_another_seed_is_contradicted(
    records: list[Record], folder: Path, plugins: Plugins
) -> None:
    selection = Selection(
        tasks=[TASK], backends=["jax"], divisions=["open"], threads=1, seeds=2, max_epochs=12
    )
    trials = {trial.seed: trial for trial in plan(selection, plugins)}
    store = Store(folder)
    references = References(plugins, store)
    references.plan(trials.values())
    with FolderLocks(folder) as locks:
        references.get(trials[0], locks, lambda: pytest.fail("it is kept already"))
    record = next(record for record in records if record.seed == 0)
    renumbered = msgspec.structs.replace(record)
    references.compare(trials[1], renumbered)
    assert renumbered.fingerprint is not None
    assert renumbered.fingerprint.passed is False
    assert "it was not trained as stated" in (renumbered.contradiction or "")
    assert not renumbered.counts


def test_known_losses_gate_though_new_fingerprints_cannot_be_computed(
    records: list[Record], folder: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert records  # the folder has the losses
    selection = Selection(
        tasks=[TASK], backends=["jax"], divisions=["open"], threads=1, seeds=3, max_epochs=12
    )
    trials = {trial.seed: trial for trial in plan(selection, plugins)}
    failed = {"status": "failed", "reason": "the worker was ended by SIGKILL"}
    monkeypatch.setattr(launch, "work", lambda *_, **__: [failed, failed])
    references = References(plugins, Store(folder))
    with FolderLocks(folder) as locks:
        reference = references.get(trials[2], locks, lambda: None)
        assert reference is not None
        assert len(reference.losses) == 20
        again = "tried again in the same run"
        monkeypatch.setattr(launch, "work", lambda *_, **__: pytest.fail(again))
        assert references.get(trials[2], locks, lambda: None) == reference


def test_versions_are_looked_up_once_however_many_trials_are_planned(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(plugins.backends["jax"].value)
    asked: list[str] = []
    versions = kind.versions

    def counted(backend: Any) -> dict[str, str]:
        asked.append(backend.name)
        found: dict[str, str] = versions(backend)
        return found

    monkeypatch.setattr(kind, "versions", counted)
    trials = plan(Selection(tasks=["whole"], backends=["flax"], threads=1, seeds=50), plugins)
    references = References(plugins, Store(tmp_path))
    references.plan(trials)
    assert len({ours.seed for ours in map(references.of, trials) if ours is not None}) == 50
    assert asked == ["jax"]


def test_a_reference_that_gives_nothing_is_said_and_its_trial_runs_again(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    work = launch.work
    monkeypatch.setattr(
        launch,
        "work",
        lambda job, *more, **options: (
            [{"status": "failed", "reason": "worker died by SIGKILL"}] * job.results
            if job.kind == "reference"
            else work(job, *more, **options)
        ),
    )
    task = "whole[units=21]"  # whose reference is not shipped
    request = Request(tasks=[task], backends=["jax"], threads=1, max_epochs=2, results=tmp_path)
    assert flow.execute(request, ["echobench"]).failed
    said = capsys.readouterr().err
    assert f"reference jax fit of {task}: worker died by SIGKILL" in said
    assert "reference-" in said  # the log
    assert "after 2 epochs; not compared with a reference" in said
    monkeypatch.setattr(launch, "work", work)
    (again,) = flow.run(request)
    assert again.parity is not None
    assert again.parity.passed
    assert "trials are done" not in capsys.readouterr().err
    refused = again.to_dict()
    refused["parity"] |= {"largest_difference": 0.5, "passed": False}
    Store(tmp_path).append(Record.from_dict(refused))
    assert flow.execute(request, ["echobench"]).failed
    assert "1 of these failed, or are contradicted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"losses": [4.0, 2.0]}, {"passed": -1.0}, {"passed": 0.5}, {"passed": None}]
)
def test_a_kept_rehearsal_holds_for_the_losses_it_was_compared_with(
    change: dict[str, Any], records: list[Record], folder: Path, plugins: Plugins, tmp_path: Path
) -> None:
    assert records  # the folder has the rehearsal
    shutil.copytree(folder / "reference", tmp_path / "reference")
    selection = Selection(
        tasks=[TASK], backends=["jax"], divisions=["open"], threads=1, seeds=2, max_epochs=12
    )
    (trial, _) = plan(selection, plugins)
    references = References(plugins, Store(tmp_path))
    with FolderLocks(tmp_path) as locks:
        references.get(trial, locks, lambda: None)
    kept = references.rehearsal(trial)
    assert kept is not None
    assert kept.passed is not None
    (path,) = (tmp_path / "reference" / "rehearsals").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    again = references.rehearsal(trial)
    assert again is not None
    assert (again.losses, again.passed) == (kept.losses, None)


UNTAUGHT = """
class Untaught(Knowing):
    name: ClassVar[str] = "untaught"

    def predictor(self, program):
        return lambda weights, rows: 1 - program.task.expected(rows)


@hookimpl
def echobench_backends():
    return [Untaught()]
"""
"""A backend that misses the target, so that no judge is started."""


def test_a_rehearsal_that_cannot_be_kept_costs_no_record_and_serves_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "untaught.py"
    file.write_text(PLUGIN.read_text() + UNTAUGHT)
    plugins = Plugins([file])
    selection = Selection(tasks=["tiny[warmup=30]"], backends=["untaught"], threads=1, seeds=2)
    trials = plan(selection, plugins)
    store = Store(tmp_path / "results")
    references = References(plugins, store)
    path = references.path(trials[0])
    assert path is not None
    ones = [1.0] * PARITY_UPDATES
    kept = Kept(
        name="ones", losses=ones, squeezed=ones, fingerprints={run_of(t): None for t in trials}
    )
    replace_file(path, kept.model_dump_json())
    (path.parent / "rehearsals").touch()  # where a folder is to be
    matrix = Matrix(plugins, store, JobOptions())
    records = [*matrix.run(trials, Watcher())]  # a process each
    assert [(record.seed, record.status) for record in store.load()] == [
        (0, "missed"), (1, "missed")
    ]  # fmt: skip # it reads better
    assert [record.parity and record.parity.squeezed for record in records] == [0.0, 0.0]
    assert len([*store.logs.glob("*-rehearsal.log")]) == 1
    assert capsys.readouterr().err.count("the rehearsal is not kept: ") == 1
