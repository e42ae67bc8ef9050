"""report.html as people meet it: with a mouse, by keyboard, on a phone, in the dark, on paper, without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from optibench.render import html
from optibench.reported import Reported
from tests.browser.conftest import Opened
from tests.browser.full_run import full_run
from tests.browser.looks import LOOKS, PHONE, enliven, overflow, violations
from tests.factories import case, comparison, reference
from tests.render.hostile import OBEYED, hostile_comparison


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a whole run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html.render_run(full_run()), encoding="utf-8")
    return path


def written(folder: Path, run: Reported) -> Path:
    path = folder / "report.html"
    path.write_text(html.render_run(run), encoding="utf-8")
    return path


def column(page: Page, title: str) -> list[float]:
    """The values of a column of the table, in the order that is shown."""
    titles = page.locator("table.sortable thead th").all_text_contents()
    place = [text.strip() for text in titles].index(title) + 1
    cells = page.locator(f"table.sortable tbody tr > :nth-child({place})").all()
    return [float(value) for cell in cells if (value := cell.get_attribute("data-value"))]


def heading(page: Page, title: str) -> object:
    return page.locator("table.sortable thead").get_by_role("button", name=title, exact=True)


def test_the_page_is_under_two_megabytes(report: Path) -> None:
    assert report.stat().st_size < 2_000_000


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_has_a_violation_of_axe_or_is_wider_than_its_window(opened: Opened, report: Path, look: str) -> None:
    page = opened(report, "#record-2", **LOOKS[look])
    assert overflow(page) == 0
    assert not violations(page)
    enliven(page)
    assert overflow(page) == 0
    assert not violations(page)


def test_the_ground_is_dark_for_whoever_prefers_that(opened: Opened, report: Path) -> None:
    grounds = [
        opened(report, **LOOKS[look]).evaluate("getComputedStyle(document.body).backgroundColor")
        for look in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 25, 31)"]


def test_what_to_do_stands_at_the_top_of_the_first_screen(opened: Opened, report: Path) -> None:
    page = opened(report, **LOOKS["phone"])
    box = page.locator(".answer .sentence").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE["height"]
    expect(page.locator(".answer pre")).to_contain_text("optibench export minilm --backend openvino")


def test_a_click_on_a_heading_sorts_and_another_turns_the_order(opened: Opened, report: Path) -> None:
    page = opened(report)
    heading(page, "p50").click()
    first = column(page, "p50")
    assert len(first) > 5
    assert first == sorted(first)
    expect(page.locator('th[aria-sort="ascending"]')).to_have_text("p50")
    heading(page, "p50").click()
    assert column(page, "p50") == first[::-1]
    expect(page.locator('th[aria-sort="descending"]')).to_have_text("p50")


def test_words_filter_the_rows_and_the_count_is_told(opened: Opened, report: Path) -> None:
    page = opened(report)
    page.get_by_role("searchbox", name="Filter").fill("openvino int8")
    rows = page.locator("table.sortable tbody tr:visible")
    assert rows.count() >= 2
    for text in rows.all_text_contents():
        assert "openvino" in text
        assert "int8" in text
    total = page.locator("table.sortable tbody tr").count()
    expect(page.get_by_role("status")).to_have_text(f"{rows.count()} of {total} rows")


def test_a_column_is_shown_on_demand(opened: Opened, report: Path) -> None:
    page = opened(report)
    throughput = page.locator("table.sortable thead th", has_text="throughput")
    expect(throughput).to_be_hidden()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("throughput").check()
    expect(throughput).to_be_visible()
    page.get_by_label("throughput").uncheck()
    expect(throughput).to_be_hidden()


def test_a_row_opens_its_record_with_samples_digest_and_recipe(opened: Opened, report: Path) -> None:
    page = opened(report)
    row = page.locator("table.sortable tbody tr").nth(2)
    name = row.locator("a").inner_text()
    row.locator("td").nth(1).click()
    record = page.locator("details.record[open]")
    expect(record).to_have_count(1)
    expect(record.locator("summary")).to_contain_text(name)
    expect(record.locator(".samples").first).to_be_visible()
    expect(record.get_by_text("sha256", exact=True).first).to_be_visible()
    expect(record.get_by_role("heading", name="Recipe")).to_be_visible()
    assert page.evaluate("location.hash") == "#record-3"


def test_the_address_of_a_record_opens_it(opened: Opened, report: Path) -> None:
    page = opened(report, "#record-4")
    expect(page.locator("#record-4")).to_have_attribute("open", "")
    expect(page.locator("#record-4 summary")).to_be_in_viewport()


def test_the_keyboard_alone_sorts_filters_and_opens_a_record(opened: Opened, report: Path) -> None:
    page = opened(report)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "search":
            break
    page.keyboard.type("onnxruntime")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "p50":
            break
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").inner_text().startswith("p50")
    for _ in range(40):
        page.keyboard.press("Tab")
        if str(page.evaluate("document.activeElement.hash || ''")).startswith("#record"):
            break
    name = page.evaluate("document.activeElement.textContent")
    assert "onnxruntime" in name
    page.keyboard.press("Enter")
    expect(page.locator("details.record[open] summary")).to_be_focused()
    expect(page.locator("details.record[open] summary")).to_contain_text(name)


def test_every_link_leads_to_a_place_in_the_page(opened: Opened, report: Path) -> None:
    page = opened(report)
    for link in page.locator("a").all():
        target = link.get_attribute("href") or ""
        assert target.startswith("#")
        assert page.locator(f'[id="{target[1:]}"]').count() == 1, target


def test_charts_are_drawn_before_any_script_and_answer_the_pointer_after(opened: Opened, report: Path) -> None:
    page = opened(report)
    enliven(page)
    bar = page.locator("#chart-memory .mark-rect path").first
    bar.hover()
    expect(page.locator(".tip")).to_contain_text("cpu/pytorch/fp32")
    expect(page.locator(".tip")).to_contain_text("MB")


def test_a_click_on_a_backend_in_the_legend_fades_the_others(opened: Opened, report: Path) -> None:
    page = opened(report)
    enliven(page)
    chart = page.locator("#chart-tradeoff")
    points = "#chart-tradeoff .mark-symbol path[opacity='0.12']"
    expect(page.locator(points)).to_have_count(0)
    chart.locator(".role-legend-entry").get_by_text("openvino", exact=True).click()
    expect(page.locator(points)).to_have_count(5)


def test_without_scripts_the_first_view_and_the_records_are_all_there(opened: Opened, report: Path) -> None:
    page = opened(report, java_script_enabled=False)
    expect(page.locator(".answer .sentence")).to_contain_text("as fast as PyTorch fp32")
    assert page.locator("figure.chart svg").count() >= 5
    for drawing in page.locator("figure.chart svg").all():
        box = drawing.bounding_box()
        assert box is not None
        assert box["height"] > 50
    expect(page.locator("table.sortable tbody tr").first).to_be_visible()
    page.locator("#record-2 summary").click()
    expect(page.locator("#record-2 .samples").first).to_be_visible()


def test_on_paper_the_tools_are_gone_and_nothing_is_cut(opened: Opened, report: Path) -> None:
    page = opened(report, viewport={"width": 718, "height": 1047}, color_scheme="dark")  # A4 without its margins
    page.emulate_media(media="print")
    expect(page.locator(".tools")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    assert overflow(page) == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_policy_lets_nothing_out_and_runs_nothing_that_was_put_in(browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.resolve().as_uri())
    tried = page.evaluate(
        """async () => {
          const found = {};
          found.fetch = await fetch("http://127.0.0.1:9/").then(() => "sent", (error) => error.name);
          setTimeout("window.evaluated = true"); // text that is run: eval by another name
          const image = new Image();
          found.image = await new Promise((done) => {
            image.onload = () => done("loaded");
            image.onerror = () => done("refused");
            image.src = "http://127.0.0.1:9/x.png";
          });
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = true'>");
          await new Promise((done) => setTimeout(done, 200));
          found.evaluated = window.evaluated === true;
          found.ran = window.ran === true;
          return found;
        }"""
    )
    page.close()
    assert tried == {"fetch": "TypeError", "image": "refused", "evaluated": False, "ran": False}


# What a stranger could put into it


def test_hostile_text_is_shown_as_text(opened: Opened, tmp_path: Path) -> None:
    evil = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'> {{ 7 * 7 }} </script><!--"
    hostile = hostile_comparison()
    hostile = comparison(
        model=hostile.model,
        host=hostile.host,
        cases=(
            reference(),
            case(notes=(evil,)),
            *hostile.cases[2:],
            case("cpu/openvino/int8", status="failed", reason=evil),
        ),
        warnings=(*hostile.warnings, evil),
        command=hostile.command,
        recommended=hostile.recommended,
    )
    page = opened(written(tmp_path, Reported(comparison=hostile, request={"model": evil})))
    enliven(page)
    assert page.evaluate("window.ran") is None
    assert page.locator("main b, main img, main script:not(.specification)").count() == 0
    assert not set(OBEYED) & set(page.content())
    text = page.locator("body").inner_text()
    assert evil in text
    assert "\\u202egnp.exe" in text
    assert overflow(page) == 0
    assert not violations(page)


def test_a_megabyte_of_text_is_cut_and_the_page_stays_small(opened: Opened, tmp_path: Path) -> None:
    long = "x" * 1_000_000
    cases = (reference(), case(notes=(long,)), case("cpu/openvino/int8", status="failed", reason=long))
    path = written(tmp_path, Reported(comparison=comparison(cases=cases, warnings=(long,))))
    assert path.stat().st_size < 2_000_000
    page = opened(path, viewport=PHONE)
    expect(page.get_by_text("1,000,000 characters").first).to_be_visible()
    assert overflow(page) == 0


def test_a_run_in_which_everything_was_skipped_says_so_and_why(opened: Opened, tmp_path: Path) -> None:
    cases = tuple(
        case(f"cuda/{backend}/fp32", status="skipped", reason="no NVIDIA driver here")
        for backend in ("pytorch", "tensorrt")
    )
    skipped = comparison(cases=cases, recommended=None, recommended_reason="Nothing was measured.", reference=None)
    page = opened(written(tmp_path, Reported(comparison=skipped)))
    expect(page.get_by_role("heading", name="Nothing could be measured")).to_be_visible()
    expect(page.get_by_text("no NVIDIA driver here")).to_be_visible()
    assert page.locator("figure").count() == 0
    assert not violations(page)
