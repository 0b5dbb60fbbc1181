"""The matrix when its records can no longer be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from echobench.errors import StorageError
from echobench.harness.matrix import Matrix, Watcher
from echobench.harness.plan import Selection, plan
from echobench.plugins import Plugins
from echobench.results.store import Store

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's full disk")
def test_a_full_disk_stops_with_one_line_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "absent.py").write_text(BACKEND)
    plugins = Plugins([tmp_path / "absent.py"])
    first, second = plan(Selection(tasks=["whole"], backends=["absent"], seeds=2), plugins)
    store = Store(tmp_path)
    matrix = Matrix(plugins, store, command=["test"])
    assert len(matrix.run([first], Watcher())) == 1
    store._file = Path("/dev/full")
    with pytest.raises(StorageError, match="No space left on device") as caught:
        matrix.run([second], Watcher())
    assert str(caught.value).startswith(f"stopped at {second.name}: ")
    assert "\n" not in str(caught.value)
    assert [record.seed for record in Store(tmp_path).load()] == [0]
