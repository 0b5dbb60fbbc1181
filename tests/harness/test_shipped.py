"""References that plugins ship: found by what determines them, and never believed if damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echobench.errors import UsageError
from echobench.harness import launch
from echobench.harness.plan import Selection, plan
from echobench.harness.references import References, run_of
from echobench.harness.shipped import FILE, Kept, Shipped, path_of, read_shipped, shipped_key
from echobench.plugin.manager import Plugins
from echobench.store.folder import Store
from echobench.store.locks import FolderLocks
from echobench.testing.references import SEEDS, write
from echobench.trial.job import PARITY_TOLERANCE, Job, needs_rehearsal
from echobench.trial.record import Fingerprint
from echobench.trial.selectors import required
from echobench.trial.trial import DIVISIONS, Trial
from echobench.worker.parity import difference

AGAIN = "run `make references`"
PLUGIN = """
from echobench import EchoTask, Recipe, hookimpl

class Short(EchoTask):
    \"\"\"Echo three of three.\"\"\"

    name = "short"
    n_in: int = 3
    recipes = {"closed": Recipe(units=4, batch=23, epochs=4, evaluate_every=2)}

@hookimpl
def echobench_tasks():
    return [Short]
"""


def planned(
    plugins: Plugins, *tasks: str, divisions: str = "closed", seeds: int = 1
) -> list[Trial]:
    selection = Selection(
        tasks=[*tasks], backends=["jax"], divisions=divisions.split(), seeds=seeds, threads=1
    )
    return plan(selection, plugins)


def shared(trial: Trial, references: References) -> Trial:
    """Return the trial that stands for a trial's cell, as a file of `reference/` is named."""
    path, ours = references.path(trial), references.of(trial)
    assert path is not None
    assert ours is not None
    cell = ours.model_copy(update={"seed": 0, "max_epochs": 1})
    assert cell.key == path.stem
    return cell


def kept(references: References, trial: Trial) -> Kept:
    found = references.kept(trial)
    assert found is not None
    return found[1]


def test_the_references_of_first_party_cells_are_those_of_their_tasks_as_they_are(
    plugins: Plugins, tmp_path: Path
) -> None:
    references = References(plugins, Store(tmp_path))
    shipped = read_shipped(path_of(plugins.tasks["whole"]))
    cells = {one.cell for one in shipped.values()}
    runnable = [name for name, one in plugins.tasks.items() if not required(one.value)]
    assert cells == {f"{task} {division}" for task in runnable for division in DIVISIONS}
    for cell in sorted(cells):
        task, _, division = cell.rpartition(" ")
        (trial,) = planned(plugins, task, divisions=division)
        one = shipped.get(shipped_key(shared(trial, references)))
        assert one is not None, f"{cell}: {AGAIN}"
        assert len(one.fingerprints) == SEEDS
        assert bool(one.squeezed) is needs_rehearsal(trial.recipe)


def test_shipped_references_are_what_a_worker_computes(plugins: Plugins, tmp_path: Path) -> None:
    trials = planned(plugins, "whole", divisions="closed open")
    shipped = References(plugins, Store(tmp_path / "shipped"))
    computed = References(plugins, Store(tmp_path / "computed"), shipped=False)
    for references in (shipped, computed):
        references.plan(trials)
        with FolderLocks(tmp_path) as locks:
            for trial in trials:
                assert references.get(trial, locks, lambda: None) is not None
    assert not [*(tmp_path / "shipped").rglob("*.log")], AGAIN
    assert len([*(tmp_path / "computed" / "logs").glob("*.log")]) == 1  # both in one worker
    for trial in trials:
        data, fresh = kept(shipped, trial), kept(computed, trial)
        assert difference(data.losses, fresh.losses) <= PARITY_TOLERANCE, AGAIN
        assert (data.squeezed is None) is (fresh.squeezed is None)
        if data.squeezed and fresh.squeezed:
            assert difference(data.squeezed, fresh.squeezed) <= PARITY_TOLERANCE, AGAIN
        theirs, ours = (one.fingerprints[run_of(trial)] for one in (data, fresh))
        assert theirs is not None
        assert ours is not None
        compared = Fingerprint(
            epoch=ours.epoch, loss=ours.loss, accuracy=ours.accuracy, reference=data.name,
            reference_loss=theirs.loss, reference_accuracy=theirs.accuracy,
        )  # fmt: skip # it reads better
        assert theirs.epoch == ours.epoch, AGAIN
        assert compared.difference is None, f"{compared.difference}: {AGAIN}"


@pytest.fixture
def ship(tmp_path: Path) -> tuple[Plugins, Trial, Path]:
    """Return a plugin file beside which a reference lies, and a trial of its task."""
    (tmp_path / "short.py").write_text(PLUGIN)
    plugins = Plugins([tmp_path / "short.py"])
    (trial,) = planned(plugins, "short")
    cell = shared(trial, References(plugins, Store(tmp_path)))
    made = Kept(name="jax fit", losses=[3.0 + number / 7 for number in range(20)])
    made.fingerprints[run_of(trial)] = None
    path = tmp_path / FILE
    write(path, {shipped_key(cell): Shipped.of(cell, made)})
    return plugins, trial, path


