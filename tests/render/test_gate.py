"""A gate in each of its formats: what it says is there, and a stranger's text is shown as text."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from optibench.commands.gate import FORMATS, rendered
from optibench.gating import concluded
from optibench.render import gate_github, gate_junit, gate_markdown, gate_text
from optibench.verdicts import Aspect, GateCase, GateResult, Limits
from tests.factories import baseline
from tests.render.hostile import OBEYED, TEXT

STRANGE = TEXT + " :: , % \ufffe \ud7ff ]]> & \" '"


def case(
    name: str, verdict: str, message: str = "12% slower (9% to 15%), allowed: 5% slower", **more: object
) -> GateCase:
    slow = Aspect(name="latency", verdict=verdict, change=0.12, low=0.09, high=0.15, message=message)  # type: ignore[arg-type]
    return GateCase(case=name, shape="1x128", verdict=verdict, message=message, aspects=(slow,), **more)  # type: ignore[arg-type]


CASES = (
    case("cpu/a/int8", "regressed", second="confirmed"),
    case("cpu/b/int8", "pass"),
    case("cpu/c/int8", "unknown"),
    case("cpu/d/int8", "not measured", "failed in the run: out of memory"),
)


def result(*cases: GateCase, **asked: object) -> GateResult:
    chosen = {"on_unknown": "rerun", "names": ("runs/new", "old.json"), "notes": ("Other package versions.",), **asked}
    return concluded(cases, baseline(), baseline(), limits=Limits(), **chosen)  # type: ignore[arg-type]


def test_the_text_says_how_it_ended_and_why() -> None:
    text = gate_text.render(result(*CASES))
    assert text.startswith("Failed: 1 of 4 cases regressed, confirmed by a second measurement.\n")
    assert re.search(r"cpu/a/int8 +1x128 +regressed +\+12% \(\+9\.0% to \+15%\)", text)
    assert "cpu/d/int8 at 1x128: failed in the run: out of memory" in text
    assert "Other package versions." in text
    assert "\x1b[" not in text
    assert "\x1b[31m" in gate_text.render(result(*CASES), color=True)


def test_junit_has_a_test_for_each_case_with_failures_and_errors_apart() -> None:
    root = ElementTree.fromstring(gate_junit.render(result(*CASES)))
    suite = root[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "2",
        "skipped": "0",
    }
    failure = suite.find("testcase[@name='cpu/a/int8 at 1x128']/failure")
    assert failure is not None
    assert "12% slower" in str(failure.get("message"))


def test_junit_of_an_allowed_unknown_is_skipped_and_of_an_empty_gate_an_error() -> None:
    allowed = ElementTree.fromstring(gate_junit.render(result(CASES[1], CASES[2], on_unknown="pass")))
    assert (allowed[0].get("skipped"), allowed[0].get("errors")) == ("1", "0")
    empty = ElementTree.fromstring(gate_junit.render(result()))
    assert empty[0].get("errors") == "1"
    assert "nothing was compared" in ElementTree.tostring(empty, encoding="unicode")


def test_github_gets_an_error_or_a_warning_for_each_case_that_did_not_pass() -> None:
    lines = gate_github.render(result(*CASES)).splitlines()
    assert lines[0] == (
        "::error title=optibench gate%3A regressed::"
        "cpu/a/int8 at 1x128: 12%25 slower (9%25 to 15%25), allowed: 5%25 slower"
    )
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::error", "::error"]
    assert gate_github.render(result(CASES[1])).startswith("::notice ")


def test_markdown_is_a_table_with_the_sentence_first() -> None:
    text = gate_markdown.render(result(*CASES))
    assert text.startswith("## ❌ optibench gate: minilm\n\n**Failed: 1 of 4 cases regressed")
    assert "| cpu/a/int8 | 1x128 | regressed | +12% (+9.0% to +15%) |" in text


def test_json_is_the_whole_result() -> None:
    found = json.loads(rendered(result(*CASES), "json"))
    assert (found["schema"], found["exit_code"], len(found["cases"])) == (1, 1, 4)


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text_is_shown_and_not_obeyed(form: str) -> None:
    hostile = result(case(STRANGE, "regressed", STRANGE), names=(STRANGE, STRANGE), notes=(STRANGE,))
    text = rendered(hostile, form)
    assert not set(OBEYED) & set(text.replace("\n", ""))
    assert "red" in text
    if form == "junit":
        ElementTree.fromstring(text)
    if form == "markdown":
        assert "<b>" not in text
        assert "a|b" not in text.replace("a\\|b", "")
    if form == "github":
        assert all(line.startswith("::") and line.count("\n") == 0 for line in text.splitlines())
        assert len(text.splitlines()) == 2
    if form == "json":
        assert json.loads(text)["cases"][0]["case"] == STRANGE
