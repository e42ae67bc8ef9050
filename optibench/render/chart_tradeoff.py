"""Speed against accuracy: every case a point, with the Pareto front and the accuracy floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optibench import recommend
from optibench.render.chart import Chart, Palette, Spec, logarithmic
from optibench.render.chart_pieces import (
    PICKED_OPACITY,
    WIDTH,
    backend_color,
    fit_for_charts,
    picked,
    precision_symbol,
    tooltip_of,
)
from optibench.render.columns import latency_of, primary_metric
from optibench.render.units import ratio_text, score_text, seconds_text
from optibench.reported import Reported
from optibench.results import CaseResult


def tradeoff(run: Reported, palette: Palette) -> Chart | None:
    """Speed-up against accuracy, over all shapes, with the Pareto front and the floor."""
    shown = fit_for_charts(run.comparison)
    found = [_point(results) for results in recommend.by_case(shown.cases).values()]
    points = [point for point in found if point]
    if len(points) < 2:
        return None
    metric = primary_metric(shown) or "cosine"
    floor = shown.workload.accuracy_floor * points[0]["reference"] if primary_metric(shown) else None
    hue = backend_color(shown, palette)
    best = shown.recommended.case if shown.recommended else None
    title = f"speed-up over {shown.reference or 'the reference'} (×)"
    x = {
        "field": "speedup",
        "type": "quantitative",
        **logarithmic([point[end] for point in points for end in ("low", "high")], 1.12, title),
    }
    heights = [p[k] for p in points for k in ("score", "score_low", "score_high")] + ([floor] if floor else [])
    room = 0.08 * (max(heights) - min(heights) or abs(heights[0]) or 1)
    y = {
        "field": "score",
        "type": "quantitative",
        "scale": {"domain": [min(heights) - room, max(heights) + room], "zero": False, "nice": False},
        "axis": {"title": metric, "format": ".3~f"},
    }
    layers: list[Spec] = []
    if floor is not None:
        layers += _floor_line(floor, shown.workload.accuracy_floor, x, y, palette)
    layers += [
        {
            "data": {"values": _front(points)},
            "mark": {"type": "line", "interpolate": "step-before", "color": palette.quiet, "strokeDash": [2, 3]},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "rule", "opacity": 0.45},
            "encoding": {
                "x": {**x, "field": "low"},
                "x2": {"field": "high"},
                "y": y,
                "color": hue,
            },
        },
        {
            "mark": {"type": "rule", "opacity": 0.45},
            "encoding": {
                "x": x,
                "y": {**y, "field": "score_low"},
                "y2": {"field": "score_high"},
                "color": hue,
            },
        },
        {
            **picked(),
            "mark": {"type": "point", "filled": True, "size": 90},
            "encoding": {
                "opacity": PICKED_OPACITY,
                "x": x,
                "y": y,
                "color": hue,
                "shape": precision_symbol(shown, palette),
                "tooltip": tooltip_of("case", "speed-up", "p50", "accuracy"),
            },
        },
    ]
    chosen = [point for point in points if point["case"] == best]
    if chosen:
        layers.append(_ring(chosen, x, y, palette))
    return Chart(
        name="tradeoff",
        title="Speed against accuracy",
        text="Up and to the right is better. Bars: 95% intervals. Dotted: the Pareto front, the builds that no other "
        "beats in both." + (" Dashed: the floor; what lies below is never recommended." if floor is not None else ""),
        alternative=f"Scatter plot of speed-up and {metric} of {len(points)} cases. All values stand in the table.",
        spec={"width": WIDTH, "height": 300, "data": {"values": points}, "layer": layers},
    )


def _point(results: Sequence[CaseResult]) -> dict[str, Any] | None:
    """One case over all its shapes. Its interval is that of its shape, where it has one shape only."""
    case, speed = results[0], recommend.speed(results)
    if not speed or not (case.scores or case.parity):
        return None
    one = case.speedup if len(results) == 1 else None
    metric, low, high = ("cosine", 0.0, 0.0)
    if case.scores:
        score = case.scores[0]
        metric, value, reference = score.metric, score.value, score.reference
        low, high = score.change.low - score.change.mid, score.change.high - score.change.mid
    else:
        assert case.parity is not None
        value = reference = case.parity.cosine
    return {
        "case": case.case,
        "backend": case.backend,
        "precision": case.precision,
        "speedup": speed,
        "low": one.low if one else speed,
        "high": one.high if one else speed,
        "score": value,
        "score_low": value + low,
        "score_high": value + high,
        "reference": reference,
        "speed-up": ratio_text(one) if one else f"{speed:.2f}× over all shapes",
        "p50": seconds_text(latency_of(case).p50),
        "accuracy": f"{metric} {score_text(value)}" if case.scores else f"cosine {value:.4f}",
    }


def _front(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The builds that no other is both faster and more accurate than, the slowest first."""
    front: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda p: (p["speedup"], p["score"]), reverse=True):
        if not front or point["score"] > front[-1]["score"]:
            front.append(point)
    return front[::-1]


def _floor_line(floor: float, share: float, x: Spec, y: Spec, palette: Palette) -> list[Spec]:
    data = {"values": [{"score": floor, "label": f"floor: {share * 100:.4g}% of the reference"}]}
    return [
        {
            "data": data,
            "mark": {"type": "rule", "color": palette.worse, "strokeDash": [6, 4]},
            "encoding": {"y": y},
        },
        {
            "data": data,
            "mark": {"type": "text", "align": "left", "dy": 12, "dx": 4, "color": palette.worse, "fontSize": 12},
            "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "label"}},
        },
    ]


def _ring(chosen: Sequence[dict[str, Any]], x: Spec, y: Spec, palette: Palette) -> Spec:
    """Marks the recommended case, with its name beside it."""
    return {
        "data": {"values": list(chosen)},
        "layer": [
            {
                "mark": {"type": "point", "size": 320, "color": palette.ink, "strokeWidth": 1.5, "opacity": 1},
                "encoding": {"x": x, "y": y},
            },
            {
                "mark": {
                    "type": "text",
                    "align": "right",
                    "dx": 8,
                    "dy": -18,
                    "color": palette.ink,
                    "fontSize": 12,
                    "fontWeight": 600,
                },
                "encoding": {"x": x, "y": y, "text": {"field": "case"}},
            },
        ],
    }
