"""A run's chart as SVG (picture.py)."""

from __future__ import annotations

from optibench.render.picture import picture
from optibench.reported import Reported
from optibench.results import Comparison


def render(comparison: Comparison) -> bytes:
    """The first chart of a comparison alone."""
    return render_run(Reported(comparison=comparison))


def render_run(run: Reported, chart: str | None = None, dark: bool = False) -> bytes:
    """The run's chart of that name; None: the first that it has."""
    return picture(run, ".svg", chart=chart, dark=dark)
