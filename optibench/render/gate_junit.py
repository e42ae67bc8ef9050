"""A gate as JUnit XML, which every CI shows as tests: a test a case and shape."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from optibench.render.plain import plain, with_text
from optibench.verdicts import GateCase, GateResult

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, not even escaped."""


def render(result: GateResult) -> str:
    """One suite. A regression is a failure; what was not measured, or cannot be told, is an error; what was undecided
    and allowed is skipped. A gate that compared nothing has an error of its own."""
    shown = with_text(result, lambda text: NO_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", plain(text)))
    suite = ElementTree.Element("testsuite", name=f"optibench gate {shown.model}")
    for case in shown.cases:
        _add(suite, case, shown)
    if shown.exit_code and not len(suite.findall(".//failure")) + len(suite.findall(".//error")):
        whole = ElementTree.SubElement(suite, "testcase", classname="optibench.gate", name="the gate as a whole")
        ElementTree.SubElement(whole, "error", message=shown.sentence).text = shown.sentence
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f".//{tag}"))))
    ElementTree.SubElement(suite, "system-out").text = "\n".join([shown.sentence, *shown.notes])
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(suite: ElementTree.Element, case: GateCase, result: GateResult) -> None:
    test = ElementTree.SubElement(suite, "testcase", classname="optibench.gate", name=case.name)
    undecided = "skipped" if result.on_unknown == "pass" else "error"
    tag = {"regressed": "failure", "not measured": "error", "unknown": undecided}.get(case.verdict)
    if case.verdict == "regressed" and case.second == "impossible":
        tag = "error"
    if tag:
        ElementTree.SubElement(test, tag, message=f"{case.verdict}: {case.message}").text = case.message
    else:
        ElementTree.SubElement(test, "system-out").text = f"{case.verdict}: {case.message}"
