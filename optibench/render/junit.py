"""A comparison as JUnit XML: a test a case and shape, so that a CI shows which builds broke or lost too much."""

from __future__ import annotations

from optibench.render import sentences
from optibench.render.columns import latency_of, mark, primary_metric, score_cell, shape_text
from optibench.render.junit_xml import Outcome, Test, document, xml_plain
from optibench.render.plain import with_text
from optibench.render.units import ratio_text, seconds_text
from optibench.results import CaseResult, Comparison


def render(comparison: Comparison) -> str:
    """One suite: a case that failed is an error, one below the accuracy floor a failure, a skipped one skipped."""
    shown = with_text(comparison, xml_plain)
    told = [sentences.advice(shown), sentences.noise(shown), *shown.warnings]
    tests = [_test(case, primary_metric(shown)) for case in shown.cases]
    return document(f"optibench {shown.model.id}", "optibench.report", tests, told)


def _test(case: CaseResult, metric: str | None) -> Test:
    name = f"{case.case} at {shape_text(case)}"
    if case.status != "ok":
        outcome: Outcome = "error" if case.status == "failed" else "skipped"
        reason = case.reason or "no reason was recorded"
        return Test(name=name, outcome=outcome, message=f"{case.status}: {reason}", text=reason)
    parts = [f"p50 {seconds_text(latency_of(case).p50)}", f"speedup {ratio_text(case.speedup)}"]
    parts += [f"{metric} {score_cell(case)}"] if metric else []
    below = case.within_floor is False
    return Test(
        name=name,
        outcome="failure" if below else "passed",
        message=mark(case),
        text=f"{mark(case)}: {', '.join(parts)}",
    )
