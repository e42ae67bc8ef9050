"""One chart of a run as a file of its own, for a README or a comment: drawn without a browser."""

from __future__ import annotations

from optibench.errors import OptibenchError, unknown_name
from optibench.render.chart import DARK, LIGHT, drawn, finished
from optibench.render.chart_report import CHARTS
from optibench.reported import Reported


def picture(run: Reported, suffix: str, *, chart: str | None = None, dark: bool = False) -> bytes:
    """The chart of that name (None: the first that the run has) as SVG or PNG, light or dark.

    Errors: an unknown name; the run has nothing that it could show; vl-convert is not installed.
    """
    palette = DARK if dark else LIGHT
    if chart is not None and chart not in CHARTS:
        raise unknown_name("chart", chart, CHARTS)
    for name in [chart] if chart else CHARTS:
        if found := CHARTS[name](run, palette):
            titled = {"title": {"text": found.title, "offset": 14}, **found.spec}
            return drawn(finished(titled, palette), suffix)
    raise OptibenchError(
        f"This run has nothing that {f'the chart {chart}' if chart else 'a chart'} could show"
        + (". Leave --chart out to get the first that it has." if chart else ": no case was measured.")
    )
