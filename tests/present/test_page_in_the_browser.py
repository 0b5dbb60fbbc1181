"""The page in Chromium: with the mouse, the keyboard, and on a phone.

The effect of an action may appear a moment later, so tests wait for it with `expect`; they
read at once only what was there before, or what appears together with something awaited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from echobench.plugin.manager import Plugins
from echobench.present.page import write
from echobench.store.folder import Store
from echobench.trial.record import Record, Sample
from tests.browser import Theme, browser, opened
from tests.cli.test_plot import made_up
from tests.records import EARLIER, record

OPEN = EARLIER / "open"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}\x1b[31m"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Path:
    """Return the page of the committed records with open recipes."""
    output = tmp_path_factory.mktemp("report") / "report.html"
    write(OPEN, output, plugins)
    return output


def told(seed: int = 0) -> Record:
    """Return a committed record of that seed."""
    return next(r for r in Store.read(OPEN) if r.seed == seed)


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize(("theme", "width"), [("light", 1200), ("dark", 1200), ("dark", 390)])
def test_it_is_drawn_offline_in_both_themes_and_on_a_phone(
    theme: Theme, width: int, report: Path, chromium: Browser
) -> None:
    with opened(chromium, report, theme=theme, width=width) as page:
        assert fits(page)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(re.findall(r"\d+", ground)[0])
        assert (red < 60) == (theme == "dark")
        figures = page.locator(".figures figure > svg")
        expect(figures).to_have_count(7)
        for place in range(7):
            assert len(figures.nth(place).get_attribute("aria-label") or "") > 40
            assert figures.nth(place).locator("path, rect").count() > 2
        page.locator("#theme").click()  # from auto to light, whatever the system says
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert int(re.findall(r"\d+", ground)[0]) > 200


def test_filters_leave_what_was_asked_for_in_table_and_charts(
    report: Path, chromium: Browser
) -> None:
    with opened(chromium, report) as page:
        rows = page.locator("#overview tr[data-cell]:visible")
        legend = page.locator("#fig-time .legend li")
        expect(rows).to_have_count(8)
        expect(legend).to_have_count(4)
        page.get_by_label("Backend").select_option("flax")
        expect(rows).to_have_count(2)
        expect(legend).to_have_text(["flax native"])
        page.get_by_label("Task").select_option("whole")
        expect(rows).to_have_count(1)
        expect(page.locator("#count")).to_have_text("1 of 8 cells")
        page.get_by_label("Backend").select_option("")
        page.get_by_label("Text").fill("torch")
        expect(rows.filter(has_not_text=re.compile("torch"))).to_have_count(0)
        expect(rows).to_have_count(1)
        page.get_by_label("Task").select_option("")
        expect(rows).to_have_count(2)
        page.get_by_label("Status").select_option("reached")
        expect(rows).to_have_count(2)


def test_a_column_sorts_by_its_numbers_within_each_group(report: Path, chromium: Browser) -> None:
    with opened(chromium, report) as page:
        for direction, reverse in (("ascending", False), ("descending", True)):
            page.locator("#overview th button", has_text="ms/update").first.click()
            header = page.locator("#overview th[aria-sort]", has_text="ms/update").first
            expect(header).to_have_attribute("aria-sort", direction)
            for body in page.locator("#overview tbody").all():
                cells = body.locator('td[data-label="ms/update"]').all_inner_texts()
                shown = [float(re.sub(r"★ best|lowest", "", text).split()[0]) for text in cells]
                assert shown == sorted(shown, reverse=reverse)


def test_values_under_the_pointer_and_by_arrow_keys(report: Path, chromium: Browser) -> None:
    with opened(chromium, report) as page:
        chart, tip = page.locator("#fig-time svg[role=img]"), page.locator("#tip")
        chart.scroll_into_view_if_needed()
        chart.hover()
        expect(tip).to_be_visible()
        expect(tip).to_have_text(re.compile(r"jax fused: [\d.]+%"))
        page.mouse.move(0, 0)
        expect(tip).to_be_hidden()
        chart.focus()
        page.keyboard.press("ArrowRight")
        expect(tip).to_be_visible()
        first = tip.inner_text()
        page.keyboard.press("ArrowRight")
        expect(tip).not_to_have_text(first, use_inner_text=True)
        expect(tip).to_be_visible()
        page.keyboard.press("Escape")
        expect(tip).to_be_hidden()
        page.locator("#fig-update svg[role=img]").hover()
        expect(tip).to_contain_text("median")
        page.locator("#fig-phases rect").last.hover()  # a part of a bar, by itself
        expect(tip).to_have_text(re.compile(r"other: [\d.]+ seconds"))
        page.locator("#fig-update summary").click()
        expect(page.locator("#fig-update table tbody tr")).to_have_count(4)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_two_steps_from_a_cell_to_a_whole_record(by: str, report: Path, chromium: Browser) -> None:
    with opened(chromium, report, width=390 if by == "keyboard" else 1200) as page:
        row = page.locator("#overview tr[data-backend=jax]").first.get_by_role("link")
        trials = page.locator("#dialog-body table a")
        if by == "mouse":
            row.click()
            trials.nth(1).click()
        else:
            row.focus()
            page.keyboard.press("Enter")
            expect(trials.first).to_be_visible()
            while not page.evaluate("(document.activeElement.hash || '').startsWith('#trial')"):
                page.keyboard.press("Tab")
            page.keyboard.press("Enter")
        shown = json.loads(page.locator("#record").inner_text())
        (true,) = (r for r in Store.read(OPEN) if r.key == shown["key"])
        assert shown == json.loads(true.to_json())
        assert fits(page)
        page.keyboard.press("Escape")
        expect(page.locator("#dialog")).to_be_hidden()


def test_a_link_leads_to_a_trial(report: Path, chromium: Browser) -> None:
    key = told(seed=3).key
    with opened(chromium, report, fragment=f"trial-{key}") as page:
        assert json.loads(page.locator("#record").inner_text())["key"] == key


def test_what_records_say_stays_text(tmp_path: Path, plugins: Plugins, chromium: Browser) -> None:
    store = Store(tmp_path)
    for number, name in enumerate((HOSTILE, "plain")):
        cell: dict[str, Any] = {"task": name, "backend": name, "engine": name, "device": "cpu"}
        store.append(
            record(
                **cell,
                key=f"{name}{number}",
                status="failed",
                reason=HOSTILE,
                wall_s=1.0,
                other_s=1.0,
                samples=[Sample(expected=[HOSTILE], predicted=["right?"])],
                trial={**cell, "division": "closed", "seed": 0, HOSTILE: HOSTILE},
                provenance={"command": [HOSTILE], "machine": {"cpu": HOSTILE, "cores": 1}},
            )
        )
    output = tmp_path / "report.html"
    write(tmp_path, output, plugins)
    with opened(chromium, output) as page:
        expect(page.locator("img")).to_have_count(0)
        row = page.locator("#overview tr[data-cell]", has_text="alert(1)").first
        expect(row).to_contain_text("{{ 7*7 }}")
        row.get_by_role("link").click()
        page.locator("#dialog-body table a").first.click()
        assert json.loads(page.locator("#record").inner_text())["reason"] == HOSTILE
        expect(page.locator("#dialog .echo .wrong")).to_have_text("✗right?", use_inner_text=True)
        expect(page.locator("img")).to_have_count(0)


def test_cost_against_size(tmp_path: Path, plugins: Plugins, chromium: Browser) -> None:
    store = Store(tmp_path / "studies" / "size")
    for one in made_up(plugins):
        store.append(one)
    write(tmp_path, tmp_path / "report.html", plugins)
    with opened(chromium, tmp_path / "report.html", width=390) as page:
        figures = page.locator("figure[data-study=size]")
        expect(figures).to_have_count(3)
        expect(figures.first.locator(".legend li")).to_have_text(["flax", "jax"])
        expect(page.locator("#studies")).to_contain_text("jax from 20 on", use_inner_text=True)
        assert fits(page)
