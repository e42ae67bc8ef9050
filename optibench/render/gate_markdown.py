"""A gate as Markdown, as GitHub shows it: in a job's summary, or in a comment."""

from __future__ import annotations

from optibench.render.gate_text import TITLES, row, sections
from optibench.render.markdown import table
from optibench.render.plain import markdown_plain, with_text
from optibench.verdicts import GateResult


def render(result: GateResult) -> str:
    """The text report's content. Texts in it are escaped, so that none is taken for markup."""
    shown = with_text(result, markdown_plain)
    mark = {0: "✅", 1: "❌"}.get(shown.exit_code, "⚠️")
    parts = [
        f"## {mark} optibench gate: {shown.model}",
        f"**{shown.sentence}**",
        f"{shown.run} against {shown.baseline}",
    ]
    if shown.cases:
        parts.append(table(TITLES, [row(case) for case in shown.cases]))
    for title, texts in sections(shown):
        parts += [f"### {title}", "\n".join(f"- {text}" for text in texts)]
    return "\n\n".join(parts) + "\n"
