"""Latency against batch and length, side by side."""

from __future__ import annotations

from optibench.padding import with_padding
from optibench.render import html, markdown, text
from optibench.results import Comparison, Latency
from tests.factories import case, comparison, reference


def several() -> Comparison:
    """The reference and a build at two batches and two lengths."""
    cases = [
        make(batch=batch, length=length, latency_seconds=Latency(p50=batch * length * unit, p90=None, p99=None))
        for make, unit in ((reference, 1e-4), (case, 1e-5))
        for batch in (1, 8)
        for length in (32, 128)
    ]
    return comparison(cases=tuple(with_padding(cases)))


def test_a_row_a_case_and_a_column_a_shape() -> None:
    report = text.render(several(), 200)
    part = report.partition("Latency by batch and length (p50)")[2].splitlines()
    assert part[1].split() == ["case", "1×32", "1×128", "8×32", "8×128", "padding", "of", "8"]
    assert part[3].split() == ["cpu/pytorch/fp32", "3.20", "ms", "12.8", "ms", "25.6", "ms", "102", "ms", "38%"]
    assert part[4].split()[0] == "cpu/onnxruntime/int8-dynamic"


def test_what_padding_means_is_said_where_it_stands() -> None:
    said = "were they of 32, 128 tokens in equal numbers and filled up to 128"
    for report in (text.render(several(), None), markdown.render(several()), html.render(several())):
        assert said in report
    assert "Padding" not in text.render(comparison(), None)


def test_the_page_has_the_same_table() -> None:
    page = html.render(several())
    table = page.partition("Latency by batch and length (p50)")[2].partition("</table>")[0]
    assert '<th scope="row">cpu/pytorch/fp32</th><td class="number">3.20 ms</td>' in table
    assert "Latency by batch" not in html.render(comparison())


def test_markdown_has_the_same_table() -> None:
    report = markdown.render(several())
    assert "## Latency by batch and length (p50)" in report
    assert "| cpu/pytorch/fp32 | 3.20 ms | 12.8 ms | 25.6 ms | 102 ms | 38% |" in report


def test_one_shape_needs_no_second_table() -> None:
    assert "Latency by batch" not in text.render(comparison(), None)
    assert "Latency by batch" not in markdown.render(comparison())


def test_more_shapes_than_anybody_reads_have_no_table() -> None:
    many = tuple(make(batch=batch) for make in (reference, case) for batch in range(1, 26))
    assert "Latency by batch" not in text.render(comparison(cases=many), None)
