"""What a worker does before its trial."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from echobench.worker.job import OPTIONAL, hidden
from tests.harness.faulty import run


def test_keras_comes_without_what_it_only_draws_with(tmp_path: Path) -> None:
    fault = f"import keras; raise ValueError([n for n in {OPTIONAL} if sys.modules.get(n)])"
    record = run(tmp_path, fault, uses_keras=True)
    assert record.reason == "ValueError: []"
    for name in OPTIONAL:  # they are installed here, and Keras would find them
        importlib.import_module(name)


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
