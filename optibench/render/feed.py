"""The board's Atom feed (RFC 4287): an entry for each submission, the newest first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from xml.etree import ElementTree

from optibench.leaderboard.rows import Entry
from optibench.render.junit_xml import xml_plain

ATOM = "http://www.w3.org/2005/Atom"
NEWEST = 50
LONGEST = 300
NO_TIME = "1970-01-01T00:00:00+00:00"


def atom(entries: Sequence[Entry], *, title: str, updated: str, address: str | None) -> bytes:
    """The feed. Without an ``address`` its links are relative to where the feed lies."""
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    base = address.rstrip("/") + "/" if address else ""
    newest = sorted(entries, key=lambda entry: (entry.comparison.created, entry.id), reverse=True)[:NEWEST]
    _head(feed, title, updated, _urn(base or title))
    _child(feed, "link", href=f"{base}index.html")
    _child(feed, "link", rel="self", href=f"{base}feed.xml")
    for entry in newest:
        found = entry.comparison
        item = _child(feed, "entry")
        _head(item, f"{found.model.id} on {found.host.cpu_model}", found.created, _urn(entry.id))
        _child(item, "link", href=f"{base}record.html#{entry.id}")
        author = _child(item, "author")
        _child(author, "name", entry.verified_by or "unverified")
        sentence = found.recommended.sentence if found.recommended else found.recommended_reason or ""
        _child(item, "summary", f"{found.model.task}, {found.workload.tier}. {sentence}")
    ElementTree.indent(feed)
    text = ElementTree.tostring(feed, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _head(element: ElementTree.Element, title: str, updated: str, urn: str) -> None:
    _child(element, "title", title)
    _child(element, "id", urn)
    _child(element, "updated", updated or NO_TIME)


def _child(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}", attributes)
    child.text = xml_plain(text[:LONGEST]) if text else None
    return child


def _urn(name: str) -> str:
    """A permanent id: the same submission has it on every board."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"optibench:{name}").urn
