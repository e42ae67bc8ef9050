"""report.md as GitHub would show it: parsed, not searched for signs."""

from __future__ import annotations

import re

import pytest

from optibench.render import markdown
from optibench.results import Noise
from tests.factories import case, comparison, interval, reference
from tests.render.hostile import OBEYED, hostile_comparison

markdown_it = pytest.importorskip("markdown_it")


def html(report: str) -> str:
    parser = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return str(parser.render(report))


def tables(report: str) -> list[list[list[str]]]:
    """The cells of every table, row by row."""
    return [
        [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
        for table in re.findall(r"<table>.*?</table>", html(report), re.DOTALL)
    ]


def test_the_main_table_has_every_case_with_all_its_numbers() -> None:
    header, first, second = tables(markdown.render(comparison()))[0]
    assert header[:6] == ["case", "p50", "p99", "speedup", "verdict", "spearman"]
    assert first[0] == "cpu/pytorch/fp32"
    assert second[3:6] == ["2.41× (2.38–2.44)", "faster", "0.725 -0.004 [-0.010, +0.002]"]
    assert len(header) == len(first) == len(second) == 9


def test_environment_builds_times_parity_and_command_are_kept() -> None:
    report = markdown.render(comparison())
    cells = [cell for table in tables(report) for row in table for cell in row]
    for cell in ("Intel(R) Xeon(R) Platinum 8481C", "onnxruntime", "1.32.0", "3.11.9", "huggingface_hub"):
        assert cell in cells
    for cell in ("export 6.10 s, quantize 3.20 s", "1.24 s", "310 ms", "0.99210", "81.3/s", "4.0%", "36 int8"):
        assert cell in cells
    assert "<code" in html(report)
    assert "optibench compare minilm --targets cpu" in report


def test_a_failed_aa_check_is_said_before_the_title() -> None:
    bad = Noise(aa_ratio=interval(0.9, 0.02), floor=0.02, settled=True, disturbed_share=0.3)
    assert markdown.render(comparison(noise=bad)).startswith("> [!CAUTION]\n> **DO NOT TRUST")


def test_skipped_and_failed_cases_have_their_reasons() -> None:
    cases = (
        reference(),
        case(status="failed", reason="Out of memory."),
        case("cuda/pytorch/fp32", status="skipped", reason="No GPU."),
        case("cuda/onnxruntime/fp32", status="skipped", reason="No GPU."),
    )
    found = tables(markdown.render(comparison(cases=cases)))
    assert [["case", "reason"], ["cuda (2 cases)", "No GPU."]] in found
    assert [["case", "reason"], ["cpu/onnxruntime/int8-dynamic", "Out of memory."]] in found


def test_a_run_in_which_nothing_ran_still_has_a_report() -> None:
    cases = (case(status="failed", reason="Broken."),)
    report = markdown.render(comparison(cases=cases, recommended=None, recommended_reason="Nothing ran."))
    assert "**No case is recommended: Nothing ran.**" in report
    assert "Broken." in report


def test_hostile_text_becomes_neither_markup_nor_html() -> None:
    report = markdown.render(hostile_comparison())
    assert not set(OBEYED) & set(report)
    page = html(report)
    for tag in ("<b>", "<em>", "<a ", "<img"):
        assert tag not in page
    assert "&lt;b&gt;tag&lt;/b&gt; a|b `c` *s* \\u202egnp.exe" in page
    assert page.count("<h1>") == 1
    # Bare addresses are links on GitHub, so they must not stand in the source; nor must formulas.
    prose, command = report.split("## Command")
    assert "www.evil" not in prose
    assert "$x" not in prose.replace("\\$", "")
    # The command's own backticks do not end its block.
    assert command.strip().startswith("````sh")
    assert html(command).count("<pre>") == 1


def test_a_cell_with_a_bar_stays_one_cell() -> None:
    report = markdown.render(hostile_comparison())
    for table in tables(report):
        assert len({len(row) for row in table}) == 1


@pytest.mark.parametrize("warning", ["- item", "1. item", "# head", "---", "> quote", "+ plus", "```", "    code"])
def test_a_warning_that_looks_like_a_block_is_a_plain_line(warning: str) -> None:
    section = markdown.render(comparison(warnings=(warning,))).split("## Warnings")[1].split("##")[0]
    page = html(section)
    for tag in ("<h1", "<hr", "<blockquote", "<ol", "<pre", "<ul>\n<li>\n<ul"):
        assert tag not in page
