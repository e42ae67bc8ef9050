"""Two runs' difference as one HTML page, with the changes drawn."""

from __future__ import annotations

from typing import Any

from optibench.difference_values import CaseDifference, Difference
from optibench.render import difference as shared
from optibench.render.chart import PAGE, Chart, Palette, Spec, bundle, logarithmic
from optibench.render.page import drawing, page, script
from optibench.render.plain import plain
from optibench.render.units import ratio_text

WIDTH, ROW = 460, 24


def render(difference: Difference) -> str:
    """The page. Error: jinja2 or vl-convert is not installed."""
    found = chart(difference, PAGE)
    drawings = [drawing(found)] if found else []
    return page(
        "diff.html",
        scripts=[*([bundle(), script("charts.js")] if drawings else []), script("table.js")],
        difference=difference,
        headline=shared.headline(difference),
        sides=shared.sides(difference),
        titles=shared.TITLES,
        rows=[(case.verdict, list(zip(shared.row(case), _values(case), strict=True))) for case in difference.cases],
        sections=shared.sections(difference),
        drawings=drawings,
    )


def _values(case: CaseDifference) -> list[float | None]:
    """What a cell is sorted by: the change; None where by its text."""
    changes = [quantity.change if (quantity := case.quantity(name)) else None for name in shared.NAMES]
    return [None, None, *(change.mid if change else None for change in changes)]


def chart(difference: Difference, palette: Palette) -> Chart | None:
    """The change of each case, drawn; None where nothing could be compared."""
    spec = specification(difference, palette)
    if spec is None:
        return None
    return Chart(
        name="change",
        title="How much faster B is",
        text="B against A with 95% intervals; right of 1 is faster. The band is the floor of 2%, below which no "
        "difference is called one.",
        alternative="Intervals of the change of speed of each case. The table holds all values.",
        spec=spec,
    )


def specification(difference: Difference, palette: Palette) -> Spec | None:
    """The change of each case by what the difference goes by; over 1 is faster."""
    values: list[dict[str, Any]] = []
    for case in difference.cases:
        quantity = case.quantity("speedup" if difference.basis == "reference" else "latency")
        if quantity is None or quantity.change is None:
            continue
        low, mid, high = quantity.change.low, quantity.change.mid, quantity.change.high
        if difference.basis == "clock":  # a latency: its inverse is the speed
            low, mid, high = 1 / high, 1 / mid, 1 / low
        values.append(
            {
                "case": plain(shared.title(case)[:70]),
                "low": low,
                "mid": mid,
                "high": high,
                "verdict": case.verdict,
                "change": ratio_text(quantity.change),
            }
        )
    if not values:
        return None
    ends = [float(value[name]) for value in values for name in ("low", "high")]
    x = {"type": "quantitative", **logarithmic([*ends, 0.98, 1.02], 1.03, "speed of B over A (×)")}
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": palette.ink, "labelPadding": 8}
    y = {"field": "case", "type": "nominal", "sort": None, "axis": axis}
    color = {
        "field": "verdict",
        "type": "nominal",
        "legend": None,
        "scale": {
            "domain": ["faster", "slower", "same", "unknown", "reference"],
            "range": [palette.better, palette.worse, palette.quiet, palette.quiet, palette.quiet],
        },
    }
    tooltip = [{"field": name, "type": "nominal"} for name in ("case", "change", "verdict")]
    return {
        "width": WIDTH,
        "height": ROW * len(values),
        "layer": [
            {
                "data": {"values": [{"low": 1 / 1.02, "high": 1.02}]},
                "mark": {"type": "rect", "color": palette.accent, "opacity": 0.14},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": color},
            },
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"x": {**x, "field": "mid"}, "y": y, "color": color, "tooltip": tooltip},
            },
        ],
    }
