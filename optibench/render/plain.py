"""The one place where a stranger's text (model ids, reasons, labels) is made safe to show: nothing in it is obeyed."""

from __future__ import annotations

import re
import unicodedata

from optibench.value import with_text as with_text

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories that show nothing but do something: control characters and escape sequences, marks that turn the
direction of writing, halves of characters, line separators."""


def plain(text: str) -> str:
    r"""``text`` as one line: white space is a blank, what acts without being seen is spelled out (``\x1b``)."""
    blank = re.sub(r"[\t\n\r\v\f]+", " ", text)
    return "".join(_spelled(character) if is_hidden(character) else character for character in blank)


def is_hidden(character: str) -> bool:
    """Whether a terminal or browser would obey the character and not show it."""
    return unicodedata.category(character) in HIDDEN


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def markdown_plain(text: str) -> str:
    """``text`` so that GitHub's Markdown shows it as it stands: no tag, markup, column, list, formula or link."""
    shown = plain(text).strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", shown)
    # At the start of an item, a text can begin a list of its own or a rule.
    shown = re.sub(r"^(\d*)([-+]|(?<=\d)[.)](?=\s|$))", r"\1\\\2", shown)
    # Bare addresses become links unless the characters that betray them are written as entities.
    return re.sub(r"\bwww\.", "www&#46;", shown.replace("://", "&#58;//"), flags=re.IGNORECASE)
