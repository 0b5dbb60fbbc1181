"""torch runs other programs with and without a C++ compiler: it is known before a trial runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from echobench_plugins.backends import _frameworks

from echobench.harness.plan import Selection, plan
from echobench.plugin.manager import Plugins

GCC = "g++ (crosstool-NG 1.26.0.123_9a1) 12.3.0\nCopyright\n"
CLANG = "Debian clang version 14.0.6\nTarget: x86_64\n"
APPLE = "Apple clang version 15.0.0 (clang-1500.3.9.4)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    _frameworks.compiler_version.cache_clear()
    yield tmp_path
    _frameworks.compiler_version.cache_clear()


def install(folder: Path, name: str, text: str, then: str = "") -> None:
    lines = "\n".join(f"echo '{line}'" for line in text.splitlines())
    (folder / name).write_text(f"#!/bin/sh\n{lines}\n{then}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("g++", GCC, "g++ 12.3.0"),
        ("clang++", CLANG, "clang++ 14.0.6"),
        ("g++", APPLE, "clang++ 15.0.0"),
        ("c++", "", "c++"),
    ],
)
def test_the_compiler_is_among_the_versions(
    name: str, text: str, version: str, folder: Path, plugins: Plugins
) -> None:
    install(folder, name, text)
    for backend in ("torch", "torch-native"):
        value = plugins.backends[backend].value
        assert value.versions()["c++"] == version
        # By itself inductor looks for g++ alone.
        assert value.environment("cpu", 1)["CXX"] == str(folder / name)


def test_a_compiler_that_does_not_run_is_none(
    folder: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = plugins.backends["torch"].value
    assert torch.versions()["c++"] == "none"
    assert "CXX" not in torch.environment("cpu", 1)
    install(folder, "g++", GCC, "exit 1")
    install(folder, "clang++", CLANG)
    assert torch.versions()["c++"] == "clang++ 14.0.6"
    monkeypatch.setattr(_frameworks, "COMPILER_S", 0.2)
    install(folder, "clang++", "", "exec /bin/sleep 60")
    _frameworks.compiler_version.cache_clear()
    assert torch.versions()["c++"] == "none"


def test_trials_with_and_without_a_compiler_are_of_two_keys(folder: Path, plugins: Plugins) -> None:
    selection = Selection(tasks=["whole"], backends=["torch", "jax"], threads=1)
    without = {trial.backend: trial.key for trial in plan(selection, plugins)}
    install(folder, "g++", GCC)
    found = {trial.backend: trial.key for trial in plan(selection, plugins)}
    assert found["torch"] != without["torch"]
    assert found["jax"] == without["jax"]