def asked(
    plugins: Plugins, trial: Trial, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[float] | None, list[Job]]:
    """Return the losses that a trial is compared with, and the jobs that no worker here runs."""
    jobs: list[Job] = []

    def work(job: Job, *_: object, **__: object) -> list[dict[str, Any]]:
        jobs.append(job)
        return [{"reason": "not here"}] * job.results

    monkeypatch.setattr(launch, "work", work)
    references = References(plugins, Store(folder))
    with FolderLocks(folder) as locks:
        found = references.get(trial, locks, lambda: None)
    return None if found is None else found.losses, jobs


def test_a_strangers_plugin_ships_its_own(
    ship: tuple[Plugins, Trial, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins, trial, _ = ship
    losses, jobs = asked(plugins, trial, tmp_path, monkeypatch)
    assert losses == [float(f"{3.0 + number / 7:.9g}") for number in range(20)]
    assert jobs == []


DAMAGES: dict[str, Callable[[str], str]] = {
    "a loss": lambda text: text.replace("3.14285714", "3.14285715"),
    "no number": lambda text: text.replace("3.14285714", "NaN"),
    "its key": lambda text: text.replace(text[3:7], "0000", 1),
    "its end": lambda text: text[: len(text) // 2],
    "another file": lambda _: "[1, 2, 3]",
    "nothing": lambda _: "",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_computed_again(
    damage: str,
    ship: tuple[Plugins, Trial, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plugins, trial, path = ship
    before = path.read_text()
    path.write_text(DAMAGES[damage](before))
    assert path.read_text() != before
    losses, jobs = asked(plugins, trial, tmp_path, monkeypatch)
    assert losses is None
    assert [job.kind for job in jobs] == ["reference"]
    assert "not here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"source": "edited"}, {"task_source": "edited"}, {"parameters": {"n_in": 4}}]
)
def test_one_of_another_task_is_not_taken(
    change: dict[str, Any],
    ship: tuple[Plugins, Trial, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugins, trial, _ = ship
    losses, jobs = asked(plugins, trial.model_copy(update=change), tmp_path, monkeypatch)
    assert losses is None
    assert len(jobs) == 1


def test_one_of_another_recipe_or_reference_is_not_taken(
    ship: tuple[Plugins, Trial, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins, trial, path = ship
    recipe = trial.recipe.model_copy(update={"learning_rate": 0.5})
    losses, _ = asked(plugins, trial.model_copy(update={"recipe": recipe}), tmp_path, monkeypatch)
    assert losses is None
    cell = shared(trial, References(plugins, Store(tmp_path)))
    (old,) = read_shipped(path).values()
    other = Kept(**{**old.model_dump(include={*Kept.model_fields}), "name": "abacus fit"})
    write(path, {shipped_key(cell): Shipped.of(cell, other)})
    losses, _ = asked(plugins, trial, tmp_path, monkeypatch)
    assert losses is None


def test_a_task_of_which_one_cell_fails_has_the_references_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(PLUGIN)
    plugins = Plugins([tmp_path / "short.py"])
    good, bad, wide = planned(plugins, "short", "short[learning_rate=1e38]", "short[units=5]")
    trials = sorted((good, bad, wide), key=lambda trial: trial.recipe.units)
    references = References(plugins, Store(tmp_path))
    references.plan(trials)
    computed: list[str] = []
    with FolderLocks(tmp_path) as locks:
        found = {
            trial.label: references.get(trial, locks, lambda: computed.append(""))
            for trial in trials
        }
    assert {label for label, reference in found.items() if reference is None} == {
        "short[learning_rate=1e+38]"
    }
    assert len(computed) == 2  # all together, and the one that failed by itself
    assert len([*(tmp_path / "reference").glob("*.json")]) == 2


@pytest.mark.parametrize("text", ["[]", '{"knuth": {"title": "TAOCP"}}', "not JSON"])
def test_a_file_that_is_not_ours_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(text)
    with pytest.raises(UsageError, match="which it does not replace"):
        write(path, {})
    assert path.read_text() == text


def test_a_damaged_entry_costs_no_other(ship: tuple[Plugins, Trial, Path]) -> None:
    _, _, path = ship
    before = read_shipped(path)
    assert before
    entries = json.loads(path.read_text())
    path.write_text(json.dumps({**entries, "odd": {"losses": "none"}}))
    assert read_shipped(path) == before


def test_what_is_written_replaces_the_same_cell_alone(
    ship: tuple[Plugins, Trial, Path], tmp_path: Path
) -> None:
    plugins, trial, path = ship
    cell = shared(trial, References(plugins, Store(tmp_path)))
    edited = cell.model_copy(update={"source": "edited"})
    made = Kept(name="jax fit", losses=[1.0])
    other = cell.model_copy(update={"label": "short[n_in=4]", "parameters": {"n_in": 4}})
    write(path, {shipped_key(other): Shipped.of(other, made)})
    assert len(json.loads(path.read_text())) == 2
    write(path, {shipped_key(edited): Shipped.of(edited, made)})
    assert {*read_shipped(path)} == {shipped_key(edited), shipped_key(other)}
