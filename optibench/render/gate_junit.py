"""A gate as JUnit XML, which every CI shows as tests: a test a case and shape."""

from __future__ import annotations

from optibench.render.junit_xml import Outcome, Test, document, xml_plain
from optibench.render.plain import with_text
from optibench.verdicts import GateCase, GateResult


def render(result: GateResult) -> str:
    """One suite. A regression is a failure; what was not measured, or cannot be told, is an error; what was undecided
    and allowed is skipped. A gate that compared nothing has an error of its own."""
    shown = with_text(result, xml_plain)
    tests = [_test(case, shown) for case in shown.cases]
    if shown.exit_code and not any(test.outcome in ("failure", "error") for test in tests):
        tests.append(
            Test(name="the gate as a whole", outcome="error", message=shown.sentence, text=shown.sentence),
        )
    return document(f"optibench gate {shown.model}", "optibench.gate", tests, [shown.sentence, *shown.notes])


def _test(case: GateCase, result: GateResult) -> Test:
    undecided: Outcome = "skipped" if result.on_unknown == "pass" else "error"
    outcomes: dict[str, Outcome] = {"regressed": "failure", "not measured": "error", "unknown": undecided}
    outcome = outcomes.get(case.verdict, "passed")
    if case.verdict == "regressed" and case.second == "impossible":
        outcome = "error"
    said = f"{case.verdict}: {case.message}"
    return Test(name=case.name, outcome=outcome, message=said, text=said if outcome == "passed" else case.message)
