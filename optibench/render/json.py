"""A comparison, or what a gate says, as JSON on standard output."""

from __future__ import annotations

import re

from optibench.render.plain import is_hidden
from optibench.store import json_text
from optibench.values import Value


def render(result: Value) -> str:
    """The same values as comparison.json holds. What a terminal might obey is written as an escape of JSON's own."""

    # Outside strings JSON is ASCII, and inside them these mean the same.
    return re.sub(r"[^\x00-\x7e]", lambda match: _escaped(match[0]), json_text(result))


def _escaped(character: str) -> str:
    if not is_hidden(character):
        return character
    halves = character.encode("utf-16-be").hex()
    return "".join(f"\\u{halves[i : i + 4]}" for i in range(0, len(halves), 4))
