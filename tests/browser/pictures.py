"""The README's pictures of a report, light and dark: python -m tests.browser.pictures [RUN], by default of a run of
planted figures. Look at them afterwards, and say in the README what they are of."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from optibench.render import html
from optibench.reported import Reported, reported_from_path
from tests.browser.full_run import full_run
from tests.browser.looks import LOOKS

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"


def take(run: Reported) -> None:
    """Draws the run's page and takes the top of it, in both looks."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        path.write_text(html.render_run(run), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        for look in ("light", "dark"):
            page = browser.new_context(**{**LOOKS[look], "viewport": {"width": 1280, "height": 1000}}).new_page()
            page.goto(path.as_uri())
            page.screenshot(path=PICTURES / f"report-{look}.png")
        browser.close()


if __name__ == "__main__":
    take(reported_from_path(Path(sys.argv[1]))[0] if len(sys.argv) > 1 else full_run())
