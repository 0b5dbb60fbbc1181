"""A real browser for the tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

Theme = Literal["light", "dark"]
PATIENCE_MS = 120_000
"""How long a busy machine may take for what a quiet one shows at once."""
expect.set_options(timeout=PATIENCE_MS)
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip # one line reads better


def chromium() -> str:
    """Return the browser's path; without one skip, or fail where tests run unattended."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found:
        return found
    why = "no Chromium: install it, or name it in CHROMIUM"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def browser() -> Iterator[Browser]:
    """Give a browser with an empty profile, which is gone afterwards."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=list(ARGUMENTS), timeout=PATIENCE_MS
        )
        yield started
        started.close()


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    *,
    theme: Theme = "light",
    width: int = 1200,
    fragment: str = "",
    ready: str = "html[data-ready=true]",
    beside: Sequence[Path] = (),
) -> Iterator[Page]:
    """Give a page that is drawn; afterwards there was no error and no request but for files.

    Args:
        browser: running.
        file: the page.
        theme: what the system asks for.
        width: of the window, in pixels.
        fragment: after the address's `#`.
        ready: what is there when it is drawn.
        beside: files that it needs.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=theme, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: troubles.append(request.url))
    address = file.as_uri() + (f"#{fragment}" if fragment else "")
    page.goto(address)
    page.wait_for_selector(ready)
    yield page
    files = [one.as_uri() for one in (file, *beside)]
    assert [one.partition("#")[0] for one in troubles] == files
    context.close()
