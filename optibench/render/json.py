"""Values as JSON on standard output: comparison.json, a history, a replay, what a gate says."""

from __future__ import annotations

import re

from optibench.render.plain import is_hidden
from optibench.store import json_text
from optibench.values import Value


def render(value: Value) -> str:
    """The value as its file would hold it. What a terminal might obey is written as an escape of JSON's own."""

    # Outside strings JSON is ASCII, and inside them these mean the same.
    return re.sub(r"[^\x00-\x7e]", lambda match: _escaped(match[0]), json_text(value))


def _escaped(character: str) -> str:
    if not is_hidden(character):
        return character
    halves = character.encode("utf-16-be").hex()
    return "".join(f"\\u{halves[i : i + 4]}" for i in range(0, len(halves), 4))
