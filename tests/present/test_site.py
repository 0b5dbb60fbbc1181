"""The leaderboard's files as a browser and a script read them, hostile records included."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from echobench.analysis.leaderboard import Board, board
from echobench.cli.leaderboard import leaderboard
from echobench.errors import UsageError
from echobench.plugin.manager import Plugins
from echobench.present.site import write
from echobench.store.reading import record_files
from echobench.trial.trial import trial_key
from tests.browser import Theme, browser, opened
from tests.conftest import Command
from tests.records import RESULTS, real

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>{{ 7 * 7 }}\x1b[2J\u202e'


class Page(HTMLParser):
    """Collects tags, with their attributes, and what links point to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str]:
        return [v for _, told in self.tags for k, v in told.items() if k in {"href", "src"} and v]

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


FOLDERS = (RESULTS / "open", RESULTS / "closed")


@pytest.fixture(scope="module")
def made(plugins: Plugins) -> Board:
    return board([file for folder in FOLDERS for file in record_files(folder)], plugins)


@pytest.fixture
def site(made: Board, tmp_path: Path) -> Path:
    write(made, tmp_path / "site")
    return tmp_path / "site"


def test_every_link_leads_to_a_file_of_the_site_and_rows_to_their_records(site: Path) -> None:
    pages = {path.name: Page(path) for path in site.glob("*.html")}
    assert set(pages) == {"index.html", "refused.html"}
    for page in pages.values():
        ids = {told["id"] for _, told in page.tags if "id" in told}
        for link in page.links:
            assert not re.match(r"[a-z]+:|/", link), link  # relative, and none that is fetched
            file, _, anchor = link.partition("#")
            assert not file or (site / file).is_file(), link
            assert not anchor or anchor in ids, link
        assert not page.names & {"script", "img", "iframe"}
    index = json.loads((site / "leaderboard.json").read_text())
    rows = [(field, row) for field in index["fields"] for row in field["rows"]]
    assert len(rows) >= 12
    for field, row in rows:
        records = [json.loads(line) for line in (site / row["records"]).read_text().splitlines()]
        assert len(records) == row["trials"]
        for record in records:
            told = (record["backend"], record["engine"], record["task"], record["division"])
            assert told == (row["backend"], row["engine"], field["task"], field["division"])
        assert sum(record["status"] == "reached" for record in records) == row["reached"]
        assert row["records"] in pages["index.html"].links


def test_what_is_refused_is_named_and_nothing_hostile_gets_through(
    plugins: Plugins, echobench: Command, tmp_path: Path
) -> None:
    told = real(plugins)
    trial = {**told["trial"], "label": HOSTILE, "division": "open", "source": HOSTILE,
             "backend": HOSTILE, "versions": {HOSTILE: HOSTILE}}  # fmt: skip # two lines will do
    machine: dict[str, Any] = {"cpu": HOSTILE, "cores": 2}
    hostile = {
        **told,
        "task": HOSTILE,
        "backend": HOSTILE,
        "division": "open",
        "trial": trial,
        "key": trial_key(trial),
        "provenance": {**told["provenance"], "machine": machine},
    }
    forged = {**told, "accuracy": 0.5, "backend": HOSTILE}
    lines = [json.dumps(record) for record in (hostile, forged)]
    (tmp_path / "records-x.jsonl").write_text("\n".join([*lines, HOSTILE]) + "\n")
    done = echobench("leaderboard", "records-x.jsonl", "--output", "site")
    assert done.returncode == 0, done.stderr
    assert "1 row of 3 records, 2 refused" in done.stderr
    pages = {name: Page(tmp_path / "site" / f"{name}.html") for name in ("index", "refused")}
    for page in pages.values():
        assert not page.names & {"script", "img"}
        assert not any(name.startswith("on") for _, told in page.tags for name in told)
        assert not set("\x1b\u202e") & set(page.text)
        assert "49" not in page.text
    assert "<script>alert(2)</script>" in pages["index"].text  # as text
    assert "records-x.jsonl:2" in pages["refused"].text
    assert "records-x.jsonl:3" in pages["refused"].text
    (records,) = (tmp_path / "site" / "records").iterdir()
    assert json.loads(records.read_text()) == hostile


def test_a_site_is_made_again_over_itself_and_over_nothing_else(
    made: Board, site: Path, tmp_path: Path
) -> None:
    def content() -> dict[str, str]:
        return {str(p.relative_to(site)): p.read_text() for p in site.rglob("*") if p.is_file()}

    before = content()
    (site / "records" / "stale.jsonl").write_text("{}\n")
    write(made, site)
    assert content() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(UsageError, match="it holds something else"):
        write(made, tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_paths_without_records_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected files or folders of records; received absent"):
        leaderboard([Path("absent")])
    with pytest.raises(UsageError, match="no records in "):
        leaderboard([tmp_path])


def test_a_browser_shows_it_on_a_phone_in_the_dark_and_by_keyboard(site: Path) -> None:
    grounds = []
    themes: list[tuple[Theme, int]] = [("light", 1200), ("dark", 360)]
    with browser() as running:
        for theme, width in themes:
            index, style = site / "index.html", [site / "style.css"]
            with opened(
                running, index, theme=theme, width=width, ready="main", beside=style
            ) as page:
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
                page.keyboard.press("Tab")
                expect(page.locator(":focus")).to_have_text("To the content")
    assert grounds == ["rgb(251, 251, 250)", "rgb(20, 23, 26)"]
