"""What the charts of a run share: its texts made fit for a chart, its rows, colours and bars."""

from __future__ import annotations

from typing import Any

from optibench.render.chart import Palette, Spec
from optibench.render.plain import plain, with_text
from optibench.results import CaseResult, Comparison

WIDTH = 520
ROW = 24
"""Height of a case's row."""
MOST_ROWS = 40
"""Of cases in a chart."""
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
LONGEST = 60
"""Letters of a name in a chart."""

Rows = list[dict[str, Any]]
"""Data of a chart: flat values."""


def fit_for_charts(comparison: Comparison) -> Comparison:
    """The comparison with its texts as a chart can hold them: plain, and short."""
    return with_text(comparison, short)


def short(text: str) -> str:
    """A text as plain and as long as a label can be."""
    cut = plain(text[: 4 * LONGEST])
    return cut if len(cut) <= LONGEST else f"{cut[: LONGEST - 1]}…"


def once(comparison: Comparison) -> list[CaseResult]:
    """Every case that ran, at its first shape, in the report's order: of more than MOST_ROWS the fastest."""
    first: dict[str, CaseResult] = {}
    for case in comparison.cases:
        if case.status == "ok":
            first.setdefault(case.case, case)
    fastest = sorted(first.values(), key=lambda case: case.speedup.mid if case.speedup else 0.0, reverse=True)
    kept = {case.case for case in fastest[:MOST_ROWS]} | {comparison.reference}
    return [case for case in first.values() if case.case in kept]


def told_of_rows(comparison: Comparison) -> str:
    """What a chart with a row a case says of those that it leaves out."""
    ran = len({case.case for case in comparison.cases if case.status == "ok"})
    return f" Only the fastest {MOST_ROWS} of {ran} cases are drawn; the table has all." if ran > MOST_ROWS else ""


def bars(values: Rows, comparison: Comparison, palette: Palette, *, title: str, width: int, named: bool = True) -> Spec:
    """A bar a case, with its figure at its end."""
    x = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, 1.28 * (max(value["value"] for value in values) or 1)], "nice": False},
        "axis": {"title": title, "format": "~f", "tickCount": 5},
    }
    y = rows_axis(comparison, palette, named=named)
    return {
        "width": width,
        "height": {"step": ROW},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.65}},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": backend_color(comparison, palette, legend=False),
                    "tooltip": tooltip_of("case", "text"),
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": palette.quiet, "fontSize": 11},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}},
            },
        ],
    }


def rows_axis(comparison: Comparison, palette: Palette, *, named: bool = True) -> Spec:
    """Cases from top to bottom, in the order of the report."""
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": palette.ink, "labelPadding": 8}
    return {
        "field": "case",
        "type": "nominal",
        "sort": [case.case for case in once(comparison)],
        "axis": axis if named else None,
    }


def backend_color(comparison: Comparison, palette: Palette, *, legend: bool = True) -> Spec:
    """A backend has one colour in all charts of a run."""
    backends = list(dict.fromkeys(case.backend for case in comparison.cases if case.status == "ok"))
    series = [palette.series[number % len(palette.series)] for number in range(len(backends))]
    return {
        "field": "backend",
        "type": "nominal",
        "scale": {"domain": backends, "range": series},
        "legend": {"title": "backend", "symbolType": "circle", "symbolOpacity": 1} if legend else None,
    }


def precision_symbol(comparison: Comparison, palette: Palette) -> Spec:
    """A precision has one symbol in all charts of a run."""
    precisions = list(dict.fromkeys(case.precision for case in comparison.cases if case.status == "ok"))
    symbols = [SYMBOLS[number % len(SYMBOLS)] for number in range(len(precisions))]
    return {
        "field": "precision",
        "type": "nominal",
        "scale": {"domain": precisions, "range": symbols},
        "legend": {"title": "precision", "symbolFillColor": palette.quiet, "symbolStrokeColor": palette.quiet},
    }


def tooltip_of(*fields: str) -> list[Spec]:
    """What the pointer is told: these fields of the data, as they stand."""
    return [{"field": field, "type": "nominal", "title": field} for field in fields]


def picked() -> Spec:
    """Of a layer with a legend of backends: a click there fades the others."""
    return {"params": [{"name": "picked", "select": {"type": "point", "fields": ["backend"]}, "bind": "legend"}]}


PICKED_OPACITY: Spec = {"condition": {"param": "picked", "value": 1}, "value": 0.12}
