"""JUnit XML, which every CI shows as tests: one suite of plain values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from optibench.render.plain import plain

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, not even escaped."""

Outcome = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test: ``message`` is the short form of what ``text`` says."""

    name: str
    outcome: Outcome
    message: str
    text: str


def xml_plain(text: str) -> str:
    """``text`` as one plain line without what XML cannot hold."""
    return NO_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", plain(text))


def document(suite_name: str, classname: str, tests: Iterable[Test], told: Iterable[str]) -> str:
    """A document of one suite, with its counts; ``told`` is said of the whole."""
    suite = ElementTree.Element("testsuite", name=suite_name)
    for one in tests:
        test = ElementTree.SubElement(suite, "testcase", classname=classname, name=one.name)
        if one.outcome == "passed":
            ElementTree.SubElement(test, "system-out").text = one.text
        else:
            ElementTree.SubElement(test, one.outcome, message=one.message).text = one.text
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f".//{tag}"))))
    ElementTree.SubElement(suite, "system-out").text = "\n".join(told)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
