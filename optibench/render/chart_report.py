"""The charts of a report, each a pure function of a run and a palette: None where there is nothing for it to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optibench import recommend
from optibench.comparison import kept_seconds
from optibench.render.chart import Chart, Palette, Spec
from optibench.render.columns import latency_of, primary_metric, shape_text
from optibench.render.plain import plain, with_text
from optibench.render.units import bytes_text, ratio_text, score_text, seconds_text, share_text
from optibench.reported import Reported
from optibench.results import CaseResult, Comparison, Latency

WIDTH = 460
ROW = 24
"""Height of a case's row."""
QUANTILES = tuple((2 * step + 1) / 100 for step in range(50))
"""Of the calls of a case that are drawn: each stands for a fiftieth of them."""
MOST_PANELS = 6
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
LONGEST = 60
"""Letters of a name in a chart."""


def tradeoff(run: Reported, palette: Palette) -> Chart | None:
    """Speed-up against accuracy, over all shapes, with the Pareto front and the floor."""
    shown = _shown(run.comparison)
    found = [_point(results) for results in recommend.by_case(shown.cases).values()]
    points = [point for point in found if point]
    if len(points) < 2:
        return None
    metric = primary_metric(shown) or "cosine"
    floor = shown.workload.accuracy_floor * points[0]["reference"] if primary_metric(shown) else None
    best = shown.recommended.case if shown.recommended else None
    x = {
        "field": "speedup",
        "type": "quantitative",
        "scale": {"type": "log", "domain": _around([p[k] for p in points for k in ("low", "high")], 1.12)},
        "axis": {"title": f"speed-up over {_short(shown.reference or 'the reference')} (×)", "format": "~g"},
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
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": _color(shown, palette)},
        },
        {
            "mark": {"type": "rule", "opacity": 0.45},
            "encoding": {
                "x": x,
                "y": {**y, "field": "score_low"},
                "y2": {"field": "score_high"},
                "color": _color(shown, palette),
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": _color(shown, palette),
                "shape": _shape(shown),
                "tooltip": _tooltip("case", "speed-up", "p50", "accuracy"),
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


def latency(run: Reported, palette: Palette) -> Chart | None:
    """How each case's undisturbed calls are spread, a panel a shape, with the noise floor around the reference."""
    shown, seconds = _shown(run.comparison), kept_seconds(run.records) if run.records else {}
    panels, told = [], 0
    for shape in dict.fromkeys(case.shape.name for case in shown.cases):
        rows = [
            (case, seconds.get(f"{original.case} at {shape}", []))
            for case, original in zip(shown.cases, run.comparison.cases, strict=True)
            if case.shape.name == shape and case.status == "ok"
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
        text=f"Each thin stroke is a fiftieth of the undisturbed calls, the thick one their median.{band}",
        alternative=f"Distributions of latency of {told} cases and shapes. The quantiles stand in the table.",
        spec={"vconcat": panels, "spacing": 28},
    )


def shapes(run: Reported, palette: Palette) -> Chart | None:
    """Latency against batch, a panel a length; or against length, where there is one batch; else against the shapes'
    names."""
    shown = _shown(run.comparison)
    cases = [case for case in shown.cases if case.status == "ok" and latency_of(case).p50]
    names = list(dict.fromkeys(case.shape.name for case in cases))
    if len(names) < 2:
        return None
    batches, lengths = (sorted({getattr(case, side) for case in cases}) for side in ("batch", "length"))
    plain_grid = all(case.shape.name in (f"{case.batch}x{case.length}", f"{case.batch}") for case in cases)
    by = "shape" if not plain_grid else "batch" if len(batches) > 1 else "length"
    values = [
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
    y = {"field": "ms", "type": "quantitative", "scale": {"type": "log"}, "axis": {"title": "p50 (ms)", "format": "~g"}}
    color, detail = _color(shown, palette), {"field": "case", "type": "nominal"}
    unit: Spec = {
        "width": WIDTH if len({v["panel"] for v in values}) == 1 else 200,
        "height": 260,
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": {"x": x, "y": y, "color": color, "detail": detail},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "shape": _shape(shown),
                    "tooltip": _tooltip("case", "shape", "p50"),
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


def first_answer(run: Reported, palette: Palette) -> Chart | None:
    """Where the time from the start of a process to its first answer goes."""
    shown = _shown(run.comparison)
    values = []
    for case in _once(shown):
        if case.cold_start_seconds is None:
            continue
        load, call = case.load_seconds or 0.0, case.first_call_seconds or 0.0
        parts = (max(0.0, case.cold_start_seconds - load - call), load, call)
        for number, (phase, part) in enumerate(zip(PHASES, parts, strict=True)):
            values.append(
                {"case": case.case, "phase": phase, "seconds": part, "time": seconds_text(part), "at": number}
            )
    if not values:
        return None
    colors = [palette.line, palette.series[1], palette.series[2]]
    return Chart(
        name="first-answer",
        title="Where the first answer's time goes",
        text="From the start of a fresh process to its first answer: its imports, opening the artifact (with what the "
        "runtime compiles then), and the first call. Building the artifact was done before.",
        alternative="Stacked bars of the seconds to the first answer of each case. The table holds all values.",
        spec={
            "width": WIDTH,
            "height": {"step": ROW},
            "data": {"values": values},
            "mark": {"type": "bar", "height": {"band": 0.65}},
            "encoding": {
                "x": {"field": "seconds", "type": "quantitative", "axis": {"title": "seconds", "format": "~g"}},
                "y": _rows(shown, palette),
                "order": {"field": "at", "type": "quantitative"},
                "color": {
                    "field": "phase",
                    "type": "nominal",
                    "scale": {"domain": list(PHASES), "range": colors},
                    "legend": {"title": None, "orient": "top"},
                },
                "tooltip": _tooltip("case", "phase", "time"),
            },
        },
    )


PHASES = ("start and imports", "load and compile", "first call")


def memory(run: Reported, palette: Palette) -> Chart | None:
    """The artifact's size and the process's peak memory."""
    shown = _shown(run.comparison)
    cases = [case for case in _once(shown) if case.artifact_bytes or case.peak_memory_bytes]
    if not cases:
        return None
    panels = []
    for title, name in (("size on disk", "artifact_bytes"), ("peak memory of the process", "peak_memory_bytes")):
        values = [
            {
                "case": case.case,
                "backend": case.backend,
                "value": (getattr(case, name) or 0) / 1e6,
                "text": bytes_text(getattr(case, name)),
            }
            for case in cases
        ]
        panels.append(_bars(values, shown, palette, title=f"{title} (MB)", width=WIDTH // 2 - 40, named=not panels))
    return Chart(
        name="memory",
        title="Size and memory",
        text="What has to be shipped, and the most that a process with it held (its runtime included).",
        alternative="Bars of the artifact size and the peak memory of each case. The table holds all values.",
        spec={"hconcat": panels, "spacing": 24},
    )


def peak(run: Reported, palette: Palette) -> Chart | None:
    """The share of what the target reached at best."""
    shown = _shown(run.comparison)
    cases = [case for case in _once(shown) if case.peak_share is not None]
    if not cases:
        return None
    values = [
        {
            "case": case.case,
            "backend": case.backend,
            "value": 100 * (case.peak_share or 0.0),
            "text": share_text(case.peak_share or 0.0),
        }
        for case in cases
    ]
    return Chart(
        name="peak",
        title="% of peak",
        text="Arithmetic of a call over its median time, as a share of the most that this target reached in the "
        "precision that was executed. A low share is room that a better runtime, or a larger batch, might use.",
        alternative="Bars of the share of peak of each case. The table holds all values.",
        spec=_bars(values, shown, palette, title="% of peak", width=WIDTH),
    )


CHARTS: dict[str, Callable[[Reported, Palette], Chart | None]] = {
    "tradeoff": tradeoff,
    "latency": latency,
    "shapes": shapes,
    "first-answer": first_answer,
    "memory": memory,
    "peak": peak,
}
"""In the order of the report."""


# Pieces


def _shown(comparison: Comparison) -> Comparison:
    """Texts as a chart can hold them: plain, and short."""
    return with_text(comparison, _short)


def _short(text: str) -> str:
    cut = plain(text[: 4 * LONGEST])
    return cut if len(cut) <= LONGEST else f"{cut[: LONGEST - 1]}…"


def _once(comparison: Comparison) -> list[CaseResult]:
    """Every case that ran, at its first shape."""
    first: dict[str, CaseResult] = {}
    for case in comparison.cases:
        if case.status == "ok":
            first.setdefault(case.case, case)
    return list(first.values())


def _point(results: Sequence[CaseResult]) -> dict[str, float | str] | None:
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


def _front(points: Sequence[dict[str, float | str]]) -> list[dict[str, float | str]]:
    """The builds that no other is both faster and more accurate than, the slowest first."""
    front: list[dict[str, float | str]] = []
    for point in sorted(points, key=lambda p: (p["speedup"], p["score"]), reverse=True):
        if not front or point["score"] > front[-1]["score"]:  # type: ignore[operator]
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
            "mark": {"type": "text", "align": "right", "dy": 12, "dx": -4, "color": palette.worse, "fontSize": 12},
            "encoding": {"y": y, "x": {"value": WIDTH}, "text": {"field": "label"}},
        },
    ]


def _ring(chosen: Sequence[dict[str, float | str]], x: Spec, y: Spec, palette: Palette) -> Spec:
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


def _spread(rows: Sequence[tuple[CaseResult, list[float]]], comparison: Comparison, palette: Palette) -> Spec:
    """One shape's panel."""
    import numpy as np

    strokes, medians = [], []
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
    ends = [stroke["ms"] for stroke in strokes]
    x = {
        "field": "ms",
        "type": "quantitative",
        "scale": {"type": "log", "domain": _around(ends, 1.06), "nice": False},
        "axis": {"title": "ms a call", "format": "~g", "tickCount": 6},
    }
    y = {**_rows(comparison, palette), "sort": [median["case"] for median in medians]}
    color = _color(comparison, palette, legend=False)
    layers: list[Spec] = [
        {
            "data": {"values": strokes},
            "mark": {"type": "tick", "thickness": 1, "opacity": 0.4, "size": 14},
            "encoding": {"x": x, "y": y, "color": color},
        },
        {
            "data": {"values": medians},
            "mark": {"type": "tick", "thickness": 3, "size": 18, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": _tooltip("case", "p50", "p90", "p99", "calls")},
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


def _bars(
    values: Sequence[Spec], comparison: Comparison, palette: Palette, *, title: str, width: int, named: bool = True
) -> Spec:
    """A bar a case, with its figure at its end."""
    x = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, 1.28 * (max(value["value"] for value in values) or 1)], "nice": False},
        "axis": {"title": title, "format": "~g", "tickCount": 5},
    }
    y = _rows(comparison, palette, named=named)
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
                    "color": _color(comparison, palette, legend=False),
                    "tooltip": _tooltip("case", "text"),
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": palette.quiet, "fontSize": 11},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}},
            },
        ],
    }


def _rows(comparison: Comparison, palette: Palette, *, named: bool = True) -> Spec:
    """Cases from top to bottom, in the order of the report."""
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": palette.ink, "labelPadding": 8}
    return {
        "field": "case",
        "type": "nominal",
        "sort": [case.case for case in _once(comparison)],
        "axis": axis if named else None,
    }


def _color(comparison: Comparison, palette: Palette, *, legend: bool = True) -> Spec:
    backends = list(dict.fromkeys(case.backend for case in comparison.cases if case.status == "ok"))
    series = [palette.series[number % len(palette.series)] for number in range(len(backends))]
    return {
        "field": "backend",
        "type": "nominal",
        "scale": {"domain": backends, "range": series},
        "legend": {"title": "backend", "symbolType": "circle"} if legend else None,
    }


def _shape(comparison: Comparison) -> Spec:
    precisions = list(dict.fromkeys(case.precision for case in comparison.cases if case.status == "ok"))
    symbols = [SYMBOLS[number % len(SYMBOLS)] for number in range(len(precisions))]
    return {
        "field": "precision",
        "type": "nominal",
        "scale": {"domain": precisions, "range": symbols},
        "legend": {"title": "precision"},
    }


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": field} for field in fields]


def _around(values: Sequence[float | str], factor: float) -> list[float]:
    numbers = [float(value) for value in values]
    return [min(numbers) / factor, max(numbers) * factor]
