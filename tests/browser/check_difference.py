"""The page of `optibench diff` in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

import optibench
from optibench.render import difference_page
from tests.browser.conftest import Opened
from tests.browser.looks import LOOKS, enliven, overflow, violations
from tests.factories import host
from tests.kept import INT8, OPENVINO, records_of, write_finished


@pytest.fixture(scope="session")
def difference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs: one case became slower, one faster, with another onnxruntime."""
    folder = tmp_path_factory.mktemp("difference")
    new = host(packages={"onnxruntime": "1.33.0"})
    a = write_finished(folder / "a", records_of({INT8: 3.0, OPENVINO: 5.0}))
    b = write_finished(folder / "b", records_of({INT8: 2.4, OPENVINO: 5.4}, day=3, host=new))
    path = folder / "diff.html"
    path.write_text(difference_page.render(optibench.diff(a, b)), encoding="utf-8")
    return path


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_has_a_violation_of_axe_or_is_wider_than_its_window(
    opened: Opened, difference: Path, look: str
) -> None:
    page = opened(difference, **LOOKS[look])
    enliven(page)
    assert overflow(page) == 0
    assert not violations(page)


def test_what_changed_and_each_verdict_stand_there_without_scripts(opened: Opened, difference: Path) -> None:
    page = opened(difference, java_script_enabled=False)
    expect(page.get_by_role("heading", level=1)).to_have_text("B against A: 1 slower, 1 faster")
    expect(page.get_by_text("onnxruntime 1.32.0 -> 1.33.0")).to_be_visible()
    expect(page.locator("td.slower")).to_have_text("slower")
    expect(page.locator("figure.chart svg")).to_be_visible()


def test_the_cases_are_sorted_by_their_change(opened: Opened, difference: Path) -> None:
    page = opened(difference)
    page.get_by_role("button", name="speedup A → B").click()
    first = page.locator("table.sortable tbody tr").first
    expect(first).to_contain_text("cpu/onnxruntime/int8")
