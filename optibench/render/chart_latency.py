"""Latencies drawn: how each case's calls are spread, and how their median goes with batch and length."""

from __future__ import annotations

from collections.abc import Sequence

from optibench.comparison import kept_seconds
from optibench.render.chart import Chart, Palette, Spec, logarithmic
from optibench.render.chart_pieces import (
    PICKED_OPACITY,
    ROW,
    WIDTH,
    Rows,
    backend_color,
    fit_for_charts,
    once,
    picked,
    precision_symbol,
    rows_axis,
    told_of_rows,
    tooltip_of,
)
from optibench.render.columns import latency_of, shape_text
from optibench.render.units import seconds_text, share_text
from optibench.reported import Reported
from optibench.results import CaseResult, Comparison, Latency

QUANTILES = tuple((2 * step + 1) / 100 for step in range(50))
"""Of the calls of a case that are drawn: each stands for a fiftieth of them."""
MOST_PANELS = 6


def latency(run: Reported, palette: Palette) -> Chart | None:
    """How each case's undisturbed calls are spread, a panel a shape, with the noise floor around the reference."""
    shown, seconds = fit_for_charts(run.comparison), kept_seconds(run.records) if run.records else {}
    panels: list[Spec] = []
    told, drawn = 0, {case.case for case in once(shown)}
    for shape in dict.fromkeys(case.shape.name for case in shown.cases):
        rows = [
            (case, seconds.get(f"{original.case} at {shape}", []))
            for case, original in zip(shown.cases, run.comparison.cases, strict=True)
            if case.shape.name == shape and case.status == "ok" and case.case in drawn
        ]
        rows = [(case, calls) for case, calls in rows if calls]
        told += len(rows)
        if rows and len(panels) < MOST_PANELS:
            panels.append(_spread(rows, shown, palette))
    if not panels:
        return None
    band = (
        f" The band is the noise floor (±{share_text(shown.noise.floor)}) around the reference's median: what "
        "differs by less cannot be told apart."
        if shown.noise.floor is not None
        else ""
    )
    return Chart(
        name="latency",
        title="Latency of each case",
        text=f"Each thin stroke is a fiftieth of the undisturbed calls, the thick one their median.{band}"
        + told_of_rows(shown),
        alternative=f"Distributions of latency of {told} cases and shapes. The quantiles stand in the table.",
        spec={"vconcat": panels, "spacing": 28},
    )


def _spread(rows: Sequence[tuple[CaseResult, list[float]]], comparison: Comparison, palette: Palette) -> Spec:
    """One shape's panel."""
    import numpy as np

    strokes: Rows = []
    medians: Rows = []
    for case, calls in rows:
        quantiles = np.quantile(calls, (*QUANTILES, 0.5)) * 1e3
        strokes += [{"case": case.case, "backend": case.backend, "ms": float(f"{ms:.5g}")} for ms in quantiles[:-1]]
        lat = case.latency_seconds or Latency(p50=None, p90=None, p99=None)
        medians.append(
            {
                "case": case.case,
                "backend": case.backend,
                "ms": float(f"{quantiles[-1]:.5g}"),
                "p50": seconds_text(lat.p50),
                "p90": seconds_text(lat.p90),
                "p99": seconds_text(lat.p99),
                "calls": f"{len(calls):,}",
            }
        )
    medians.sort(key=lambda median: median["ms"])
    x = {
        "field": "ms",
        "type": "quantitative",
        **logarithmic([stroke["ms"] for stroke in strokes], 1.06, "ms a call"),
    }
    y = {**rows_axis(comparison, palette), "sort": [median["case"] for median in medians]}
    color = backend_color(comparison, palette, legend=False)
    layers: list[Spec] = [
        {
            "data": {"values": strokes},
            "mark": {"type": "tick", "thickness": 1, "opacity": 0.4, "size": 14},
            "encoding": {"x": x, "y": y, "color": color},
        },
        {
            "data": {"values": medians},
            "mark": {"type": "tick", "thickness": 3, "size": 18, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip_of("case", "p50", "p90", "p99", "calls")},
        },
    ]
    reference = next((median["ms"] for median in medians if median["case"] == comparison.reference), None)
    if reference and comparison.noise.floor is not None:
        floor = min(comparison.noise.floor, 0.9)
        layers.insert(
            0,
            {
                "data": {"values": [{"ms": reference * (1 - floor), "end": reference * (1 + floor)}]},
                "mark": {"type": "rect", "color": palette.accent, "opacity": 0.16, "clip": True},
                "encoding": {"x": x, "x2": {"field": "end"}},
            },
        )
    several = len({(case.batch, case.length, case.shape.name) for case in comparison.cases}) > 1
    return {
        **({"title": {"text": shape_text(rows[0][0]), "fontSize": 12}} if several else {}),
        "width": WIDTH,
        "height": ROW * len(rows),
        "layer": layers,
    }


