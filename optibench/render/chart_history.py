"""A history as a picture: a panel for each case, drawn by Vega-Lite through vl-convert (no browser, no network).

Every text of the history goes in as data, as plain text: nothing of it is read as an expression, a field or markup.
"""

from __future__ import annotations

import statistics
import textwrap
from typing import Any

from optibench.render.chart import SCHEMA, drawn
from optibench.render.history import span, title
from optibench.render.plain import plain, with_text
from optibench.trend import Change, History, Trend

WIDTH, HEIGHT = 620, 120
LINE, FASTER, SLOWER, MARK = "#2a5d9f", "#1b7837", "#b2182b", "#767676"
LONGEST = 110
"""Letters of a line of the key below the panels."""


def draw(history: History, suffix: str) -> bytes:
    """The picture as SVG or PNG. Errors: another suffix; vl-convert is not installed."""
    return drawn(specification(history), suffix)


def specification(history: History) -> dict[str, Any]:
    """The Vega-Lite specification. The reference has no panel: its speed-up is 1 by definition."""
    shown = with_text(history, plain)
    drawn = [trend for trend in shown.trends if trend.case != shown.reference] or list(shown.trends)
    panels = [_panel(trend, shown, last=trend is drawn[-1]) for trend in drawn]
    return {
        "$schema": SCHEMA,
        "title": {
            "text": f"{shown.model}: speed-up over {shown.reference} of the same run",
            "subtitle": [
                f"{span(shown)}. Band: 95% interval of a run. Black: levels; ▲ faster, ▼ slower, with the ratio.",
                *_key(shown),
            ],
            "anchor": "start",
            "subtitleColor": "#444444",
            "subtitleFontSize": 11,
            "subtitleLineHeight": 14,
            "offset": 12,
        },
        "vconcat": panels,
        "spacing": 14,
        "background": "white",
        "config": {"view": {"stroke": "#dddddd"}, "font": "DejaVu Sans, Helvetica, Arial, sans-serif"},
    }


def _key(history: History) -> list[str]:
    """What the numbered marks stand for: a line (or more) for each run in which something was new."""
    lines = []
    for run in history.runs:
        if run.changes:
            text = f"{run.number}: {', '.join(run.changes)}"
            lines += textwrap.wrap(text, LONGEST, subsequent_indent="    ")
    return ["Dashed, new in run", *lines] if lines else []


def _panel(trend: Trend, history: History, *, last: bool) -> dict[str, Any]:
    points = [{"run": p.run, "low": p.speedup.low, "mid": p.speedup.mid, "high": p.speedup.high} for p in trend.points]
    marks = [{"run": run.number - 0.5} for run in history.runs if run.changes]
    x = {
        "field": "run",
        "type": "quantitative",
        "scale": {"domain": [0.5, len(history.runs) + 0.5], "nice": False},
        "axis": {
            "title": "run" if last else None,
            "grid": False,
            "tickMinStep": 1,
            "format": "d",
            "labels": last,
        },
    }
    scale = {"domain": _domain(trend), "zero": False, "nice": True}
    y = {"field": "mid", "type": "quantitative", "scale": scale, "title": "speed-up ×"}
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": marks},
            "mark": {"type": "rule", "color": MARK, "strokeDash": [3, 3]},
            "encoding": {"x": x},
        },
        {
            "data": {"values": points},
            "mark": {"type": "area", "color": LINE, "opacity": 0.18, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": points},
            "mark": {"type": "line", "color": LINE, "strokeWidth": 1.2, "point": {"color": LINE, "size": 22}},
            "encoding": {"x": x, "y": y},
        },
    ]
    layers += _levels(trend, x, y)
    return {
        "title": {
            "text": title(trend),
            "subtitle": trend.note or "",
            "anchor": "start",
            "fontSize": 12,
            "subtitleFontSize": 10,
        },
        "width": WIDTH,
        "height": HEIGHT,
        "layer": layers,
    }


def _domain(trend: Trend) -> list[float]:
    """The heights of the panel: all values with three usual intervals around them. A run of two rounds may have an
    interval so wide that it would flatten the rest; it is cut at the panel's edge."""
    middles = [point.speedup.mid for point in trend.points]
    usual = statistics.median(max(p.speedup.high - p.speedup.mid, p.speedup.mid - p.speedup.low) for p in trend.points)
    room = max(min(3 * usual, max(middles)), 0.02 * max(middles))
    return [max(0.0, min(middles) - room), max(middles) + room]


def _levels(trend: Trend, x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
    """Each level as a line over its runs, and a mark with the size where one begins."""
    if not trend.changes:
        return []
    first, last = trend.points[0].run, trend.points[-1].run
    starts = [first, *(change.run for change in trend.changes)]
    ends = [*(change.run for change in trend.changes), last + 0.5]
    heights = [trend.changes[0].before.mid, *(change.after.mid for change in trend.changes)]
    levels = [
        {"run": start - 0.5, "end": end - (0.5 if end != last + 0.5 else 0), "mid": height}
        for start, end, height in zip(starts, ends, heights, strict=True)
    ]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": levels},
            "mark": {"type": "rule", "color": "black", "strokeWidth": 1.5},
            "encoding": {"x": x, "x2": {"field": "end"}, "y": y},
        }
    ]
    for verdict, color, sign in (("faster", FASTER, "▲"), ("slower", SLOWER, "▼")):
        marks = [_mark(change, sign) for change in trend.changes if change.verdict == verdict]
        if marks:
            layers += [
                {
                    "data": {"values": marks},
                    "mark": {"type": "rule", "color": color, "strokeWidth": 1.5},
                    "encoding": {"x": x},
                },
                {
                    "data": {"values": marks},
                    "mark": {
                        "type": "text",
                        "color": color,
                        "align": "left",
                        "baseline": "top",
                        "dx": 4,
                        "dy": 3,
                        "fontWeight": "bold",
                    },
                    "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "label"}},
                },
            ]
    return layers


def _mark(change: Change, sign: str) -> dict[str, Any]:
    return {"run": change.run - 0.5, "label": f"{sign} {change.ratio.mid:.2f}×"}
