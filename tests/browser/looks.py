"""What is asked of every page, whatever it shows."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": WIDE},
    "dark": {"color_scheme": "dark", "viewport": WIDE},
    "phone": {"color_scheme": "light", "viewport": PHONE, "device_scale_factor": 2, "has_touch": True},
}


def violations(page: Page) -> list[str]:
    """What axe-core holds against the page: rule, and where."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def enliven(page: Page) -> None:
    """Scrolls through the page until every chart is interactive."""
    for figure in page.locator("figure.chart").all():
        figure.scroll_into_view_if_needed()
        figure.page.wait_for_function("figure => 'live' in figure.dataset", arg=figure.element_handle())