def shapes(run: Reported, palette: Palette) -> Chart | None:
    """Latency against batch, a panel a length; or against length, where there is one batch; else against the shapes'
    names."""
    shown = fit_for_charts(run.comparison)
    drawn = {case.case for case in once(shown)}
    cases = [case for case in shown.cases if case.case in drawn and latency_of(case).p50]
    names = list(dict.fromkeys(case.shape.name for case in cases))
    if len(names) < 2:
        return None
    batches, lengths = (sorted({getattr(case, side) for case in cases}) for side in ("batch", "length"))
    plain_grid = all(case.shape.name in (f"{case.batch}x{case.length}", f"{case.batch}") for case in cases)
    by = "shape" if not plain_grid else "batch" if len(batches) > 1 else "length"
    values: Rows = [
        {
            "case": case.case,
            "backend": case.backend,
            "precision": case.precision,
            "x": {"shape": shape_text(case), "batch": str(case.batch), "length": str(case.length)}[by],
            "panel": f"length {case.length}" if by == "batch" and len(lengths) > 1 else "",
            "ms": (latency_of(case).p50 or 0.0) * 1e3,
            "p50": seconds_text(latency_of(case).p50),
            "shape": shape_text(case),
        }
        for case in cases
    ]
    order = {"shape": [name.replace("x", "×") for name in names], "batch": batches, "length": lengths}[by]
    x = {
        "field": "x",
        "type": "ordinal",
        "sort": [str(one) for one in order],
        "axis": {"title": by, "labelAngle": 0, "grid": True},
    }
    y = {"field": "ms", "type": "quantitative", **logarithmic([value["ms"] for value in values], 1.15, "p50 (ms)")}
    color, detail = backend_color(shown, palette), {"field": "case", "type": "nominal"}
    unit: Spec = {
        "width": WIDTH if len({v["panel"] for v in values}) == 1 else 200,
        "height": 260,
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": {"x": x, "y": y, "color": color, "detail": detail},
            },
            {
                **picked(),
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {
                    "opacity": PICKED_OPACITY,
                    "x": x,
                    "y": y,
                    "color": color,
                    "shape": precision_symbol(shown, palette),
                    "tooltip": tooltip_of("case", "shape", "p50"),
                },
            },
        ],
    }
    panels = list(dict.fromkeys(value["panel"] for value in values))
    spec: Spec = {"data": {"values": values}, **unit}
    if len(panels) > 1:
        spec = {
            "data": {"values": values},
            "facet": {"field": "panel", "type": "nominal", "title": None, "sort": panels},
            "columns": 2,
            "spec": unit,
        }
    return Chart(
        name="shapes",
        title=f"Latency against {'batch and length' if len(panels) > 1 else by}",
        text="The median of a call; both a line's height and its slope matter. The scale is logarithmic.",
        alternative=f"Lines of the median latency of each case over {len(names)} shapes. The table holds all values.",
        spec=spec,
    )
