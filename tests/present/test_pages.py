"""The committed pages of results agree with the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Command

RESULTS = Path(__file__).parents[2] / "results"
SIZES = [
    word for name in ("jax", "tensorflow", "torch-native", "flax") for word in ("--backend", name)
]
STUDIES: dict[str, list[str]] = {
    "representation": [], "masking": [], "length": [], "state": [], "topology": [], "size": SIZES,
}  # fmt: skip # one line reads better


@pytest.mark.parametrize("folder", ["tasks", "speed", "open", "closed", "replicates", "tuned"])
def test_the_page_of_a_table(folder: str, echobench: Command) -> None:
    done = echobench("table", "--results", str(RESULTS / folder), "--format", "md")
    assert done.returncode == 0, done.stderr
    assert done.stdout in (RESULTS / folder / "README.md").read_text()


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_of_the_studies(study: str, echobench: Command) -> None:
    folder = str(RESULTS / "studies" / study)
    more = STUDIES[study]
    done = echobench("study", study, "--table", *more, "--results", folder, "--format", "md")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    assert done.stdout in (RESULTS / "studies" / "README.md").read_text()
