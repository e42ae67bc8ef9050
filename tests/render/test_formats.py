"""A comparison as LaTeX, as JUnit XML, and its charts: what they hold, and that no text of a stranger is obeyed."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from optibench.errors import OptibenchError
from optibench.render import html, junit, page, tex
from optibench.render.chart import DARK, LIGHT, PAGE, Palette, finished, svg
from optibench.render.chart_report import CHARTS
from optibench.render.picture import picture
from optibench.reported import Reported
from optibench.results import Comparison
from tests.factories import case, comparison, interval, reference, score
from tests.kept import INT8, records_of
from tests.render.hostile import OBEYED, hostile_comparison


def test_latex_has_a_row_a_case_and_escapes_what_latex_would_obey() -> None:
    lines = tex.render(comparison()).splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 3
    assert len({row.count(" & ") for row in rows}) == 1
    assert r"2.41$\times$ (2.38--2.44)" in rows[2]
    hostile = tex.render(hostile_comparison())
    assert r"\textless{}b\textgreater{}tag" in tex.escaped("<b>tag")
    body = hostile[hostile.index("\\begin{tabular}") :]
    assert not re.search(r"(?<!\\)[$#&_%](?!times|pm|mu|cdot)", body.replace(" & ", " ").replace("$\\times$", ""))
    assert not set(OBEYED) & set(hostile)


def test_junit_tells_failed_below_the_floor_skipped_and_passed_apart() -> None:
    cases = (
        reference(),
        case(),
        case("cpu/openvino/int8", within_floor=False),
        case("cpu/onnxruntime/int8", status="failed", reason="Out of memory."),
        case("cuda/onnxruntime/fp32", status="skipped", reason="No GPU."),
    )
    suite = ElementTree.fromstring(junit.render(comparison(cases=cases)))[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "1", "1", "1"]
    outcomes = {test.get("name"): [child.tag for child in test] for test in suite.iter("testcase")}
    assert outcomes["cpu/openvino/int8 at 1×128"] == ["failure"]
    assert outcomes["cpu/onnxruntime/int8 at 1×128"] == ["error"]


def test_junit_of_hostile_text_is_whole_xml() -> None:
    assert ElementTree.fromstring(junit.render(hostile_comparison()))[0].get("tests") == "4"


def several_shapes() -> Comparison:
    """Two cases at two batches and two lengths."""
    cases = [one(batch=batch, length=length) for one in (reference, case) for batch in (1, 8) for length in (32, 128)]
    return comparison(cases=tuple(cases))


@pytest.mark.parametrize("palette", [LIGHT, DARK, PAGE], ids=["light", "dark", "page"])
def test_every_chart_of_a_full_run_is_drawn_in_the_colours_of_its_palette(palette: Palette) -> None:
    cases = (reference(peak_share=0.6), case(peak_share=0.4), case("cpu/openvino/int8", speedup=interval(5.0)))
    full = Reported(comparison=comparison(cases=cases), records=records_of({INT8: 3.0}))
    found = [chart for draw in CHARTS.values() if (chart := draw(full, palette))]
    assert [chart.name for chart in found] == ["tradeoff", "latency", "first-answer", "memory", "peak"]
    for chart in found:
        assert palette.ink in svg(finished(chart.spec, palette))


def test_latency_is_drawn_against_batch_and_length_where_there_are_several() -> None:
    chart = CHARTS["shapes"](Reported(comparison=several_shapes()), LIGHT)
    assert chart is not None
    drawn = svg(finished(chart.spec, LIGHT))
    for words in ("length 32", "length 128", "batch"):
        assert words in drawn
    assert CHARTS["shapes"](Reported(comparison=comparison()), LIGHT) is None


def test_the_floor_and_the_front_are_where_the_scores_say() -> None:
    worse = case("cpu/openvino/int8", speedup=interval(5.0), scores=(score(0.60),), within_floor=False)
    beaten = case("cpu/onnxruntime/int8", speedup=interval(2.0), scores=(score(0.70),))
    run = Reported(comparison=comparison(cases=(reference(), case(), worse, beaten)))
    chart = CHARTS["tradeoff"](run, LIGHT)
    assert chart is not None
    layers: list[dict[str, Any]] = chart.spec["layer"]
    assert layers[0]["data"]["values"][0]["score"] == pytest.approx(0.99 * 0.729)
    front = next(layer for layer in layers if layer["mark"].get("interpolate"))["data"]["values"]
    assert [point["case"] for point in front] == [
        "cpu/pytorch/fp32",
        "cpu/onnxruntime/int8-dynamic",
        "cpu/openvino/int8",
    ]


def test_a_chart_that_has_nothing_to_show_is_an_error_that_says_so() -> None:
    with pytest.raises(OptibenchError, match="nothing that the chart peak could show"):
        picture(Reported(comparison=comparison()), ".svg", chart="peak")


def test_hostile_text_in_a_chart_is_neither_markup_nor_an_expression() -> None:
    hostile = Reported(comparison=hostile_comparison())
    for draw in CHARTS.values():
        if chart := draw(hostile, LIGHT):
            drawn = svg(finished(chart.spec, LIGHT))
            assert not set(OBEYED) & set(drawn)
            assert "<b>" not in drawn


def test_a_long_name_of_emoji_is_drawn() -> None:
    emoji = "\U0001f600" * 60
    named = Reported(comparison=comparison(cases=(reference(), case(f"cpu/{emoji}/int8"))))
    drawn = [svg(finished(chart.spec, LIGHT)) for draw in CHARTS.values() if (chart := draw(named, LIGHT))]
    assert any(r"\U0001f600" in one for one in drawn)


# Pages


def test_a_run_of_hundreds_of_cases_has_a_page_under_two_megabytes_with_every_case_in_it() -> None:
    names = [f"cpu{number}/onnxruntime/int8" for number in range(400)]
    many = comparison(cases=(reference(), *(case(name, speedup=interval(1 + n / 100)) for n, name in enumerate(names))))
    made = html.render(many)
    assert len(made.encode()) < 2_000_000
    for name in names:
        assert f">{name}<" in made
    assert "the fastest 40 of 401 cases" in made


def test_a_script_cannot_end_its_element() -> None:
    text = page.script_text("const a = '</script><!-- </SCRIPT >';")
    assert "</" not in text.lower().replace("\\x3c/", "")
    assert "<!--" not in text


def test_the_policy_names_every_script_and_style_by_its_hash_and_nothing_else() -> None:
    found = page.policy(["a"], ["b", "c"])
    assert found.startswith("default-src 'none'; style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='; ")
    assert found.count("sha256-") == 3
    for word in ("unsafe", "http", "*", "self"):
        assert word not in found


def test_a_long_text_is_cut_once_however_often_it_is_shown() -> None:
    once = page.shown("x" * 5_000)
    assert once.endswith("(cut: 5,000 characters; the records hold all)")
    assert len(once) < 2_100
