"""report.html: a run as one page that needs nothing beside it (page.py says what it may do, docs/reports.md what it
shows)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optibench import recommend
from optibench.render import details, sentences, shapes
from optibench.render.chart import PAGE, bundle
from optibench.render.chart_report import CHARTS
from optibench.render.columns import executed_text, shown_cases
from optibench.render.html_records import record_views
from optibench.render.html_table import table_view
from optibench.render.page import drawing, page, script
from optibench.reported import Reported, as_it_is, export_command
from optibench.results import CaseResult, Comparison

MOST_BYTES = 2_000_000
SAMPLES = (60_000, 6_000, 0)
"""Raw samples that a page shows at most; fewer where it would become larger than MOST_BYTES."""


def render(comparison: Comparison) -> str:
    """The page of a comparison alone, without raw samples. Error: jinja2 or vl-convert is not installed."""
    return render_run(Reported(comparison=comparison))


def render_run(run: Reported) -> str:
    """The page of a run, under MOST_BYTES: raw samples are left out, and said to be, as far as that needs it; then the
    charts stay drawings; a run of so many cases that this is still too much has none."""
    charts = [chart for draw in CHARTS.values() if (chart := draw(run, PAGE))]
    drawings = [drawing(chart) for chart in charts]
    still = [{**one, "spec": None} for one in drawings]
    text = ""
    for samples, shown in (*((most, drawings) for most in SAMPLES), (0, still), (0, [])):
        text = _page(run, shown, samples, live=shown is drawings)
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def _page(run: Reported, drawings: Sequence[dict[str, Any]], samples: int, *, live: bool) -> str:
    comparison = run.comparison
    cases = shown_cases(comparison)
    groups = [*sentences.left_out(comparison), *sentences.notes(comparison)]
    slower = [group for group in groups if group.kind == "note" and group.text.startswith(SLOWER)]
    return page(
        "report.html",
        scripts=[*([bundle(), script("charts.js")] if live and drawings else []), script("table.js")],
        comparison=comparison,
        distrust=sentences.distrust(comparison),
        model_line=sentences.model_line(comparison),
        machine_line=sentences.machine_line(comparison),
        workload_line=sentences.workload_line(comparison),
        sentence=_sentence(comparison),
        export=export_command(run),
        keep=_is_reference(comparison),
        as_it_is=as_it_is(comparison),
        drawings=drawings,
        ran=bool(recommend.by_case(comparison.cases)),
        executed=_executed(comparison),
        slower=slower,
        notes=[group for group in groups if group.kind == "note" and group not in slower],
        skipped=[group for group in groups if group.kind == "skipped"],
        failed=[group for group in groups if group.kind == "failed"],
        basis=[sentences.noise(comparison), *sentences.accuracy(comparison)],
        legend=sentences.legend(comparison),
        by_shape=_by_shape(comparison),
        padding=shapes.legend(comparison),
        environment=details.environment(comparison),
        table=table_view(comparison) if cases else None,
        records=record_views(run, samples),
        all_samples=samples == SAMPLES[0],
    )


def _by_shape(comparison: Comparison) -> tuple[list[str], list[tuple[str, ...]]] | None:
    """The titles and rows of latency by batch and length; None where there was one shape."""
    found = shapes.columns(comparison)
    return ([one.title for one in found], list(zip(*(one.cells for one in found), strict=True))) if found else None


SLOWER = "slower than "
"""How explain.py's notes begin."""


def _sentence(comparison: Comparison) -> str:
    """The recommendation without the word in front of it: the page says that by its heading."""
    recommended = comparison.recommended
    return recommended.sentence if recommended else comparison.recommended_reason or "No reason was recorded."


def _is_reference(comparison: Comparison) -> bool:
    return bool(comparison.recommended and comparison.recommended.case == comparison.reference)


def _executed(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """What was asked for beside what the runtime said it did, a row a case."""
    rows: dict[str, tuple[str, str, str, str]] = {}
    for case in comparison.cases:
        if case.status == "ok" and case.executed:
            rows[case.case] = (case.case, case.precision, executed_text(case.executed), _remark(case))
    return list(rows.values())


def _remark(case: CaseResult) -> str:
    """Where the two differ, and how much of the model ran so."""
    assert case.executed is not None
    parts = [details.operations(case)] if case.executed.operations else []
    if case.precision.endswith("-weights"):
        parts.append("weights alone are of that precision, by design")
    if case.executed.fallback_nodes:
        parts.append(f"{case.executed.fallback_nodes} nodes ran elsewhere")
    return "; ".join(parts) or "–"
