"""A gate as GitHub Actions' workflow commands: annotations on the job that ran it.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from optibench.render.plain import plain, with_text
from optibench.verdicts import GateResult


def render(result: GateResult) -> str:
    """An error for each regression and each case that was not measured, a warning for what is undecided, and one line
    for the whole."""
    shown = with_text(result, plain)
    lines = []
    for case in shown.cases:
        level = {"regressed": "error", "not measured": "error", "unknown": "warning"}.get(case.verdict)
        if level:
            lines.append(_command(level, f"optibench gate: {case.verdict}", f"{case.name}: {case.message}"))
    lines.append(_command("notice" if shown.passed else "error", "optibench gate", shown.sentence))
    return "\n".join(lines) + "\n"


def _command(level: str, title: str, message: str) -> str:
    """One command on one line; in a property the characters that end one are escaped as well."""
    escaped = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    escaped = escaped.replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={escaped}::{message.replace('%', '%25').replace(chr(13), '%0D').replace(chr(10), '%0A')}"
