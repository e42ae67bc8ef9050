"""The charts of a report, each a pure function of a run and a palette: None where there is nothing for it to show."""

from __future__ import annotations

from collections.abc import Callable

from optibench.render.chart import Chart, Palette, Spec
from optibench.render.chart_latency import latency, shapes
from optibench.render.chart_pieces import (
    ROW,
    WIDTH,
    Rows,
    bars,
    fit_for_charts,
    once,
    rows_axis,
    told_of_rows,
    tooltip_of,
)
from optibench.render.chart_tradeoff import tradeoff
from optibench.render.units import bytes_text, seconds_text, share_text
from optibench.reported import Reported


def first_answer(run: Reported, palette: Palette) -> Chart | None:
    """Where the time from the start of a process to its first answer goes."""
    shown = fit_for_charts(run.comparison)
    values: Rows = []
    for case in once(shown):
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
        "runtime compiles then), and the first call. Building the artifact was done before." + told_of_rows(shown),
        alternative="Stacked bars of the seconds to the first answer of each case. The table holds all values.",
        spec={
            "width": WIDTH,
            "height": {"step": ROW},
            "data": {"values": values},
            "mark": {"type": "bar", "height": {"band": 0.65}},
            "encoding": {
                "x": {
                    "field": "seconds",
                    "type": "quantitative",
                    "axis": {"title": "seconds", "format": "~f", "tickCount": 6},
                },
                "y": rows_axis(shown, palette),
                "order": {"field": "at", "type": "quantitative"},
                "color": {
                    "field": "phase",
                    "type": "nominal",
                    "scale": {"domain": list(PHASES), "range": colors},
                    "legend": {"title": None, "orient": "top"},
                },
                "tooltip": tooltip_of("case", "phase", "time"),
            },
        },
    )


PHASES = ("start and imports", "load and compile", "first call")


def memory(run: Reported, palette: Palette) -> Chart | None:
    """The artifact's size and the process's peak memory."""
    shown = fit_for_charts(run.comparison)
    cases = [case for case in once(shown) if case.artifact_bytes or case.peak_memory_bytes]
    if not cases:
        return None
    panels: list[Spec] = []
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
        panels.append(bars(values, shown, palette, title=f"{title} (MB)", width=WIDTH // 2 - 40, named=not panels))
    return Chart(
        name="memory",
        title="Size and memory",
        text="What has to be shipped, and the most that a process with it held (its runtime included)."
        + told_of_rows(shown),
        alternative="Bars of the artifact size and the peak memory of each case. The table holds all values.",
        spec={"hconcat": panels, "spacing": 24},
    )


def peak(run: Reported, palette: Palette) -> Chart | None:
    """The share of what the target reached at best."""
    shown = fit_for_charts(run.comparison)
    cases = [case for case in once(shown) if case.peak_share is not None]
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
        "precision that was executed. A low share is room that a better runtime, or a larger batch, might use."
        + told_of_rows(shown),
        alternative="Bars of the share of peak of each case. The table holds all values.",
        spec=bars(values, shown, palette, title="% of peak", width=WIDTH),
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
