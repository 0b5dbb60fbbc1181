"""What a worker does before its trial."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from echobench.worker.job import OPTIONAL, hidden
from tests.harness.faulty import run


@pytest.mark.parametrize(
    ("keras", "requires", "comes"),
    [("jax", (), ["jax"]), ("numpy", ("jax",), ["jax"]), ("openvino", (), [])],
)
def test_keras_comes_without_what_else_is_installed(
    keras: str, requires: tuple[str, ...], comes: list[str], tmp_path: Path
) -> None:
    fault = f"import keras; raise ValueError([n for n in {OPTIONAL} if sys.modules.get(n)])"
    record = run(tmp_path, fault, uses_keras=True, keras=keras, requires=requires)
    assert record.reason == f"ValueError: {comes}"
    for name in ("jax", "matplotlib", "pandas"):  # Keras would find them
        assert importlib.util.find_spec(name) is not None


def test_what_is_hidden_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "afterwards.py").touch()
    (tmp_path / "before.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = importlib.import_module("before")
    with hidden("before", "afterwards", "never"):
        assert importlib.import_module("before") is before
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("afterwards")
    importlib.import_module("afterwards")
    assert "never" not in sys.modules
    for name in ("before", "afterwards"):
        monkeypatch.delitem(sys.modules, name)
