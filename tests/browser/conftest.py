"""Pages in a real browser: Debian's chromium, driven by Playwright, from files on a disk.

Every page that a test opens is watched: what it asks for beyond its own file, what its policy refuses and what its
scripts throw is an error of the test that opened it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # a run of all tests reads this file, and only `tox -e browser` has playwright
    from playwright.sync_api import Browser, ConsoleMessage, Page

Opened = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail(
            "These tests need Debian's chromium, and it is not here. As root: apt-get update && "
            "apt-get install -y --no-install-recommends chromium",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """``opened(path, fragment="", **context)`` is the page, loaded. ``site``: the folder of its site, whose other
    files it may ask for; ``may_miss``: that one of them is missing is no error of the test."""
    contexts, told = [], []

    def open_page(
        path: Path, fragment: str = "", *, site: Path | None = None, may_miss: bool = False, **options: Any
    ) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        address = path.resolve().as_uri()
        beside = site.resolve().as_uri() + "/" if site else None
        page.on("request", lambda asked: told.append(asked.url) if not allowed(asked.url, address, beside) else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("console", lambda line: told.append(line.text) if is_trouble(line, may_miss) else None)
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.goto(address + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not told


def allowed(url: str, address: str, beside: str | None) -> bool:
    """The page itself; for a site of several files what lies beside it."""
    return url.partition("#")[0] == address or url.startswith(("data:", *([beside] if beside else [])))


def is_trouble(line: ConsoleMessage, may_miss: bool) -> bool:
    """Whether what a page wrote to its console is an error or a warning."""
    return line.type in ("error", "warning") and not (may_miss and "ERR_FILE_NOT_FOUND" in line.text)
