"""The committed pages of results show what the committed records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Command

RESULTS = Path(__file__).parent.parent / "results"
STUDIES = ("representation", "masking", "length", "state", "topology")


@pytest.mark.parametrize("folder", ["tasks", "speed", "open", "closed"])
def test_the_page_of_a_table(folder: str, echobench: Command) -> None:
    done = echobench("table", "--results", str(RESULTS / folder), "--format", "md")
    assert done.returncode == 0, done.stderr
    assert done.stdout in (RESULTS / folder / "README.md").read_text()


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_of_the_studies(study: str, echobench: Command) -> None:
    folder = str(RESULTS / "studies" / study)
    done = echobench("study", study, "--table", "--results", folder, "--format", "md")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    assert done.stdout in (RESULTS / "studies" / "README.md").read_text()
