"""Versions of modules, of distributions as package indexes name them."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

import pytest

from echobench.core import versions
from echobench.core.versions import module_version


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of installed modules."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("_distributions", "_installed"):
        cached = getattr(versions, name)
        cached.cache_clear()
        monkeypatch.setattr(versions, name, cached.__wrapped__)
    return tmp_path


def install(site: Path, module: str, distribution: str | None, version: str) -> None:
    package = site / module
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    if distribution is not None:
        metadata = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (metadata / "METADATA").write_text(text)
        (metadata / "top_level.txt").write_text(f"{module}\n")
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("distributions", "expected"),
    [
        ({"frame-work": "1.2"}, "1.2"),
        ({"Frame_Work": "1.2+cpu"}, "1.2+cpu"),
        ({"frame-work-cpu": "1.2"}, "1.2 (frame-work-cpu)"),
        ({"intel-frame-work": "2.0", "frame-work": "1.2"}, "1.2, 2.0 (intel-frame-work)"),
    ],
)
def test_a_build_under_another_name_is_told_apart(
    distributions: dict[str, str], expected: str, site: Path
) -> None:
    for name, version in distributions.items():
        install(site, "frame_work", name, version)
    assert module_version("frame_work") == expected


@pytest.mark.parametrize("file", ["__init__.py", "version.py", "_version.py"])
def test_a_module_without_a_distribution_states_its_version(file: str, site: Path) -> None:
    install(site, "sourceful", None, "")
    (site / "sourceful" / file).write_text('"""A module."""\n__version__: str = "3.1.dev4"\n')
    assert module_version("sourceful") == "3.1.dev4"


def test_two_unknown_versions_are_not_one(site: Path) -> None:
    install(site, "unstated", None, "")
    first = module_version("unstated")
    (site / "unstated" / "__init__.py").write_text("x = 1\n")
    second = module_version("unstated")
    assert first.startswith("unknown ")
    assert second.startswith("unknown ")
    assert first != second


def test_a_damaged_distribution_is_passed_over(site: Path) -> None:
    install(site, "halved", "halved", "1.0")
    (site / "halved-1.0.dist-info" / "METADATA").unlink()
    assert module_version("halved").startswith("unknown")


def test_every_module_has_the_distributions_that_python_finds() -> None:
    found = {
        module: sorted({one.metadata["Name"] for one in provided})
        for module, provided in versions._distributions().items()
    }
    expected = importlib.metadata.packages_distributions()
    assert found == {module: sorted({*names}) for module, names in expected.items()}
