"""The main table as LaTeX, for a paper: a tabular with booktabs' rules, to be put in with \\input."""

from __future__ import annotations

import re

from optibench.render import sentences
from optibench.render.columns import columns, shown_cases
from optibench.render.plain import plain, with_text
from optibench.results import Comparison

SIGNS = {
    **{sign: f"\\{sign}" for sign in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "–": "--",
    "…": r"\dots{}",
    "·": r"$\cdot$",
}
SPECIAL = re.compile("|".join(map(re.escape, SIGNS)))
LEFT_OUT = ("executed",)
"""Columns too wide for a page."""


def render(comparison: Comparison) -> str:
    """The table (packages needed: booktabs) with the figures' basis as comments above it. Texts are escaped."""
    shown = with_text(comparison, plain)
    lines = [f"% {line}" for line in (sentences.model_line(shown), sentences.machine_line(shown))]
    lines += [f"% {line}" for line in (sentences.advice(shown), *sentences.legend(shown), sentences.noise(shown))]
    if not shown_cases(shown):
        return "\n".join([*lines, "% Nothing ran, so there is no table."]) + "\n"
    found = [column for column in columns(shown) if column.title not in LEFT_OUT]
    rows = zip(*(column.cells for column in found), strict=True)
    return (
        "\n".join(
            [
                *lines,
                f"\\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in found)}}}",
                r"\toprule",
                _row([column.title for column in found]),
                r"\midrule",
                *(_row(row) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )
        + "\n"
    )


def escaped(text: str) -> str:
    """``text`` so that LaTeX prints it as it stands."""
    return SPECIAL.sub(lambda found: SIGNS[found[0]], text)


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
