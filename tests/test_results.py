"""The README and the pages of results/ show what the committed records say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "make_results.py"))


@pytest.fixture(scope="module")
def pages(made: dict[str, Any]) -> dict[Path, str]:
    found: dict[Path, str] = made["pages"]()
    return found


def test_every_page_is_up_to_date(pages: dict[Path, str]) -> None:
    assert {ROOT / "README.md", ROOT / "results" / "README.md"} < pages.keys()
    assert len(pages) > 10
    stale = [path.name for path, text in pages.items() if path.read_text() != text]
    assert not stale, "run: make findings"


def test_a_block_below_a_command_is_what_it_prints(made: dict[str, Any]) -> None:
    asked: list[tuple[str, str]] = []

    def prints(command: str, width: str) -> str:
        asked.append((command, width))
        return "| new |\n"

    text = (
        "Made by `make x`; printed by `COLUMNS=80 echobench\ntable --results x`:\n\n```\nold\n```\n"
        "`echobench table --results y --format md`.\n\n| old |\n| older |\n\n"
        "```\necho no command of ours\n```\n"
    )
    assert made["page"](text, prints) == (
        "Made by `make x`; printed by `COLUMNS=80 echobench\ntable --results x`:\n\n"
        "```\n| new |\n```\n"
        "`echobench table --results y --format md`.\n\n| new |\n\n"
        "```\necho no command of ours\n```\n"
    )
    assert asked == [
        ("echobench table --results x", "80"),
        ("echobench table --results y --format md", made["WIDTH"]),
    ]


def test_a_finding_that_no_longer_holds_is_refused(made: dict[str, Any]) -> None:
    made["_check"]("it holds", True)
    with pytest.raises(ValueError, match="do not say any more that it holds"):
        made["_check"]("it holds", False)
