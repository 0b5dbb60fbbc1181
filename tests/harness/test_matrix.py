"""The matrix when its records can no longer be kept, and beside another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from echobench.errors import StorageError
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins
from echobench.store.folder import RECORDS, Store
from echobench.trial.job import JobOptions
from echobench.trial.trial import Trial

BACKEND = """
from typing import ClassVar
from echobench import hookimpl
from echobench_plugins.backends.jax import Jax

class Absent(Jax):
    name: ClassVar[str] = "absent"
    reference: ClassVar[bool] = False
    requires: ClassVar[tuple] = ("no_such_framework",)

@hookimpl
def echobench_backends():
    return [Absent()]
"""


def matrix_of(folder: Path, seeds: int) -> tuple[Matrix, list[Trial]]:
    """Return a matrix, and trials that are recorded without a worker."""
    (folder / "absent.py").write_text(BACKEND)
    plugins = Plugins([folder / "absent.py"])
    trials = plan(Selection(tasks=["whole"], backends=["absent"], seeds=seeds), plugins)
    return Matrix(plugins, Store(folder / "results"), JobOptions(command=["test"])), trials


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's full disk")
def test_a_full_disk_stops_with_one_line_and_keeps_what_was_recorded(
    temporary: Path, tmp_path: Path
) -> None:
    matrix, (first, second) = matrix_of(tmp_path, 2)
    store = matrix.store
    assert len([*matrix.run([first], Watcher())]) == 1
    store._files[RECORDS] = Path("/dev/full")
    with pytest.raises(StorageError, match="No space left on device") as caught:
        list(matrix.run([second], Watcher()))
    assert str(caught.value).startswith(f"stopped at {second.name}: ")
    assert "\n" not in str(caught.value)
    assert [record.seed for record in store.load()] == [0]
    (rescued,) = temporary.iterdir()
    assert str(rescued) in str(caught.value)
    rescued.rename(store.folder / f"records-{rescued.name}.jsonl")
    assert [record.seed for record in store.load()] == [0, 1]


def test_a_folder_that_vanishes_or_turns_into_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix, trials = matrix_of(tmp_path, 4)
    folder = matrix.store.folder
    records = matrix.run(trials, Watcher())
    next(records)
    shutil.rmtree(folder)
    next(records)
    assert "the records of this run so far are gone from here" in capsys.readouterr().err
    assert [record.seed for record in matrix.store.load()] == [1]
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("a file")
    with pytest.raises(StorageError, match="stopped before the next trial: File exists"):
        next(records)


def test_what_others_record_meanwhile_is_not_run(tmp_path: Path) -> None:
    matrix, trials = matrix_of(tmp_path, 3)
    others, _ = matrix_of(tmp_path, 3)
    records = matrix.run(trials, Watcher())
    assert next(records).seed == trials[0].seed
    assert len([*others.run(trials[1:2], Watcher())]) == 1
    assert [record.seed for record in records] == [trials[2].seed]
    assert len(matrix.store.load()) == 3
